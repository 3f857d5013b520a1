"""Hugging Face ``SamModel``: its names, and directories of ``config.json`` and weights.

Source: the parameter names of ``transformers/models/sam/modeling_sam.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath

from sam_edge.checkpoints.containers import read_file
from sam_edge.checkpoints.errors import CheckpointError
from sam_edge.checkpoints.stored import Contents, Leaf, shown
from sam_edge.errors import JsonFileError
from sam_edge.files import read_json
from sam_edge.text import is_printable

WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""The file with all tensors, and the one that names several; the first that is there is read."""

RENAMES: tuple[tuple[str, str], ...] = (
    (r"^shared_image_embedding\.positional_embedding$",
     "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
    (r"^vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.", r"image_encoder.blocks.\1.norm\2."),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
    (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
    (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
    (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
    (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
    (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
    (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
    (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
    (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
    (r"(mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.layers.1."),
    (r"(mlps\.\d+|iou_prediction_head)\.proj_in\.", r"\1.layers.0."),
    (r"(mlps\.\d+|iou_prediction_head)\.proj_out\.", r"\1.layers.2."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"^(mask_decoder\.transformer\..*)\.layer_norm(\d)\.", r"\1.norm\2."),
)  # fmt: skip
"""Pattern -> official name. The first that matches a name is the only one applied to it."""

DUPLICATE = "prompt_encoder.shared_embedding.positional_embedding"
"""A second copy of the shared embedding that some versions store."""


def has_its_names(names: Iterable[str]) -> bool:
    """Whether tensors are called as Hugging Face calls them, and not by their official names."""
    return any(name.startswith(("vision_encoder.", "shared_image_embedding.")) for name in names)


def renamed(tensors: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """Return tensors under their official names."""
    return {official(name): tensor for name, tensor in tensors.items() if name != DUPLICATE}


def weight_files(directory: Path) -> list[Path]:
    """Return the files with a directory's tensors, by its index where it has one.

    Raises:
        CheckpointError: if there are none, or one that the index names is missing.
    """
    for whole, index_name in WEIGHTS:
        index = directory / index_name
        if index.is_file():
            return _indexed(directory, index)
        if (directory / whole).is_file():
            return [directory / whole]
    raise CheckpointError(
        f"{directory} is no Hugging Face SamModel: expected {WEIGHTS[0][0]}, which is missing"
    )


def _indexed(directory: Path, index: Path) -> list[Path]:
    try:
        names = set(read_json(index)["weight_map"].values())
    except (OSError, JsonFileError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of tensors: {shown(str(error))}") from error
    texts = sorted(name for name in names if isinstance(name, str) and is_printable(name))
    # The files themselves may be links, as those in Hugging Face's cache are.
    if len(texts) < len(names) or any(
        name in ("", "..") or PureWindowsPath(name).name != name for name in texts
    ):
        raise CheckpointError(f"{index} names a file outside its folder")
    for name in texts:
        if not (directory / name).is_file():
            raise CheckpointError(
                f"{directory} is no Hugging Face SamModel: expected {shown(name)}, which is missing"
            )
    return [directory / name for name in texts]


def read_directory(directory: Path) -> Contents:
    """Return a directory's tensors.

    Raises:
        CheckpointError: if it holds no ``SamModel``.
    """
    config = directory / "config.json"
    try:
        kind = read_json(config).get("model_type")
    except (OSError, JsonFileError, AttributeError) as error:
        raise CheckpointError(
            f"{directory} is a folder, and no Hugging Face SamModel: it has no config.json that "
            "reads; name the checkpoint's file"
        ) from error
    if kind != "sam":
        raise CheckpointError(f"{config}: expected model_type sam, found {shown(str(kind))}")
    tensors: dict[str, Leaf] = {}
    for path in weight_files(directory):
        tensors.update(read_file(path).tensors)
    return Contents(tensors)


def official(name: str) -> str:
    """Return a parameter's official name.

    >>> official("vision_encoder.layers.3.layer_norm1.weight")
    'image_encoder.blocks.3.norm1.weight'
    >>> official("mask_decoder.output_hypernetworks_mlps.0.proj_out.bias")
    'mask_decoder.output_hypernetworks_mlps.0.layers.2.bias'
    """
    for pattern, replacement in RENAMES:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name
