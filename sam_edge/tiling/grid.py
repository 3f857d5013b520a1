"""Where tiles lie: even over the picture, all of the size asked for, with enough overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sam_edge.errors import ArgumentError

PixelBox: TypeAlias = "tuple[int, int, int, int]"
"""XYXY in the picture's pixels; ``x1`` and ``y1`` are one past the last."""

LEAST_TILE, MOST_TILE = 64, 16_384
LEAST_OVERLAP = 16
"""What two tiles see of an object must be enough to know it again."""


class TilingError(ArgumentError):
    """A tile or an overlap that cannot be."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile: its place among the others, and its pixels."""

    row: int
    column: int
    box: PixelBox


@dataclass(frozen=True, slots=True)
class Grid:
    """A picture cut into tiles that overlap.

    Attributes:
        size: ``(H, W)`` of the picture.
        tile: side of a tile, in pixels; a picture that is smaller has one tile along that side.
        overlap: how many pixels neighbours have in common at least; None for an eighth of a tile,
            16 at least.

    Raises:
        TilingError: if a tile has fewer than 64 or more than 16,384 pixels a side, or the overlap
            is less than 16 pixels or more than half a tile.
    """

    size: tuple[int, int]
    tile: int
    overlap: int | None = None

    def __post_init__(self) -> None:
        if not LEAST_TILE <= self.tile <= MOST_TILE:
            raise TilingError(
                f"a tile has from {LEAST_TILE} to {MOST_TILE} pixels a side, got {self.tile}"
            )
        if not LEAST_OVERLAP <= self.shared <= self.tile // 2:
            raise TilingError(
                f"tiles of {self.tile} pixels overlap by {LEAST_OVERLAP} to {self.tile // 2}, "
                f"got {self.shared}"
            )

    @property
    def shared(self) -> int:
        """The overlap, in pixels."""
        if self.overlap is None:
            return max(LEAST_OVERLAP, self.tile // 8)
        return self.overlap

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles, row by row."""
        height, width = self.size
        columns = starts(width, self.tile, self.shared)
        for row, y in enumerate(starts(height, self.tile, self.shared)):
            for column, x in enumerate(columns):
                box = (x, y, min(x + self.tile, width), min(y + self.tile, height))
                yield Tile(row, column, box)


def check_tiles(tile: int | None, overlap: int | None) -> None:
    """Refuse tiles that cannot be; no tile is none.

    Raises:
        TilingError: as ``Grid``, or if there is an overlap of no tiles.
    """
    if tile is not None:
        Grid((1, 1), tile, overlap)
    elif overlap is not None:
        raise TilingError("an overlap is that of tiles; give --tile (in Python tile=), too")


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles along one side begin: the fewest that overlap enough, evenly set.

    >>> starts(2000, 1024, 128), starts(500, 1024, 128)
    ([0, 488, 976], [0])
    """
    if length <= tile:
        return [0]
    last = -(-(length - overlap) // (tile - overlap)) - 1
    return [(number * (length - tile) + last // 2) // last for number in range(last + 1)]
