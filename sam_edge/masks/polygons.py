"""Masks as outlines, and outlines as masks: closed rings on pixel edges, holes included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam_edge.image import MAX_PIXELS
from sam_edge.masks.rle import Mask, MaskError
from sam_edge.masks.spans import Spans, mask_to_spans

Ring = NDArray[np.int64]


def rings(mask: Mask, *, corners_join: bool = False) -> list[Ring]:
    """Trace a mask's outline along the edges of its pixels.

    Fill the rings by the even-odd rule and the mask is back, exactly.

    A corner of the outline is a point with an odd number of foreground pixels around it. Along
    each row of such points, and along each column, they are joined in pairs; following the
    joints, now across, now down, walks around a ring.

    Args:
        mask: shape ``(H, W)``.
        corners_join: whether pixels that touch only at a corner lie in one ring, which then
            touches itself there, or in different rings.

    Returns:
        One array a ring of its corners, shape ``(n, 2)``, x and y in pixels. The last corner
        joins the first. Outer rings have a positive ``ring_area``, holes a negative one.

    >>> [ring.tolist() for ring in rings(np.array([[False, True, True]]))]
    [[[1, 0], [3, 0], [3, 1], [1, 1]]]
    """
    return span_rings(mask_to_spans(mask), corners_join=corners_join)


def span_rings(spans: Spans, *, corners_join: bool = False) -> list[Ring]:
    """Trace the outline of spans, see ``rings``; of a mask of any size, whose pixels are nowhere.

    An end of a span turns the two points at its column's sides. A point that the columns on both
    of its sides turn is no corner, or a saddle where one column ends and the other begins.
    """
    columns, tops, bottoms = spans.T.astype(np.int64)
    x = np.concatenate([columns, columns, columns + 1, columns + 1])
    y = np.concatenate([tops, bottoms, tops, bottoms])
    column_is_left = np.repeat([False, True], 2 * len(spans))
    pixel_is_above = np.tile(np.repeat([False, True], len(spans)), 2)
    order = np.lexsort((column_is_left, x, y))
    x, y, pixel_is_above = x[order], y[order], pixel_is_above[order]
    again = np.zeros(len(order) + 1, np.bool_)  # whether it is the point before, once more
    again[1:-1] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    once = np.flatnonzero(~again[:-1] & ~again[1:])
    # Of a saddle's two entries, the second is the left column's.
    left = np.flatnonzero(again)
    twice = left[pixel_is_above[left] != pixel_is_above[left - 1]]
    # Two rings pass through a saddle: it is listed twice, first for the ring to its left.
    none, all_saddles = np.zeros(len(once), np.bool_), np.ones(len(twice), np.bool_)
    to_the_right = np.concatenate([none, ~all_saddles, all_saddles])
    left_goes_down = pixel_is_above[twice] == corners_join
    downward = np.concatenate([none, left_goes_down, ~left_goes_down])
    listed = np.concatenate([once, twice, twice])
    corners = np.stack([x[listed], y[listed]], axis=1)

    partner_across = _pairs(np.lexsort((to_the_right, *corners.T)))
    partner_down = _pairs(np.lexsort((downward, *corners.T[::-1])))
    starts = np.ascontiguousarray(columns)
    return [_outward(corners[walk], spans, starts) for walk in _walks(partner_across, partner_down)]


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
    method. A ring that would lose or gain half of its area, as one thinner than the tolerance
    does, is returned as it is.

    Raises:
        MaskError: if the tolerance is no number.
    """
    if not np.isfinite(tolerance):
        raise MaskError(f"tolerance must be a number of pixels, got {tolerance}")
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
    change = abs(ring_area(short) - ring_area(ring))
    return short if change < abs(ring_area(ring)) / 2 else ring


