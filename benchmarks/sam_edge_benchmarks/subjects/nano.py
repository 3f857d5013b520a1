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
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    from sam_edge_export.checkpoints import load_checkpoint
    from sam_edge_export.modules.sam import PIXEL_MEAN, PIXEL_STD

    ours, _ = load_checkpoint(checkpoint)
    side = ours.image_size
    encoder: Opaque = ours.image_encoder
    encoder.img_size = side  # the official Sam asks its encoder
    prompts = PromptEncoder(256, (side // 16, side // 16), (side, side), mask_in_chans=16)
    decoder = MaskDecoder(
        transformer_dim=256,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
    )
    prompts.load_state_dict(ours.prompt_encoder.state_dict())
    decoder.load_state_dict(ours.mask_decoder.state_dict())
    return Sam(encoder, prompts, decoder, list(PIXEL_MEAN), list(PIXEL_STD)).eval()
