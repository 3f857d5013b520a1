"""LabelMe: polygons to be edited by hand."""

from __future__ import annotations

from typing import Any

from sam_edge.formats.records import LabelledMask
from sam_edge.masks import decode_rle
from sam_edge.masks.polygons import keyhole, outlines, ring_area, simplify

VERSION = "5.5.0"
"""The LabelMe whose files these are; it warns about files of another major version."""

SMALLEST_RING_AREA = 4.0
"""Rings with fewer pixels cannot be grabbed with a mouse, and are left out."""


def labelme_document(
    masks: list[LabelledMask], *, file_name: str, size: tuple[int, int], tolerance: float = 1.0
) -> dict[str, Any]:
    """Return a photo's masks as a LabelMe file.

    Each connected part of a mask is a polygon, the parts of one mask share a ``group_id``, and a
    hole is joined to its polygon's outline by a slit, as LabelMe's polygons have no holes.

    Args:
        masks: of one photo.
        file_name: of the photo, as seen from the JSON file's folder.
        size: ``(H, W)`` of the photo.
        tolerance: how far, in pixels, a polygon may leave the mask's outline: every corner is a
            handle in LabelMe's window, and few can be edited. 0 keeps them all.
    """
    height, width = size
    shapes = []
    for number, mask in enumerate(masks):
        for outer, holes in outlines(decode_rle(mask.rle)):
            if ring_area(outer) < SMALLEST_RING_AREA:
                continue
            seen = [simplify(hole, tolerance) for hole in holes]
            ring = keyhole(
                simplify(outer, tolerance),
                [hole for hole in seen if -ring_area(hole) >= SMALLEST_RING_AREA],
            )
            shapes.append(
                {
                    "label": mask.label,
                    "points": ring.astype(float).tolist(),
                    "group_id": number,
                    "description": f"predicted IoU {mask.predicted_iou:.3f}",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": file_name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
