"""Masks as outlines, and outlines as masks: closed rings on pixel edges, holes included."""

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


def outlines(mask: Mask) -> list[tuple[Ring, list[Ring]]]:
    """Return the rings of a mask part by part: each part's outer ring and its holes."""
    traced = rings(mask)
    parts: list[tuple[Ring, list[Ring]]] = [(ring, []) for ring in traced if ring_area(ring) > 0]
    parts.sort(key=lambda part: ring_area(part[0]))
    for hole in traced:
        if ring_area(hole) > 0:
            continue
        # A pixel just above the hole's highest edge belongs to the part that the hole is in.
        y = int(hole[:, 1].min())
        x = int(hole[hole[:, 1] == y, 0].min())
        for outer, holes in parts:
            if _encloses(outer, x + 0.5, y - 0.5):
                holes.append(hole)
                break
    return parts


def keyhole(outer: Ring, holes: list[Ring]) -> Ring:
    """Join holes to their outer ring by slits without width, where they come nearest.

    For formats whose polygons have no holes.
    """
    for hole in holes:
        distance = ((outer[:, None] - hole[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(int(np.argmin(distance)), distance.shape)
        around = np.roll(hole, -int(there), axis=0)
        outer = np.concatenate([outer[: here + 1], around, around[:1], outer[here:]])
    return outer


def polygon_to_mask(corners: NDArray[np.floating], size: tuple[int, int]) -> Mask:
    """Fill a polygon as pycocotools does, so that areas and IoUs on COCO are COCO's.

    The outline is walked on a grid five times as fine; where it changes column, a column of
    pixels starts or ends.

    Args:
        corners: shape ``(n, 2)``, x and y in pixels.
        size: ``(H, W)`` of the mask.

    Source: ``cocoapi/common/maskApi.c``, ``rleFrPoly``.
    """
    height, width = size
    fine = (_FINE * np.asarray(corners, np.float64) + 0.5).astype(np.int64)
    steps = [
        _walk_edge(start, stop)
        for start, stop in zip(fine, np.roll(fine, -1, axis=0), strict=True)
        if (start != stop).any()
    ]
    if not steps:
        return np.zeros(size, np.bool_)
    walk = np.concatenate(steps)
    before, after = walk[:-1], walk[1:]
    turns = before[:, 0] != after[:, 0]
    before, after = before[turns], after[turns]
    column = (
        np.where(after[:, 0] < before[:, 0], after[:, 0], after[:, 0] - 1) + 0.5
    ) / _FINE - 0.5
    row = (np.minimum(after[:, 1], before[:, 1]) + 0.5) / _FINE - 0.5
    counted = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[counted], 0, height))
    position = column[counted].astype(np.int64) * height + row.astype(np.int64)
    flips = np.bincount(position, minlength=height * width + 1)[: height * width]
    return np.ascontiguousarray((np.cumsum(flips) % 2 == 1).reshape(width, height).T)


_FINE = 5.0


def _walk_edge(start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fine pixels from one corner to the next, both included."""
    (x0, y0), (x1, y1) = start.tolist(), stop.tolist()
    across, down = abs(x1 - x0), abs(y1 - y0)
    # Rounding depends on the direction of the walk, so it always goes the same way.
    flip = x0 > x1 if across >= down else y0 > y1
    if flip:
        x0, y0, x1, y1 = x1, y1, x0, y0
    t = np.arange(max(across, down) + 1)
    if across >= down:
        walk = np.stack([t + x0, (y0 + (y1 - y0) / across * t + 0.5).astype(np.int64)], axis=1)
    else:
        walk = np.stack([(x0 + (x1 - x0) / down * t + 0.5).astype(np.int64), t + y0], axis=1)
    return walk[::-1] if flip else walk


def _encloses(ring: Ring, x: float, y: float) -> bool:
    """Say whether a point lies inside a ring, by counting the edges to its right."""
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    crosses = ((y0 > y) != (y1 > y)) & (np.maximum(x0, x1) > x)
    return int(np.count_nonzero(crosses)) % 2 == 1


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
