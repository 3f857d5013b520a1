"""YOLO's polygons, as Ultralytics reads them for training segmentation: one line an object."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from sam_edge.formats.records import LabelledMask
from sam_edge.masks.polygons import Ring, keyhole, ring_area, simplify, span_outlines
from sam_edge.text import printable


def class_names(masks: Sequence[LabelledMask]) -> list[str]:
    """Return the masks' labels, sorted: a label's place is its number in YOLO's files."""
    return sorted({printable(mask.label) for mask in masks})


def yolo_text(
    masks: Sequence[LabelledMask],
    *,
    size: tuple[int, int],
    names: Sequence[str] | None = None,
    tolerance: float = 1.0,
) -> str:
    """Return a photo's masks as YOLO's text: a class's number and corners as shares of the photo.

    An object is one polygon there: holes and further parts are joined to its largest part by slits
    without width, as Ultralytics' own converter joins them. Empty masks are left out.

    Args:
        masks: of one photo.
        size: ``(H, W)`` of the photo.
        names: every class in its order; None takes those of these masks.
        tolerance: how far, in pixels, a polygon may leave the mask's outline; 0 keeps all corners.

    Raises:
        MaskError: if the tolerance is no number.

    Source: https://docs.ultralytics.com/datasets/segment/
    """
    height, width = size
    names = class_names(masks) if names is None else names
    lines = []
    for mask in masks:
        ring = _one_ring(mask, tolerance)
        if ring is not None:
            shares = (ring / np.array([width, height])).ravel().tolist()
            corners = " ".join(f"{share:.6g}" for share in shares)
            lines.append(f"{names.index(printable(mask.label))} {corners}\n")
    return "".join(lines)


def yolo_data(names: Sequence[str]) -> str:
    """Return the ``data.yaml`` that names the classes and where the photos lie."""
    lines = ["path: .", "train: images", "val: images", "names:"]
    # JSON's texts are YAML's, too.
    lines += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(names)]
    return "\n".join(lines) + "\n"


def _one_ring(mask: LabelledMask, tolerance: float) -> Ring | None:
    parts = span_outlines(mask.spans, corners_join=True)
    if not parts:
        return None
    parts.sort(key=lambda part: -ring_area(part[0]))
    (outer, holes), *others = parts
    joined = [simplify(ring, tolerance) for ring in holes]
    for other, its_holes in others:
        joined.append(
            keyhole(simplify(other, tolerance), [simplify(h, tolerance) for h in its_holes])
        )
    return keyhole(simplify(outer, tolerance), joined)
