"""Masks as outlines: closed rings on pixel edges, holes included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_edge.masks.rle import Mask

Ring = NDArray[np.int64]


def rings(mask: Mask) -> list[Ring]:
    """Trace a mask's outline along the edges of its pixels.

    Fill the rings by the even-odd rule and the mask is back, exactly. Pixels that touch only at
    a corner lie in different rings.

    A corner of the outline is a point with an odd number of foreground pixels around it. Along
    each row of such points, and along each column, they are joined in pairs; following the
    joints, now across, now down, walks around a ring.

    Returns:
        One array a ring of its corners, shape ``(n, 2)``, x and y in pixels. The last corner
        joins the first. Outer rings have a positive ``ring_area``, holes a negative one.

    >>> [ring.tolist() for ring in rings(np.array([[False, True, True]]))]
    [[[1, 0], [3, 0], [3, 1], [1, 1]]]
    """
    padded = np.pad(mask, 1)
    upper_left, upper_right = padded[:-1, :-1], padded[:-1, 1:]
    lower_left, lower_right = padded[1:, :-1], padded[1:, 1:]
    across = (upper_left == lower_right) & (upper_right == lower_left)
    saddle = across & (upper_left != upper_right)
    corner = upper_left ^ upper_right ^ lower_left ^ lower_right
    # Two rings pass through a saddle: it is listed twice, first for the ring to its left.
    once, twice = np.nonzero(corner), np.nonzero(saddle)
    y = np.concatenate([once[0], twice[0], twice[0]])
    x = np.concatenate([once[1], twice[1], twice[1]])
    none, all_saddles = np.zeros(len(once[0]), np.bool_), np.ones(len(twice[0]), np.bool_)
    to_the_right = np.concatenate([none, ~all_saddles, all_saddles])
    left_goes_down = ~upper_left[twice]
    downward = np.concatenate([none, left_goes_down, ~left_goes_down])

    partner_across = _pairs(np.lexsort((to_the_right, x, y)))
    partner_down = _pairs(np.lexsort((downward, y, x)))
    corners = np.stack([x, y], axis=1)
    return [_outward(corners[walk], mask) for walk in _walks(partner_across, partner_down)]


def ring_area(ring: NDArray[np.number]) -> float:
    """Return a ring's area in pixels; negative if it runs anticlockwise on the screen.

    >>> ring_area(np.array([[0, 0], [2, 0], [2, 1], [0, 1]]))
    2.0
    """
    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def simplify(ring: Ring, tolerance: float) -> Ring:
    """Leave out corners that lie within ``tolerance`` pixels of the outline without them.

    The ring is cut at two far corners, and each half is simplified by Douglas and Peucker's
    method. A ring that would be left without area is returned as it is.
    """
    if len(ring) <= 4 or tolerance <= 0:
        return ring
    opposite = int(np.argmax(((ring - ring[0]) ** 2).sum(axis=1)))
    closed = np.concatenate([ring, ring[:1]])
    keep = np.zeros(len(closed), np.bool_)
    keep[[0, opposite, len(ring)]] = True
    spans = [(0, opposite), (opposite, len(ring))]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        between = closed[first + 1 : last] - closed[first]
        chord = closed[last] - closed[first]
        length = float(np.hypot(*chord))
        if length:
            distance = np.abs(between[:, 0] * chord[1] - between[:, 1] * chord[0]) / length
        else:
            distance = np.hypot(between[:, 0], between[:, 1])
        farthest = int(np.argmax(distance))
        if distance[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    short = ring[keep[:-1]]
    return short if len(short) > 2 else ring


def _pairs(order: NDArray[np.intp]) -> list[int]:
    """Join sorted corners two by two, and return each one's partner."""
    partner = np.empty_like(order)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    listed: list[int] = partner.tolist()
    return listed


def _walks(across: list[int], down: list[int]) -> list[list[int]]:
    left = [True] * len(across)
    walks = []
    for start in range(len(across)):
        if not left[start]:
            continue
        walk = []
        here = start
        while left[here]:
            there = across[here]
            left[here] = left[there] = False
            walk += [here, there]
            here = down[there]
        walks.append(walk)
    return walks


def _outward(ring: Ring, mask: Mask) -> Ring:
    """Turn a ring so that the foreground is on its right hand, as seen on the screen."""
    (x, y), (next_x, _) = ring[0], ring[1]
    below = y < mask.shape[0] and bool(mask[y, min(x, next_x)])
    runs_right = next_x > x
    return ring if below == runs_right else np.roll(ring[::-1], 1, axis=0)
