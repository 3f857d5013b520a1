"""Pictures that are read window by window, or whole where their format has no windows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sam_edge.errors import ImageError
from sam_edge.formats.geojson import Georeference
from sam_edge.image import RgbImage, read_image
from sam_edge.picture_file import PictureSource, name_of, open_picture, stated_orientation
from sam_edge.tiling.grid import PixelBox

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Windows(Protocol):
    """A picture of which a part at a time is read.

    Attributes:
        name: for messages.
        size: ``(H, W)`` in pixels.
        georeference: where it lies on the earth; None if nobody knows.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above

    @property
    def size(self) -> tuple[int, int]: ...  # noqa: D102 - described above

    @property
    def georeference(self) -> Georeference | None: ...  # noqa: D102 - described above

    def read(self, box: PixelBox) -> RgbImage:
        """Return a part of the picture, ``(h, w, 3)`` uint8 RGB.

        Raises:
            ImageError: if it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArrayWindows:
    """A picture in memory, or anything that numpy's slices cut: a memory map, a zarr array.

    Attributes:
        pixels: see ``sam_edge.image.read_image`` for the arrays that are taken.
        name: for messages.
        georeference: where it lies on the earth.
    """

    pixels: Any
    name: str = "the picture"
    georeference: Georeference | None = None

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        height, width = self.pixels.shape[:2]
        return height, width

    def read(self, box: PixelBox) -> RgbImage:
        """Return a part of the picture."""
        x0, y0, x1, y1 = box
        return read_image(np.asarray(self.pixels[y0:y1, x0:x1]))


@contextmanager
def open_windows(source: PictureSource, *, stretch: bool = False) -> Iterator[Windows]:
    """Open a picture to be read in windows.

    TIFF, tiled or in strips, of any size, is read by windows where ``rasterio`` is installed
    (extra ``geo``). Any other format is decoded whole, as ``read_image`` does and within its
    limits; so is TIFF without it, and TIFF of kinds whose colours only ``read_image`` gets right.

    Args:
        source: a path, or the bytes of a file.
        stretch: see ``read_image``; of a TIFF read by windows, percentiles are those of samples
            from all over it.

    Raises:
        ImageError: if it cannot be read, or is too large to be decoded whole.
    """
    georeference = None
    if isinstance(source, Path) and _is_tiff(source):
        if not find_spec("rasterio"):
            yield ArrayWindows(_read_whole(source, stretch), name_of(source))
            return
        from sam_edge.tiling.raster import open_raster

        with open_raster(source) as raster:
            georeference = raster.georeference
            if raster.is_plain and not _is_turned(source):
                yield raster.levelled(stretch)
                return
    yield ArrayWindows(read_image(source, stretch=stretch), name_of(source), georeference)


def georeference_of(source: PictureSource) -> Georeference | None:
    """Return where a picture lies on the earth; None if it or nobody here can say.

    Raises:
        ImageError: if it is a TIFF that cannot be read.
    """
    if not (isinstance(source, Path) and _is_tiff(source) and find_spec("rasterio")):
        return None
    from sam_edge.tiling.raster import open_raster

    with open_raster(source) as raster:
        return raster.georeference


def _read_whole(path: Path, stretch: bool) -> RgbImage:
    try:
        return read_image(path, stretch=stretch)
    except ImageError as error:
        raise ImageError(f"{error}; with sam-edge[geo], TIFF is read by windows") from error


def _is_tiff(path: Path) -> bool:
    try:
        if not path.expanduser().is_file():
            return False
        with path.expanduser().open("rb") as file:
            return file.read(4) in _TIFF
    except (OSError, RuntimeError):  # who reads it says what is wrong
        return False


def _is_turned(path: Path) -> bool:
    """Whether a TIFF is to be seen otherwise than its rows are stored."""
    try:
        with open_picture(path) as picture:
            return stated_orientation(picture) != 1
    except ImageError:  # pillow knows fewer kinds
        return False
