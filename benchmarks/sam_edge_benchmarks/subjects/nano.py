"""nano as the official code would run it: its own encoder in the official ``Sam``."""

from __future__ import annotations

from pathlib import Path

from sam_edge_benchmarks.subjects import official
from sam_edge_benchmarks.work import Opaque


def official_nano(checkpoint: Path) -> Opaque:
    """Return the official ``Sam`` with nano's encoder module and nano's decoder weights.

    Args:
        checkpoint: ``nano.safetensors``.
    """
    official.import_package("vit_b")
    from segment_anything import modeling

    from sam_edge_export.checkpoints import load_checkpoint

    ours, _ = load_checkpoint(checkpoint)
    encoder: Opaque = ours.image_encoder
    encoder.img_size = ours.image_size  # the official Sam asks its encoder
    sam = official.around(encoder, ours.image_size, modeling)
    sam.prompt_encoder.load_state_dict(ours.prompt_encoder.state_dict())
    sam.mask_decoder.load_state_dict(ours.mask_decoder.state_dict())
    return sam.eval()