def outlines(mask: Mask, *, corners_join: bool = False) -> list[tuple[Ring, list[Ring]]]:
    """Return the rings of a mask part by part: each part's outer ring and its holes.

    The parts come by their outer rings' area, the smallest first; for the rest see ``rings``.
    """
    return span_outlines(mask_to_spans(mask), corners_join=corners_join)


def span_outlines(spans: Spans, *, corners_join: bool = False) -> list[tuple[Ring, list[Ring]]]:
    """Return the rings of spans part by part, see ``outlines``."""
    traced = span_rings(spans, corners_join=corners_join)
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
        here, there = _nearest(outer, hole)
        around = np.roll(hole, -there, axis=0)
        outer = np.concatenate([outer[: here + 1], around, around[:1], outer[here:]])
    return outer


def _nearest(one: Ring, other: Ring) -> tuple[int, int]:
    """Return which corners of two rings are the closest pair."""
    best = (np.inf, 0, 0)
    rows = max(1, _DISTANCES_AT_ONCE // len(other))
    for start in range(0, len(one), rows):
        distance = ((one[start : start + rows, None] - other[None]) ** 2).sum(axis=2)
        here, there = divmod(int(np.argmin(distance)), len(other))
        best = min(best, (int(distance[here, there]), start + here, there))
    return best[1], best[2]


_DISTANCES_AT_ONCE = 1_000_000


def polygon_to_mask(corners: NDArray[np.floating], size: tuple[int, int]) -> Mask:
    """Fill a polygon as pycocotools does, so that areas and IoUs on COCO are COCO's.

    Args:
        corners: shape ``(n, 2)``, x and y in pixels.
        size: ``(H, W)`` of the mask.

    Raises:
        MaskError: as for ``polygons_to_mask``.
    """
    return polygons_to_mask([corners], size)


def polygons_to_mask(polygons: Sequence[NDArray[np.floating]], size: tuple[int, int]) -> Mask:
    """Fill polygons as pycocotools does; a pixel in any of them is foreground.

    The outline is walked on a grid five times as fine; where it changes column, a column of
    pixels starts or ends. Only those places are computed, not the walk between them, and only
    those inside the mask, so that corners far outside of it cost nothing.

    Args:
        polygons: each of shape ``(n, 2)``, x and y in pixels.
        size: ``(H, W)`` of the mask.

    Raises:
        MaskError: if a corner is no finite number or farther away than any photo is long, or if
            there are more corners, or columns crossed by them, than an outline can have.

    The mask is the same on every processor. pycocotools built for Arm rounds once where it
    multiplies and adds, so that single pixels of its masks are others there.

    Source: ``cocoapi/common/maskApi.c``, ``rleFrPoly`` and ``rleMerge``.
    """
    height, width = size
    if sum(map(len, polygons)) > _MOST_CORNERS:
        raise MaskError(f"more than {_MOST_CORNERS} corners outline one object")
    corners = [np.asarray(polygon, np.float64) for polygon in polygons]
    for polygon in corners:
        if polygon.ndim != 2 or polygon.shape[1] != 2:
            raise MaskError(f"a polygon has shape (n, 2), got {polygon.shape}")
    start = np.concatenate([np.zeros((0, 2)), *corners])
    stop = np.concatenate([np.zeros((0, 2)), *(np.roll(each, -1, axis=0) for each in corners)])
    if not (np.abs(start) <= MAX_PIXELS).all():  # NaN is not
        raise MaskError("a polygon's corners must be finite numbers near the photo")

    edge, place = _crossings(_fine(start), _fine(stop), height, width)
    owner = np.repeat(np.arange(len(corners)), [len(each) for each in corners])[edge]
    # A polygon's outline turns the pixels behind it on, then off again; two at one place cancel.
    pixels = height * width
    codes, times = np.unique(owner * (pixels + 1) + place, return_counts=True)
    ends = codes[times % 2 == 1] % (pixels + 1)
    # Where polygons overlap, the mask goes on until the last of them ends.
    order = np.argsort(ends, kind="stable")
    depth = np.cumsum(np.where(order % 2 == 0, 1, -1))
    last = np.diff(ends[order], append=pixels + 1) > 0
    places, inside = ends[order][last], depth[last] > 0
    runs = np.diff(places, prepend=0, append=pixels)
    mask = np.repeat(np.concatenate([[False], inside]), runs)
    return np.ascontiguousarray(mask.reshape(width, height).T)


def _fine(corners: NDArray[np.float64]) -> NDArray[np.int64]:
    return (_FINE * corners + 0.5).astype(np.int64)


_FINE = 5
_MOST_CORNERS = 1_000_000
_MOST_CROSSINGS = 4_000_000


def _crossings(
    start: NDArray[np.int64], stop: NDArray[np.int64], height: int, width: int
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return where edges enter columns of pixels.

    An edge is walked in steps of one fine pixel along its longer axis, always the same way, as
    rounding depends on the direction. It crosses column c where it steps from x = 5 c + 2 to
    5 c + 3, or back.

    Args:
        start: shape ``(n, 2)``, x and y of the edges' first corners, in fine pixels.
        stop: of their other corners.
        height: of the mask.
        width: of the mask.

    Returns:
        Two arrays, one item a crossing: which edge it is, and the pixel that it passes above,
        counted column by column.

    Raises:
        MaskError: if there are too many.
    """
    steep = np.abs(stop[:, 1] - start[:, 1]) > np.abs(stop[:, 0] - start[:, 0])
    backwards = np.where(steep, start[:, 1] > stop[:, 1], start[:, 0] > stop[:, 0])[:, None]
    (x0, y0), (x1, y1) = np.where(backwards, stop, start).T, np.where(backwards, start, stop).T
    first = np.maximum(-((2 - np.minimum(x0, x1)) // _FINE), 0)
    last = np.minimum((np.maximum(x0, x1) - 3) // _FINE, width - 1)
    count = np.maximum(last - first + 1, 0)
    if int(count.sum()) > _MOST_CROSSINGS:
        raise MaskError(f"an outline crosses columns of pixels more than {_MOST_CROSSINGS} times")

    edge = np.repeat(np.arange(len(count)), count)
    column = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    x0, y0, x1, y1, steep = x0[edge], y0[edge], x1[edge], y1[edge], steep[edge]
    length = np.where(steep, y1 - y0, x1 - x0)
    slope = np.where(steep, x1 - x0, y1 - y0) / length

    def minor(step: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the walk's place on the shorter axis."""
        place: NDArray[np.float64] = np.where(steep, x0, y0) + slope * step + 0.5
        return place.astype(np.int64)

    step = _FINE * column + 2 - x0
    flat = np.minimum(minor(step), minor(step + 1))
    # On a steep edge the step is the last one before x changes sides: found by division, and put
    # right where rounding has moved it.
    with np.errstate(divide="ignore", invalid="ignore"):
        guess = np.where(steep, (step + 0.5) / slope, 0).astype(np.int64) - 2
    side = minor(np.zeros_like(guess)) >= _FINE * column + 3
    step = guess + sum((minor(guess + nth) >= _FINE * column + 3) == side for nth in (1, 2, 3))
    y = np.where(steep, y0 + step, flat)
    row = np.ceil(np.clip((y + 0.5) / _FINE - 0.5, 0, height)).astype(np.int64)
    return edge, column * height + row


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


def _outward(ring: Ring, spans: Spans, columns: NDArray[np.int64]) -> Ring:
    """Turn a ring so that the foreground is on its right hand, as seen on the screen."""
    (x, y), (next_x, _) = ring[0], ring[1]
    column = min(x, next_x)
    first, last = np.searchsorted(columns, [column, column + 1])
    rows = spans[first:last]
    below = bool(((rows[:, 1] <= y) & (y < rows[:, 2])).any())
    runs_right = next_x > x
    return ring if below == runs_right else np.roll(ring[::-1], 1, axis=0)
