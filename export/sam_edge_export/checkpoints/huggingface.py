"""Hugging Face ``SamModel`` directories: ``config.json`` and safetensors, whole or sharded.

Source: the parameter names of ``transformers/models/sam/modeling_sam.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sam_edge_export.checkpoints.errors import CheckpointError

INDEX_NAME = "model.safetensors.index.json"
WEIGHTS_NAME = "model.safetensors"

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


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a directory, by its index where it has one.

    Raises:
        CheckpointError: if there are none, or one that the index names is missing.
    """
    index = directory / INDEX_NAME
    if index.is_file():
        try:
            names = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index} is no index of safetensors: {error}") from error
        if any(Path(name).name != name for name in names):
            raise CheckpointError(f"{index} names a file outside its folder")
    else:
        names = [WEIGHTS_NAME]
    for name in names:
        if not (directory / name).is_file():
            raise CheckpointError(
                f"{directory} is no Hugging Face SamModel: expected {name}, which is missing"
            )
    return [directory / name for name in names]


def read_directory(directory: Path) -> dict[str, Tensor]:
    """Return a directory's tensors under their official names.

    Raises:
        CheckpointError: if it holds no ``SamModel``.
    """
    config = directory / "config.json"
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{directory} is no Hugging Face SamModel: it has no config.json that reads"
        ) from error
    if kind != "sam":
        raise CheckpointError(f"{config}: expected model_type sam, found {kind}")
    tensors: dict[str, Tensor] = {}
    for path in weight_files(directory):
        try:
            tensors.update(load_file(path))
        except SafetensorError as error:
            raise CheckpointError(f"{path} is truncated or damaged: {error}") from error
    return {official(name): tensor for name, tensor in tensors.items() if name != DUPLICATE}


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
