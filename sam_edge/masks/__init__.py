"""Mask geometry in plain numpy: no engine, no photo, no model."""

from sam_edge.masks.rle import (
    CocoRle,
    Mask,
    Rle,
    area,
    decode_rle,
    encode_rle,
    encode_window,
    from_coco_rle,
    rle_to_box,
    to_coco_rle,
)
from sam_edge.masks.upsample import upsample_logits, upsample_masks

__all__ = [
    "CocoRle",
    "Mask",
    "Rle",
    "area",
    "decode_rle",
    "encode_rle",
    "encode_window",
    "from_coco_rle",
    "rle_to_box",
    "to_coco_rle",
    "upsample_logits",
    "upsample_masks",
]
