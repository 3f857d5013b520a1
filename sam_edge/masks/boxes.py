"""Boxes, point grids and crops of the automatic mask generator.

Boxes are XYXY in pixels; ``x1`` and ``y1`` of a mask's box are its last column and row, as in the
official code.

Source: ``segment_anything/utils/amg.py``, and ``torchvision.ops`` for the suppression.
"""

from __future__ import annotations

from itertools import product
from math import ceil

import numpy as np
from numpy.typing import NDArray

from sam_edge.masks.rle import Mask, Rle, as_mask, encode_window
from sam_edge_runtimes import Float32

CropBox = tuple[int, int, int, int]

CROP_EDGE_TOLERANCE = 20.0
"""Pixels: a mask this close to the edge of its crop is likely cut off by it."""


def mask_to_box(mask: Mask) -> tuple[int, int, int, int]:
    """Return the box around a mask of shape ``(H, W)``; ``(0, 0, 0, 0)`` if it is empty.

    >>> mask_to_box(np.array([[False, True, True], [False, False, False]]))
    (1, 0, 2, 0)
    """
    mask = as_mask(mask)
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return (0, 0, 0, 0)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def boxed_rle(mask: Mask, *, top: int = 0, left: int = 0, size: tuple[int, int]) -> Rle:
    """Encode a mask; looking at its box alone is several times faster than at all of it.

    Args:
        mask: shape ``(h, w)``, all of a mask or a part of it.
        top: the part's first row in the whole mask.
        left: the part's first column in the whole mask.
        size: ``(H, W)`` of the whole mask.
    """
    x0, y0, x1, y1 = mask_to_box(mask)
    return encode_window(mask[y0 : y1 + 1, x0 : x1 + 1], top=top + y0, left=left + x0, size=size)


def non_maximum_suppression(
    boxes: Float32, scores: NDArray[np.floating], iou_threshold: float
) -> NDArray[np.intp]:
    """Drop every box that overlaps a better one by more than ``iou_threshold``.

    Computed in float32 and with ties in the given order, as torchvision does, so that the same
    boxes survive.

    Args:
        boxes: shape ``(N, 4)``.
        scores: shape ``(N,)``, the higher the better.
        iou_threshold: in [0, 1].

    Returns:
        Indices of the boxes kept, the best first.

    >>> boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float32)
    >>> non_maximum_suppression(boxes, np.array([0.5, 0.9, 0.7]), 0.7).tolist()
    [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    ranked = boxes[order]
    areas = (ranked[:, 2] - ranked[:, 0]) * (ranked[:, 3] - ranked[:, 1])
    alive = np.ones(len(ranked), np.bool_)
    kept = []
    for best in range(len(ranked)):
        if not alive[best]:
            continue
        kept.append(best)
        rest = best + 1 + np.flatnonzero(alive[best + 1 :])
        low = np.maximum(ranked[best, :2], ranked[rest, :2])
        high = np.minimum(ranked[best, 2:], ranked[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1, dtype=np.float32)
        union = areas[best] + areas[rest] - shared
        # Two boxes without area (a mask of one pixel or of one line) do not overlap.
        alive[rest[shared > np.float32(iou_threshold) * union]] = False
    return order[np.array(kept, np.intp)]


def is_near_crop_edge(
    boxes: Float32, crop: CropBox, original_size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Say which boxes touch an edge of their crop that is no edge of the photo.

    Args:
        boxes: shape ``(N, 4)``, in the photo's pixels.
        crop: the crop they were found in.
        original_size: ``(H, W)`` of the photo.
    """
    height, width = original_size
    near_crop = np.abs(boxes - np.array(crop)) <= CROP_EDGE_TOLERANCE
    near_photo = np.abs(boxes - np.array([0, 0, width, height])) <= CROP_EDGE_TOLERANCE
    near: NDArray[np.bool_] = (near_crop & ~near_photo).any(axis=1)
    return near


def point_grid(points_per_side: int) -> NDArray[np.float64]:
    """Return an even grid of points in the unit square, row by row; shape ``(n * n, 2)``, x and y.

    >>> point_grid(2).tolist()
    [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    """
    offset = 1 / (2 * points_per_side)
    side = np.linspace(offset, 1 - offset, points_per_side)
    x, y = np.meshgrid(side, side)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def layer_point_grids(
    points_per_side: int, crop_n_layers: int, downscale_factor: int
) -> list[NDArray[np.float64]]:
    """Return the point grid of each crop layer: ``downscale_factor`` times sparser each time."""
    return [
        point_grid(int(points_per_side / downscale_factor**layer))
        for layer in range(crop_n_layers + 1)
    ]


def crop_boxes(
    original_size: tuple[int, int], crop_n_layers: int, overlap_ratio: float
) -> list[tuple[CropBox, int]]:
    """Return the crops to look at, each with its layer. Layer n has ``4**n`` crops.

    A photo thinner than a layer has crops across gives fewer: those without pixels are left out.

    Args:
        original_size: ``(H, W)`` of the photo; layer 0 is all of it.
        crop_n_layers: how many further layers.
        overlap_ratio: how much neighbours in layer 1 overlap, as a share of the short side;
            deeper layers overlap less.

    >>> crop_boxes((100, 200), 1, 0.1)[1:3]
    [((0, 0, 105, 55), 1), ((0, 45, 105, 100), 1)]
    """
    height, width = original_size
    crops: list[tuple[CropBox, int]] = [((0, 0, width, height), 0)]
    for layer in range(1, crop_n_layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / per_side))
        crop_width = ceil((overlap * (per_side - 1) + width) / per_side)
        crop_height = ceil((overlap * (per_side - 1) + height) / per_side)
        for column, row in product(range(per_side), repeat=2):
            x0, y0 = column * (crop_width - overlap), row * (crop_height - overlap)
            x1, y1 = min(x0 + crop_width, width), min(y0 + crop_height, height)
            if x0 < x1 and y0 < y1:
                crops.append(((x0, y0, x1, y1), layer))
    return crops
