"""Read a checkpoint, recognise its variant from its tensors, and fill a ``Sam``.

Nothing in a file is ever executed: see ``torch_file``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sam_edge.spec import LARGEST_FRAME
from sam_edge_export.checkpoints import huggingface
from sam_edge_export.checkpoints.containers import read_file
from sam_edge_export.checkpoints.errors import CheckpointError
from sam_edge_export.checkpoints.stored import Contents, Leaf, StoredTensor, Unread, shown
from sam_edge_export.modules.sam import VARIANTS, Sam
from sam_edge_runtimes.graph_file import sha256_file

ANCHOR = "mask_decoder.iou_token.weight"
"""Every model has it, official or Hugging Face's: what stands before it is the wrapper's."""

INSIDE_WRAPPERS = re.compile(
    r"(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""What ``torch.compile`` and FSDP put into the middle of names."""

COPIES = re.compile(
    r"(^|[._])(ema|swa|teacher|momentum|target|averaged?|optimi[sz]er)([._]|$)", re.IGNORECASE
)
"""Where a second copy of the weights lies, which is not the one that was trained."""

EXTRA_KEYS = (
    "pixel_mean",
    "pixel_std",
    "image_encoder.norm_head.weight",
    "image_encoder.norm_head.bias",
    "image_encoder.head.weight",
    "image_encoder.head.bias",
)
"""What some checkpoints store and no mask depends on: normalisation, TinyViT's classifier."""

COUNTER = ".num_batches_tracked"
"""BatchNorm's counters matter to nobody but a trainer, and not every file has them."""

SMALLEST_FRAME, FRAME_STEP = 256, 64

FLOATS = ("float64", "float32", "float16", "bfloat16")

UNREADABLE = {
    "torch._utils._rebuild_qtensor": "is quantised",
    "torch._utils._rebuild_sparse_tensor": "is sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "is sparse",
    "torch._utils._rebuild_nested_tensor": "is nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "has no values (device meta)",
}
"""How torch rebuilds what is no plain tensor, and what that is."""


