"""LabelMe: polygons to be edited by hand."""

from __future__ import annotations

from typing import Any

from sam_edge.formats.records import LabelledMask
from sam_edge.masks.polygons import keyhole, ring_area, simplify, span_outlines
from sam_edge.text import printable

VERSION = "5.5.0"
"""The LabelMe whose files these are; it warns about files of another major version."""

SMALLEST_RING_AREA = 4.0
"""Rings with fewer pixels cannot be grabbed with a mouse; they are left out beside larger ones."""


def labelme_document(
    masks: list[LabelledMask], *, file_name: str, size: tuple[int, int], tolerance: float = 1.0
) -> dict[str, Any]:
    """Return a photo's masks as a LabelMe file.

    Each connected part of a mask is a polygon, the parts of one mask share a ``group_id``, and a
    hole is joined to its polygon's outline by a slit, as LabelMe's polygons have no holes. Pixels
    that touch at a corner are connected, so that a thin diagonal object is one polygon.

    Parts and holes of less than 4 pixels are left out, and the description of a mask's shapes
    says how many. A mask's largest part always stays: no object goes missing.

    Args:
        masks: of one photo.
        file_name: of the photo, as seen from the JSON file's folder.
        size: ``(H, W)`` of the photo.
        tolerance: how far, in pixels, a polygon may leave the mask's outline: every corner is a
            handle in LabelMe's window, and few can be edited. 0 keeps them all.

    Raises:
        MaskError: if the tolerance is no number.
    """
    height, width = size
    shapes: list[dict[str, Any]] = []
    for number, mask in enumerate(masks):
        # The smallest come first.
        parts = span_outlines(mask.spans, corners_join=True)
        kept = [part for part in parts if ring_area(part[0]) >= SMALLEST_RING_AREA] or parts[-1:]
        left_out = len(parts) - len(kept)
        polygons = []
        for outer, holes in kept:
            seen = [hole for hole in holes if -ring_area(hole) >= SMALLEST_RING_AREA]
            left_out += len(holes) - len(seen)
            simpler = [simplify(hole, tolerance) for hole in seen]
            polygons.append(keyhole(simplify(outer, tolerance), simpler))
        description = f"predicted IoU {mask.predicted_iou:.3f}"
        if left_out:
            description += f"; parts and holes under {SMALLEST_RING_AREA:g} px left out: {left_out}"
        shapes += [
            {
                "label": printable(mask.label),
                "points": polygon.astype(float).tolist(),
                "group_id": number,
                "description": description,
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for polygon in polygons
        ]
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": file_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
