"""TIFF by windows, and where on the earth it lies: the only file that knows ``rasterio``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge.errors import ImageError, MissingDependencyError
from sam_edge.formats.geojson import Georeference
from sam_edge.image import STRETCH_PERCENTILES, RgbImage, read_image, stretched
from sam_edge.picture_file import name_of
from sam_edge.text import printable
from sam_edge.tiling.grid import PixelBox

CACHE_MEGABYTES = 64
"""What GDAL may keep of the blocks it decoded: without a word it takes 5 % of the machine."""

_PLAIN = frozenset({"undefined", "gray", "red", "green", "blue", "alpha"})

_SAMPLED_SIDE, _SAMPLED_WINDOWS = 128, 8


@dataclass(frozen=True, slots=True, eq=False)
class RasterWindows:
    """An open raster.

    Attributes:
        dataset: rasterio's.
        name: for messages.
        bands: one band for grey, or red, green and blue, counted from 1.
        levels: the numbers that are black and white; None takes the upper 8 bits.
    """

    dataset: Any
    name: str
    bands: tuple[int, ...]
    levels: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.dataset.height, self.dataset.width

    @property
    def georeference(self) -> Georeference | None:
        """Where it lies on the earth; None if the file does not say."""
        if self.dataset.crs is None and self.dataset.transform.is_identity:
            return None
        return Georeference(_crs_name(self.dataset.crs), tuple(self.dataset.transform)[:6])

    @property
    def is_plain(self) -> bool:
        """Whether its numbers are brightness, black the lowest, in whole bytes.

        Those that are not (CMYK, palettes, white as the lowest number, one bit) are read right by
        ``read_image`` alone.
        """
        structure = self.dataset.tags(ns="IMAGE_STRUCTURE")
        bands = self.dataset.indexes
        bits = [self.dataset.tags(band, ns="IMAGE_STRUCTURE").get("NBITS") for band in bands]
        colours = {colour.name for colour in self.dataset.colorinterp}
        converted = structure.get("SOURCE_COLOR_SPACE", "YCbCr") != "YCbCr"
        inverted = structure.get("MINISWHITE") == "YES"
        return colours <= _PLAIN and not (any(bits) or converted or inverted)

    def levelled(self, stretch: bool) -> RasterWindows:
        """Return the same raster, once it is sure what is black and what is white in it.

        Args:
            stretch: make the 2nd percentile of the numbers black and the 98th white, those of 64
                places all over the picture.

        Raises:
            ImageError: if its numbers say no white and are not stretched.
        """
        if stretch:
            return replace(self, levels=_levels(self))
        kinds = {np.dtype(self.dataset.dtypes[band - 1]) for band in self.bands}
        if kinds == {np.dtype(np.uint16)}:
            read_image(np.ma.getdata(_samples(self)))  # warns if it is nearly black
        elif kinds != {np.dtype(np.uint8)}:
            raise ImageError(
                f"{self.name} holds {', '.join(sorted(map(str, kinds)))}, which say no white: use "
                "--stretch (in Python stretch=True), or save it with 8 or 16 bits"
            )
        return self

    def read(self, box: PixelBox) -> RgbImage:
        """Return a part of the picture, see ``Windows``."""
        numbers = np.ma.getdata(self.numbers(box))
        if self.levels is not None:
            return read_image(stretched(numbers, *self.levels).astype(np.uint8))
        return read_image(numbers if numbers.dtype == np.uint8 else (numbers >> 8).astype(np.uint8))

    def numbers(self, box: PixelBox) -> np.ma.MaskedArray[Any, Any]:
        """Return the numbers of a window as they are stored, those without data masked.

        Returns:
            Shape ``(h, w, bands)``.
        """
        errors = import_rasterio().errors
        x0, y0, x1, y1 = box
        try:
            found = self.dataset.read(self.bands, window=((y0, y1), (x0, x1)), masked=True)
        except errors.RasterioError as error:
            reason = printable(str(error.__cause__ or error))
            raise ImageError(f"{self.name} cannot be decoded: {reason}") from error
        return np.ma.MaskedArray(
            np.moveaxis(np.ma.getdata(found), 0, -1), np.moveaxis(np.ma.getmaskarray(found), 0, -1)
        )


@contextmanager
def open_raster(path: Path, *, bands: tuple[int, ...] | None = None) -> Iterator[RasterWindows]:
    """Open a TIFF to be read in windows.

    Args:
        path: of the file.
        bands: which band is grey, or which three are red, green and blue; None takes those that
            the file says are, else the first three, or the first of one or two.

    Raises:
        ImageError: if it cannot be opened.
        MissingDependencyError: if there is no ``rasterio``.
    """
    rasterio = import_rasterio()
    name = name_of(path)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES):
        try:
            with warnings.catch_warnings():
                # That a picture lies nowhere on the earth is no news to who has a photo.
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                dataset = rasterio.open(path.expanduser(), driver="GTiff")
        except rasterio.errors.RasterioError as error:
            raise ImageError(f"{name} cannot be read: {printable(str(error))}") from error
        with dataset:
            yield RasterWindows(dataset, name, bands or _bands(dataset))


def import_rasterio() -> Any:  # noqa: ANN401 - a module without types
    """Return ``rasterio``.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    try:
        import rasterio
        import rasterio.errors
    except ImportError as error:
        raise MissingDependencyError(
            "reading GeoTIFF by windows needs rasterio: pip install 'sam-edge[geo]'"
        ) from error
    return rasterio


def _bands(dataset: Any) -> tuple[int, ...]:  # noqa: ANN401 - rasterio's
    number_of = {colour.name: band for band, colour in enumerate(dataset.colorinterp, 1)}
    if {"red", "green", "blue"} <= number_of.keys():
        return number_of["red"], number_of["green"], number_of["blue"]
    return (1, 2, 3) if dataset.count >= 3 else (1,)


def _samples(raster: RasterWindows) -> np.ma.MaskedArray[Any, Any]:
    """Return windows from all over a raster, one below the other."""
    whole = raster.size
    height, width = (min(_SAMPLED_SIDE, side) for side in whole)
    ys = np.linspace(0, whole[0] - height, _SAMPLED_WINDOWS).astype(int).tolist()
    xs = np.linspace(0, whole[1] - width, _SAMPLED_WINDOWS).astype(int).tolist()
    windows = [
        raster.numbers((x, y, x + width, y + height))
        for y in dict.fromkeys(ys)
        for x in dict.fromkeys(xs)
    ]
    return np.ma.MaskedArray(
        np.concatenate([np.ma.getdata(window) for window in windows]),
        np.concatenate([np.ma.getmaskarray(window) for window in windows]),
    )


def _levels(raster: RasterWindows) -> tuple[float, float]:
    """Return the numbers that are to be black and white."""
    samples = _samples(raster)
    numbers = np.ma.getdata(samples)[~np.ma.getmaskarray(samples)].astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        raise ImageError(f"{raster.name} holds no finite number in 64 places all over it")
    low, high = np.percentile(numbers, STRETCH_PERCENTILES).tolist()
    return (low, high) if low < high else (float(numbers.min()), float(numbers.max()))


def _crs_name(crs: Any) -> str | None:  # noqa: ANN401 - rasterio's
    """Return a coordinate reference system as GeoJSON's ``crs`` names it."""
    if crs is None:
        return None
    authority = crs.to_authority()
    if authority == ("EPSG", "4326"):
        return "urn:ogc:def:crs:OGC:1.3:CRS84"  # longitude first, as the coordinates are
    return f"urn:ogc:def:crs:{authority[0]}::{authority[1]}" if authority else str(crs.to_wkt())