def load_checkpoint(
    path: Path, variant: str = "auto", image_size: int | None = None
) -> tuple[Sam, list[str]]:
    """Read a checkpoint.

    Args:
        path: a ``.pth`` of ``torch.save`` or a ``.safetensors``, with official or Hugging Face's
            names under any prefix and in any wrapper; or a Hugging Face ``SamModel`` directory.
        variant: a key of ``VARIANTS``, or ``auto`` to recognise it.
        image_size: a multiple of 64 from 256 up; None takes what the checkpoint was trained at.

    Returns:
        The model in eval mode, and notes for the manifest about what was changed on the way.

    Raises:
        CheckpointError: if it is not what it should be.
    """
    contents = read_tensors(path)
    tensors, notes = official_tensors(contents.tensors, path)
    found = recognise(tensors, path) if variant == "auto" else variant
    if found not in VARIANTS:
        raise CheckpointError(f"variant {found!r} is not one of {', '.join(VARIANTS)}")
    trained = trained_size(tensors, contents.metadata, found)
    size = trained if image_size is None else image_size
    for what, number in ((f"{path}: trained at the image size", trained), ("--image-size", size)):
        if not SMALLEST_FRAME <= number <= LARGEST_FRAME or number % FRAME_STEP:
            raise CheckpointError(
                f"{what} {number}: expected a multiple of {FRAME_STEP} from {SMALLEST_FRAME} to "
                f"{LARGEST_FRAME}"
            )
    sam = Sam(found, size)
    expected = {
        name: tensor for name, tensor in sam.state_dict().items() if not name.endswith(COUNTER)
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    if size != trained and "image_encoder.pos_embed" in tensors:
        shapes |= table_shapes(tensors, shapes, trained)
        notes.append(f"position embeddings resampled from {trained} to {size} px")
    for name, stored in checked(tensors, shapes, found, path).items():
        values = read_values(stored, name, path)
        if stored.shape != expected[name].shape:
            values = resampled(values, tuple(expected[name].shape))
        np.copyto(expected[name].numpy(), values)
    return sam.eval(), notes


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


def official_tensors(found: Mapping[str, Leaf], path: Path) -> tuple[dict[str, Leaf], list[str]]:
    """Return the tensors under their official names, and a note if there were several copies.

    Of several copies of the weights the one that was trained is taken before an average of it, then
    the one in fewer wrappers, then the first in the file.

    Raises:
        CheckpointError: if there are none.
    """
    tensors = {INSIDE_WRAPPERS.sub(r"\1", name): tensor for name, tensor in found.items()}
    prefixes = prefixes_of(tensors)
    if not prefixes:
        example = "nothing"
        for name, tensor in tensors.items():
            if isinstance(tensor, StoredTensor):
                example = shown(name)
                break
            example = f"{shown(tensor.name)}, which will not be executed"
        raise CheckpointError(
            f"{path} is no Segment Anything checkpoint: expected tensors such as {ANCHOR}, "
            f"found {example}"
        )
    taken, *others = sorted(
        prefixes, key=lambda prefix: (COPIES.search(prefix) is not None, prefix.count("."))
    )
    inner = tuple(prefix for prefix in others if prefix.startswith(taken))
    ours = {
        name.removeprefix(taken): tensor
        for name, tensor in tensors.items()
        if name.startswith(taken) and not (inner and name.startswith(inner))
    }
    if huggingface.has_its_names(ours):
        ours = huggingface.renamed(ours)
    notes = []
    if others:
        places = [shown(prefix.rstrip(".")) or "the top" for prefix in (taken, *others[:3])]
        notes.append(f"weights of {places[0]}, not those of {', '.join(places[1:])}")
    return {
        name: tensor
        for name, tensor in ours.items()
        if name not in EXTRA_KEYS and not name.endswith(COUNTER)
    }, notes


def prefixes_of(names: Iterable[str]) -> list[str]:
    """Return what stands before the weights' names, one for each copy of them.

    >>> prefixes_of(["model.mask_decoder.iou_token.weight", "ema.mask_decoder.iou_token.weight"])
    ['model.', 'ema.']
    """
    names = list(names)
    starts = [name.removesuffix(ANCHOR) for name in names if name.endswith(ANCHOR)]
    # A file may lack that very tensor, which is then said of it.
    starts += [name.partition("mask_decoder.")[0] for name in names if "mask_decoder." in name]
    return [start for start in dict.fromkeys(starts) if not start or start.endswith(".")]


def recognise(tensors: Mapping[str, Leaf], path: Path) -> str:
    """Tell the variant from the encoder's tensors.

    Raises:
        CheckpointError: if no variant has such an encoder.
    """
    if "image_encoder.stride4.0.0.weight" in tensors:
        return "nano"
    if "image_encoder.layers.0.blocks.0.conv1.c.weight" in tensors:
        return "mobile_sam"
    patch = tensors.get("image_encoder.patch_embed.proj.weight")
    widths = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
    shape = patch.shape if isinstance(patch, StoredTensor) else ()
    if len(shape) == 4 and shape[0] in widths:
        return widths[shape[0]]
    found = f"patch_embed of shape {shape}" if shape else "no image_encoder"
    raise CheckpointError(
        f"{path}: no known variant ({', '.join(VARIANTS)}) has its encoder: found {found}; "
        "name the variant with --variant"
    )


def trained_size(tensors: Mapping[str, Leaf], metadata: Mapping[str, str], variant: str) -> int:
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
    return VARIANTS[variant].image_size


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


def resampled(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize a position table.

    Absolute positions are resampled as images are; relative positions linearly, as the official
    ``get_rel_pos`` does.
    """
    table = torch.from_numpy(values.copy())  # torch warns of arrays that are read-only
    if table.ndim == 2:
        resized: Tensor = F.interpolate(table.T[None], shape[0], mode="linear")[0].T
    else:
        table = table.permute(0, 3, 1, 2)
        grid = shape[1:3]
        table = F.interpolate(table, grid, mode="bicubic", align_corners=False, antialias=True)
        resized = table.permute(0, 2, 3, 1)
    return resized.numpy()


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
