"""Open a checkpoint, recognise its variant from its tensors, and read its weights one by one.

Nothing in a file is ever executed: see ``torch_file``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.checkpoints import huggingface
from sam_edge.checkpoints.containers import read_file
from sam_edge.checkpoints.errors import CheckpointError
from sam_edge.checkpoints.names import official_tensors
from sam_edge.checkpoints.resample import resampled
from sam_edge.checkpoints.stored import (
    Contents,
    Leaf,
    StoredTensor,
    Unread,
    give_back_pages,
    shown,
)
from sam_edge.spec import FRAME_STEP, LARGEST_FRAME
from sam_edge.zoo.table import NamedModel, named_models
from sam_edge_runtimes import Float32
from sam_edge_runtimes.graph_file import sha256_file

SMALLEST_FRAME = 256

FLOATS = ("float64", "float32", "float16", "bfloat16")

UNREADABLE = {
    "torch._utils._rebuild_qtensor": "is quantised",
    "torch._utils._rebuild_sparse_tensor": "is sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "is sparse",
    "torch._utils._rebuild_nested_tensor": "is nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "has no values (device meta)",
}
"""How torch rebuilds what is no plain tensor, and what that is."""


@dataclass(frozen=True, slots=True)
class OpenCheckpoint:
    """An opened checkpoint: what it is, and where its tensors lie. Nothing of them is read yet.

    Attributes:
        path: the file or directory.
        variant: its name in the table of models.
        trained_size: the image size that it was trained at.
        image_size: the one that is wanted.
        tensors: under their official names.
        notes: for the manifest, about what was changed on the way.
    """

    path: Path
    variant: str
    trained_size: int
    image_size: int
    tensors: Mapping[str, Leaf]
    notes: tuple[str, ...]


class Weights(Mapping[str, Float32]):
    """A checkpoint's weights by official name, each read from the file when it is asked for.

    Values are float32, finite, and of the shapes that the variant has at the wanted image size.
    """

    def __init__(
        self,
        path: Path,
        tensors: Mapping[str, StoredTensor],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._path = path
        self._tensors = tensors
        self._shapes = shapes

    def __getitem__(self, name: str) -> Float32:
        """Read one.

        Raises:
            CheckpointError: if its bytes are damaged, or a value is not finite.
        """
        stored = self._tensors[name]
        values = read_values(stored, name, self._path).copy()
        give_back_pages(stored.storage.data)
        shape = self._shapes[name]
        return values if values.shape == shape else resampled(values, shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def open_checkpoint(
    path: Path, variant: str = "auto", image_size: int | None = None
) -> OpenCheckpoint:
    """Open a checkpoint.

    Args:
        path: a ``.pth`` of ``torch.save`` or a ``.safetensors``, with official or Hugging Face's
            names under any prefix and in any wrapper; or a Hugging Face ``SamModel`` directory.
        variant: a name in the table of models, or ``auto`` to recognise it.
        image_size: a multiple of 64 from 256 up; None takes what the checkpoint was trained at.

    Raises:
        CheckpointError: if it is not what it should be.
    """
    contents = read_tensors(path)
    tensors, notes = official_tensors(contents.tensors, path)
    found = recognise(tensors, path) if variant == "auto" else variant
    if found not in named_models():
        raise CheckpointError(f"variant {found!r} is not one of {', '.join(named_models())}")
    trained = trained_size(tensors, contents.metadata, named_models()[found])
    size = trained if image_size is None else image_size
    for what, number in ((f"{path}: trained at the image size", trained), ("--image-size", size)):
        if not SMALLEST_FRAME <= number <= LARGEST_FRAME or number % FRAME_STEP:
            raise CheckpointError(
                f"{what} {number}: expected a multiple of {FRAME_STEP} from {SMALLEST_FRAME} to "
                f"{LARGEST_FRAME}"
            )
    if size != trained and "image_encoder.pos_embed" in tensors:
        notes.append(f"position embeddings resampled from {trained} to {size} px")
    return OpenCheckpoint(path, found, trained, size, tensors, tuple(notes))


def weights_of(checkpoint: OpenCheckpoint, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """Return a checkpoint's weights, their names, types and shapes compared with its variant's.

    Args:
        checkpoint: an opened one.
        shapes: of every weight that the variant has at the wanted image size.

    Raises:
        CheckpointError: at the first difference.
    """
    stored = dict(shapes)
    if checkpoint.image_size != checkpoint.trained_size:
        stored |= table_shapes(checkpoint.tensors, shapes, checkpoint.trained_size)
    found = checked(checkpoint.tensors, stored, checkpoint.variant, checkpoint.path)
    return Weights(checkpoint.path, found, shapes)


def source_sha256(path: Path) -> str:
    """Return what identifies a checkpoint: a file's sha256, or one over a directory's weights.

    Raises:
        CheckpointError: if it is neither.
        OSError: if it cannot be read.
    """
    if path.is_dir():
        digests = "".join(sha256_file(file) for file in huggingface.weight_files(path))
        return hashlib.sha256(digests.encode()).hexdigest()
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no regular file; save it to one first")
    return sha256_file(path)


def read_tensors(path: Path) -> Contents:
    """Return a checkpoint's tensors by name, whatever container they are in.

    Raises:
        CheckpointError: if the file is missing, truncated, or no container of tensors.
    """
    return huggingface.read_directory(path) if path.is_dir() else read_file(path)


def recognise(tensors: Mapping[str, Leaf], path: Path) -> str:
    """Tell the variant from the encoder's tensors.

    Raises:
        CheckpointError: if no variant has such an encoder.
    """
    shapes = {
        name: tensor.shape for name, tensor in tensors.items() if isinstance(tensor, StoredTensor)
    }
    for model in named_models().values():
        if model.encoder.fits(shapes):
            return model.name
    shape = shapes.get("image_encoder.patch_embed.proj.weight")
    found = f"patch_embed of shape {shape}" if shape else "no image_encoder"
    raise CheckpointError(
        f"{path}: no known variant ({', '.join(named_models())}) has its encoder: found {found}; "
        "name the variant with --variant"
    )


def trained_size(
    tensors: Mapping[str, Leaf], metadata: Mapping[str, str], model: NamedModel
) -> int:
    """Return the image size that a checkpoint was trained at.

    Its position embeddings tell, where it has them; then the metadata that ``nano`` is stored with;
    else it is the family's.
    """
    table = tensors.get("image_encoder.pos_embed")
    if isinstance(table, StoredTensor) and len(table.shape) == 4:
        return 16 * table.shape[1]
    size = metadata.get("image_size", "")
    if re.fullmatch("[0-9]{1,9}", size):
        return int(size)
    return model.image_size


def table_shapes(
    tensors: Mapping[str, Leaf], expected: Mapping[str, tuple[int, ...]], image_size: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of those of a ViT's position tables that depend on the image size.

    Absolute positions have an entry a cell; relative ones of global blocks an entry a distance. The
    window's stay.
    """
    grid = image_size // 16
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in expected.items():
        found = tensors.get(name)
        if name == "image_encoder.pos_embed":
            shapes[name] = (1, grid, grid, shape[-1])
        elif ".rel_pos_" in name and isinstance(found, StoredTensor) and found.shape != shape:
            shapes[name] = (2 * grid - 1, shape[-1])
    return shapes


