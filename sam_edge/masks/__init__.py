"""Mask geometry in plain numpy: no engine, no photo, no model."""

from sam_edge.masks.boxes import mask_to_box, non_maximum_suppression
from sam_edge.masks.polygons import outlines, polygon_to_mask, polygons_to_mask, rings, simplify
from sam_edge.masks.regions import remove_small_regions
from sam_edge.masks.rle import (
    CocoRle,
    Mask,
    MaskError,
    Rle,
    area,
    as_mask,
    decode_rle,
    encode_rle,
    encode_window,
    from_coco_rle,
    rle_to_box,
    to_coco_rle,
)
from sam_edge.masks.upsample import stability_scores, upsample_logits, upsample_masks

__all__ = [
    "CocoRle",
    "Mask",
    "MaskError",
    "Rle",
    "area",
    "as_mask",
    "decode_rle",
    "encode_rle",
    "encode_window",
    "from_coco_rle",
    "mask_to_box",
    "non_maximum_suppression",
    "outlines",
    "polygon_to_mask",
    "polygons_to_mask",
    "remove_small_regions",
    "rings",
    "rle_to_box",
    "simplify",
    "stability_scores",
    "to_coco_rle",
    "upsample_logits",
    "upsample_masks",
]
