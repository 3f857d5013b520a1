"""Masks of tiles become objects of the picture.

Two neighbours see the strip that they have in common: masks that agree there are one object. Each
of its pixels is then taken from the tile that sees it farther from its edge, which is the one on
the pixel's side of the seam through the middle of the strip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam_edge.formats.records import LabelledMask
from sam_edge.masks.boxes import is_near_crop_edge
from sam_edge.masks.spans import (
    Spans,
    cropped_spans,
    joined_spans,
    moved_spans,
    shared_span_area,
    span_area,
    span_box,
)
from sam_edge.tiling.grid import PixelBox, Tile
from sam_edge.tiling.records import TiledMask

LEAST_AGREEMENT = 0.5
"""The IoU, in the strip that two tiles share, from which two masks are one object."""

Place = tuple[int, int]
"""A tile's row and column."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What one tile shows of an object, in the picture's pixels."""

    tile: Tile
    spans: Spans
    predicted_iou: float
    stability_score: float
    points: list[list[float]]
    label: str

    @property
    def place(self) -> Place:
        return self.tile.row, self.tile.column


class Stitcher:
    """Takes tiles' masks in the tiles' order, and gives the picture's.

    Args:
        size: ``(H, W)`` of the picture.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._tiles: dict[Place, Tile] = {}
        self._parts: dict[Place, list[_Part]] = {}
        self._object_of: dict[_Part, dict[Place, _Part]] = {}

    def add(self, tile: Tile, masks: Sequence[LabelledMask]) -> None:
        """Take the masks of one tile, in its own pixels, once it is done."""
        parts = [_part(tile, mask) for mask in masks if mask.area]
        self._tiles[tile.row, tile.column] = tile
        self._parts[tile.row, tile.column] = parts
        for part in parts:
            self._object_of[part] = {part.place: part}
        agreeing: list[tuple[float, float, _Part, _Part]] = []
        for place in ((tile.row, tile.column - 1), (tile.row - 1, tile.column)):
            if place in self._tiles:
                strip = _intersection(self._tiles[place].box, tile.box)
                agreeing += _agreeing(self._parts[place], parts, strip)
        # The best agreement first; the model's own scores decide between masks that are alike
        # there, such as a thing and a part of it.
        for _, _, one, other in sorted(agreeing, key=lambda pair: pair[:2], reverse=True):
            self._join(one, other)

    def _join(self, one: _Part, other: _Part) -> None:
        """Make one object of two, unless a tile says that they are different."""
        first, second = self._object_of[one], self._object_of[other]
        if first is second or first.keys() & second.keys():
            return
        if len(first) < len(second):
            first, second = second, first
        first.update(second)
        for part in second.values():
            self._object_of[part] = first

    def objects(self, nms_thresh: float) -> list[TiledMask]:
        """Return the picture's objects, the best predicted IoU first.

        Args:
            nms_thresh: of two objects whose IoU is above it, the lower-scored is dropped.
        """
        whole = {id(parts): parts for parts in self._object_of.values()}
        found = [
            (_stitched(parts), next(iter(parts)) if len(parts) == 1 else None)
            for parts in whole.values()
            if not self._is_a_neighbours(parts)
        ]
        found.sort(key=lambda item: item[0].predicted_iou, reverse=True)
        return _without_duplicates(
            [mask for mask, _ in found], [place for _, place in found], nms_thresh
        )

    def _is_a_neighbours(self, parts: dict[Place, _Part]) -> bool:
        """Whether an object is a piece that a tile's edge cut off, and another's tile has most.

        That tile saw all of the piece and what it belongs to, and found something else.
        """
        if len(parts) > 1:
            return False
        (part,) = parts.values()
        x0, y0, x1, y1 = span_box(part.spans)
        box = np.array([[x0, y0, x1 - 1, y1 - 1]], np.float32)
        if not is_near_crop_edge(box, part.tile.box, self._size)[0]:
            return False
        own = _share(part.tile, self._tiles)
        return 2 * span_area(cropped_spans(part.spans, own)) < span_area(part.spans)


def _part(tile: Tile, mask: LabelledMask) -> _Part:
    """Move a tile's mask into the picture; its run lengths, a list of numbers, are let go."""
    x0, y0 = tile.box[:2]
    return _Part(
        tile=tile,
        spans=moved_spans(mask.spans, x0, y0),
        predicted_iou=mask.predicted_iou,
        stability_score=mask.stability_score,
        points=[[x + x0, y + y0] for x, y in mask.points],
        label=mask.label,
    )


