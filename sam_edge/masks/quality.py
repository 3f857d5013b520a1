"""How alike two masks are, and where to click on one."""

from __future__ import annotations

import numpy as np

from sam_edge.masks import Mask, as_mask
from sam_edge.masks.boxes import mask_to_box


def iou(one: Mask, other: Mask) -> float:
    """Return the intersection of two masks over their union; two empty masks agree.

    >>> iou(np.array([[True, True, False]]), np.array([[True, False, False]]))
    0.5
    """
    one, other = as_mask(one), as_mask(other)
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else 1.0


def innermost_point(mask: Mask) -> tuple[float, float]:
    """Return the centre ``(x, y)`` of the foreground pixel farthest from the background.

    Distance is counted in steps across and down. Beyond the photo's edge is background.

    Args:
        mask: shape ``(H, W)``, not empty.

    >>> innermost_point(np.array([[False] * 5, [False, True, True, True, False], [False] * 5]))
    (1.5, 1.5)
    """
    mask = as_mask(mask)
    x0, y0, x1, y1 = mask_to_box(mask)
    inside = np.pad(mask[y0 : y1 + 1, x0 : x1 + 1], 1)
    distance = np.where(inside, sum(inside.shape), 0)
    for axis in (0, 1):
        place = np.expand_dims(np.arange(inside.shape[axis]), 1 - axis)
        forward = np.minimum.accumulate(distance - place, axis=axis) + place
        backward = np.flip(np.minimum.accumulate(np.flip(distance + place, axis), axis=axis), axis)
        distance = np.minimum(forward, backward - place)
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return float(x0 + column - 1 + 0.5), float(y0 + row - 1 + 0.5)
