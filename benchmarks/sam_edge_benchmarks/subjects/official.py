"""The official modules at any image size, with a prepared checkpoint's weights."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

from sam_edge.zoo.table import named_models
from sam_edge_benchmarks.subjects import standins
from sam_edge_benchmarks.work import Opaque, UnavailableError


def import_package(variant: str) -> Opaque:
    """Import ``segment_anything`` or ``mobile_sam``.

    Raises:
        UnavailableError: if there is no official code for the variant.
        ImportError: if the package is not installed.
    """
    package = named_models()[variant].official
    if package is None:
        raise UnavailableError(f"there is no official code for {variant}")
    return _imported(package)


def _imported(package: str) -> Opaque:
    standins.install_torchvision()
    with warnings.catch_warnings():
        # timm warns of its own old module names, which mobile_sam imports
        warnings.simplefilter("ignore")
        return importlib.import_module(package)


def build(variant: str, image_size: int, checkpoint: str) -> Opaque:
    """Return the official ``Sam`` with a prepared checkpoint's weights."""
    import torch

    from sam_edge_export.families import FAMILIES

    import_package(variant)
    oracle = FAMILIES[variant].oracle
    assert oracle is not None  # its package was named
    sam = oracle(image_size)
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    missing, unknown = sam.load_state_dict(weights, strict=False)
    # TinyViT has a classifier that segmentation never runs and some checkpoints leave out.
    needed = [
        name
        for name in missing
        if not name.startswith("image_encoder.head.")
        and not name.startswith("image_encoder.norm_head.")
        and not name.endswith("attention_bias_idxs")
    ]
    if needed or unknown:
        raise ValueError(f"{checkpoint} is no {variant} at {image_size} px: {[*needed, *unknown]}")
    return sam.eval()


def official_nano(checkpoint: Path) -> Opaque:
    """Return the official ``Sam`` around nano's encoder, which is our own, and its weights.

    Args:
        checkpoint: ``nano.safetensors``.
    """
    from sam_edge_export.families import FAMILIES
    from sam_edge_export.load import load_checkpoint

    _imported("segment_anything")
    ours, _ = load_checkpoint(checkpoint)
    oracle = FAMILIES[ours.variant].oracle
    assert oracle is not None
    sam = oracle(ours.image_size)
    sam.load_state_dict(ours.state_dict())
    return sam.eval()