def _without_duplicates(
    found: Sequence[TiledMask], places: Sequence[Place | None], nms_thresh: float
) -> list[TiledMask]:
    """Drop each object that is a better one once more; those come first.

    Not by their boxes: stitched from tiles, a stray pixel makes the same object's box another.

    Args:
        found: the objects.
        places: the only tile that each was found in, if there was one: of that tile's masks the
            generator has said which are duplicates.
        nms_thresh: the IoU above which two are the same.
    """
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    tile = np.array([-1 if place is None else numbers[place] for place in places])
    boxes = np.array([span_box(mask.spans) for mask in found]).reshape(-1, 4)
    areas = np.array([mask.area for mask in found], np.int64)
    alive = np.ones(len(found), np.bool_)
    for best in range(len(found)):
        if not alive[best]:
            continue
        rest = best + 1 + np.flatnonzero(alive[best + 1 :])
        rest = rest[(tile[rest] != tile[best]) | (tile[rest] < 0)]
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)  # at most
        shared = np.minimum(np.minimum(shared, areas[rest]), areas[best])
        for index in rest[shared > nms_thresh * (areas[best] + areas[rest] - shared)].tolist():
            pixels = shared_span_area(found[best].spans, found[index].spans)
            alive[index] = pixels <= nms_thresh * (areas[best] + areas[index] - pixels)
    return [mask for mask, kept in zip(found, alive, strict=True) if kept]


def _agreeing(
    ones: Sequence[_Part], others: Sequence[_Part], strip: PixelBox
) -> list[tuple[float, float, _Part, _Part]]:
    """Return the pairs that may be one object: their IoU in the strip, their scores, themselves."""
    seen = [(part, cut) for part in ones if len(cut := cropped_spans(part.spans, strip))]
    found = []
    for other in others:
        mine = cropped_spans(other.spans, strip)
        area = span_area(mine)
        for one, its in seen if area else ():
            its_area = span_area(its)
            if min(area, its_area) < LEAST_AGREEMENT * max(area, its_area):
                continue
            shared = shared_span_area(its, mine)
            agreement = shared / (area + its_area - shared)
            if agreement >= LEAST_AGREEMENT:
                score = one.predicted_iou + other.predicted_iou
                found.append((agreement, score, one, other))
    return found


def _stitched(parts: dict[Place, _Part]) -> TiledMask:
    tiles = {place: part.tile for place, part in parts.items()}
    pieces = [cropped_spans(part.spans, _share(part.tile, tiles)) for part in parts.values()]
    shares = np.array([span_area(piece) for piece in pieces], np.float64)
    if not shares.any():  # each tile has it on the other's side of the seam
        pieces = [part.spans for part in parts.values()]
        shares = np.array([span_area(piece) for piece in pieces], np.float64)
    members = list(parts.values())
    boxes = np.array([tile.box for tile in tiles.values()])
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    return TiledMask(
        spans=joined_spans(pieces),
        predicted_iou=float(np.average([each.predicted_iou for each in members], weights=shares)),
        stability_score=float(
            np.average([each.stability_score for each in members], weights=shares)
        ),
        points=[point for each in members for point in each.points],
        crop_box=[x0, y0, x1 - x0, y1 - y0],
        label=members[0].label,
    )


def _share(tile: Tile, tiles: dict[Place, Tile]) -> PixelBox:
    """Return the part of a tile that lies on its side of the seams to its neighbours."""
    x0, y0, x1, y1 = tile.box
    row, column = tile.row, tile.column
    if left := tiles.get((row, column - 1)):
        x0 = (left.box[2] + x0) // 2
    if right := tiles.get((row, column + 1)):
        x1 = (x1 + right.box[0]) // 2
    if above := tiles.get((row - 1, column)):
        y0 = (above.box[3] + y0) // 2
    if below := tiles.get((row + 1, column)):
        y1 = (y1 + below.box[1]) // 2
    return x0, y0, x1, y1


def _intersection(one: PixelBox, other: PixelBox) -> PixelBox:
    return (
        max(one[0], other[0]),
        max(one[1], other[1]),
        min(one[2], other[2]),
        min(one[3], other[3]),
    )
