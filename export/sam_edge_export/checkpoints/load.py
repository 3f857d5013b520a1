"""Read a checkpoint, recognise its variant from its tensors, and fill a ``Sam``.

Pickle is never executed: ``.pth`` files are read with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from sam_edge.spec import sha256_file
from sam_edge_export.checkpoints import huggingface
from sam_edge_export.checkpoints.errors import CheckpointError
from sam_edge_export.modules.sam import VARIANTS, Sam

PREFIXES = ("", "model.", "module.", "sam_model.", "sam.", "module.sam_model.")
"""What training frameworks put before the official names."""

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


def load_checkpoint(
    path: Path, variant: str = "auto", image_size: int | None = None
) -> tuple[Sam, list[str]]:
    """Read a checkpoint.

    Args:
        path: official ``.pth``, ``.safetensors`` with the official names, or a Hugging Face
            ``SamModel`` directory.
        variant: a key of ``VARIANTS``, or ``auto`` to recognise it.
        image_size: a multiple of 64 from 256 up; None takes what the checkpoint was trained at.

    Returns:
        The model in eval mode, and notes for the manifest about what was changed on the way.

    Raises:
        CheckpointError: if it is not what it should be.
    """
    tensors = unprefixed(read_tensors(path), path)
    found = recognise(tensors, path) if variant == "auto" else variant
    if found not in VARIANTS:
        raise CheckpointError(f"variant {found!r} is not one of {', '.join(VARIANTS)}")
    trained = trained_size(tensors, found, path)
    size = image_size or trained
    if size < 256 or size % 64:
        raise CheckpointError(f"--image-size {size}: expected a multiple of 64 from 256 up")
    sam = Sam(found, size)
    expected = sam.state_dict()
    notes = []
    if size != trained and "image_encoder.pos_embed" in tensors:
        tensors = resample(tensors, expected, size)
        notes.append(f"position embeddings resampled from {trained} to {size} px")
    # BatchNorm's counters matter to nobody but a trainer, and not every file has them.
    counters = {name: tensor for name, tensor in expected.items() if name.endswith(COUNTER)}
    tensors = counters | tensors
    check(tensors, expected, found, path)
    sam.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return sam.eval(), notes


def source_sha256(path: Path) -> str:
    """Return what identifies a checkpoint: a file's sha256, or one over a directory's weights."""
    if not path.is_dir():
        return sha256_file(path)
    digests = "".join(sha256_file(file) for file in huggingface.weight_files(path))
    return hashlib.sha256(digests.encode()).hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name, whatever container they are in.

    Raises:
        CheckpointError: if the file is missing, truncated, or no container of tensors.
    """
    if path.is_dir():
        return huggingface.read_directory(path)
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever the bytes make it raise
        kind = "is truncated or damaged"
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            kind = "holds more than tensors, which will not be executed"
        raise CheckpointError(
            f"{path} {kind}; expected a .pth of tensors or a .safetensors"
        ) from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"{path} holds no dictionary of tensors")
    return content


def unprefixed(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors under their official names.

    Raises:
        CheckpointError: if there are none.
    """
    for prefix in sorted(PREFIXES, key=len, reverse=True):
        start = f"{prefix}mask_decoder."
        if any(name.startswith(start) for name in tensors):
            return {
                name.removeprefix(prefix): tensor
                for name, tensor in tensors.items()
                if name.startswith(prefix) and name.removeprefix(prefix) not in EXTRA_KEYS
            }
    example = next(iter(tensors), "nothing")
    raise CheckpointError(
        f"{path} is no Segment Anything checkpoint: expected tensors such as "
        f"mask_decoder.iou_token.weight, found {example}"
    )


def recognise(tensors: Mapping[str, Tensor], path: Path) -> str:
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
    if patch is not None and patch.ndim == 4 and patch.shape[0] in widths:
        return widths[patch.shape[0]]
    found = "no image_encoder" if patch is None else f"patch_embed of width {patch.shape[0]}"
    raise CheckpointError(
        f"{path}: no known variant ({', '.join(VARIANTS)}) has its encoder: found {found}; "
        "name the variant with --variant"
    )


def trained_size(tensors: Mapping[str, Tensor], variant: str, path: Path) -> int:
    """Return the image size that a checkpoint was trained at.

    Its position embeddings tell, where it has them; then the metadata that ``nano`` is stored with;
    else it is the family's.
    """
    table = tensors.get("image_encoder.pos_embed")
    if table is not None:
        return 16 * table.shape[1]
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            size = (file.metadata() or {}).get("image_size", "")
        if size.isdecimal():
            return int(size)
    return VARIANTS[variant].image_size


def resample(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], image_size: int
) -> dict[str, Tensor]:
    """Resize a ViT's position tables for another image size.

    Absolute positions are resampled as images are; relative positions of global blocks (the
    window's stay) linearly, as the official ``get_rel_pos`` does.
    """
    grid = image_size // 16
    resized = dict(tensors)
    table = tensors["image_encoder.pos_embed"].float().permute(0, 3, 1, 2)
    table = F.interpolate(table, (grid, grid), mode="bicubic", align_corners=False, antialias=True)
    resized["image_encoder.pos_embed"] = table.permute(0, 2, 3, 1)
    for name, tensor in tensors.items():
        if ".rel_pos_" in name and name in expected and tensor.shape != expected[name].shape:
            line = tensor.float().T[None]
            line = F.interpolate(line, len(expected[name]), mode="linear")
            resized[name] = line[0].T
    return resized


def check(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], variant: str, path: Path
) -> None:
    """Compare names and shapes with what the variant has, and refuse infinities.

    A number too large for the half precision that a file was saved in is an infinity there: its
    channel is then dead, and nothing else says so.

    Raises:
        CheckpointError: at the first difference.
    """
    for name, tensor in expected.items():
        if name not in tensors:
            raise CheckpointError(f"{path} is no {variant}: expected {name}, which is missing")
        if tensors[name].shape != tensor.shape:
            raise CheckpointError(
                f"{path} is no {variant}: expected {name} of shape {tuple(tensor.shape)}, "
                f"found {tuple(tensors[name].shape)}"
            )
        if not tensors[name].isfinite().all():
            raise CheckpointError(
                f"{path}: {name} holds infinities or NaN, as after saving in half precision; "
                "export from the float32 file"
            )
    for name in tensors:
        if name not in expected:
            raise CheckpointError(f"{path} is no {variant}: found {name}, which it does not have")