def checked(
    tensors: Mapping[str, Leaf],
    expected: Mapping[str, tuple[int, ...]],
    variant: str,
    path: Path,
) -> dict[str, StoredTensor]:
    """Compare names, kinds and shapes with what the variant has, before anything is read.

    Returns:
        The tensors that it has, and no others.

    Raises:
        CheckpointError: at the first difference.
    """
    plain = {}
    for name, shape in expected.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise CheckpointError(f"{path} is no {variant}: expected {name}, which is missing")
        if isinstance(tensor, Unread):
            what = UNREADABLE.get(tensor.name, f"is a {shown(tensor.name)}")
            raise CheckpointError(
                f"{path}: {name} {what}, not a plain tensor; export from the float32 file"
            )
        if tensor.shape != shape:
            raise CheckpointError(
                f"{path} is no {variant}: expected {name} of shape {shape}, found {tensor.shape}"
            )
        if tensor.dtype not in FLOATS:
            raise CheckpointError(
                f"{path}: {name} holds {shown(tensor.dtype)}, expected one of "
                f"{', '.join(FLOATS)}; export from the float32 file"
            )
        plain[name] = tensor
    for name, tensor in tensors.items():
        if name not in expected and isinstance(tensor, StoredTensor):
            raise CheckpointError(
                f"{path} is no {variant}: found {shown(name)}, which it does not have"
            )
    return plain


def read_values(tensor: StoredTensor, name: str, path: Path) -> NDArray[np.float32]:
    """Return a weight in float32, in a copy or in place; infinities are refused.

    A number too large for the half precision that a file was saved in is an infinity there: its
    channel is then dead, and nothing else says so. So is a float64 beyond float32.

    Raises:
        CheckpointError: if its bytes are damaged, or a value is not finite.
    """
    try:
        stored = tensor.values()
    except ValueError as error:
        raise CheckpointError(f"{path}: {name} {error}") from error
    with np.errstate(all="ignore"):
        values: NDArray[Any] = np.asarray(stored, np.float32)
    if not np.isfinite(values).all():
        if np.isfinite(stored).all():
            raise CheckpointError(
                f"{path}: {name} holds values beyond float32, up to {np.abs(stored).max():.3g}"
            )
        raise CheckpointError(
            f"{path}: {name} holds infinities or NaN, as after saving in half precision; "
            "export from the float32 file"
        )
    return values
