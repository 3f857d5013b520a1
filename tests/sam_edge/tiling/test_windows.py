"""Windows are the picture that ``read_image`` reads, whichever way they come."""

import logging
import warnings
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam_edge.errors import ImageError
from sam_edge.image import read_image
from sam_edge.tiling import ArrayWindows, georeference_of, open_windows, windows

PHOTO = Path(str(files("sam_edge") / "assets" / "photos" / "coffee.jpg"))
NORTH_UP = (0.5, 0, 500_000, 0, -0.5, 5_400_000)
BOX = (130, 70, 300, 260)


@pytest.fixture
def rasterio():
    return pytest.importorskip("rasterio")


def photo():
    with Image.open(PHOTO) as picture:
        return picture.convert("RGB")


def saved(path, picture, **how):
    picture.save(path, **how)
    return path


def written(rasterio, path, bands, **how):
    """A TIFF as GDAL writes it; ``bands`` has shape ``(B, H, W)``."""
    count, height, width = bands.shape
    settings = {"driver": "GTiff", "tiled": True, "blockxsize": 64, "blockysize": 64}
    if "transform" in how:
        how["transform"] = rasterio.Affine(*how["transform"])
    profile = settings | {"count": count, "height": height, "width": width, "dtype": bands.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **(profile | how)) as dataset:
            dataset.write(bands)
    return path


@contextmanager
def window_of(path, **how):
    with open_windows(path, **how) as picture:
        x0, y0, x1, y1 = BOX
        whole = read_image(path, **how)
        assert picture.size == whole.shape[:2]
        yield picture, picture.read(BOX), whole[y0:y1, x0:x1]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_formats_without_windows_are_read_whole(tmp_path, suffix):
    path = saved(tmp_path / f"photo{suffix}", photo())
    with window_of(path) as (picture, window, expected):
        assert isinstance(picture, ArrayWindows)
        assert np.array_equal(window, expected)
        assert picture.georeference is None
    assert georeference_of(path) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_every_kind_of_tiff_gives_the_colours_of_the_whole(tmp_path, rasterio, mode, compression):
    picture = photo()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode == "CMYK":
        black = picture.convert("L").point(lambda level: level // 3)
        picture = Image.merge(mode, [*picture.split(), black])
    else:
        picture = picture.convert(mode)
    path = saved(tmp_path / "photo.tif", picture, compression=compression)
    with window_of(path) as (found, window, expected):
        assert np.array_equal(window, expected)
        read_by_windows = not isinstance(found, ArrayWindows)
        assert read_by_windows == (mode in ("RGB", "RGBA", "L", "LA", "I;16"))


def test_a_turned_tiff_stands_upright(tmp_path, rasterio):
    exif = Image.Exif()
    exif[274] = 6
    path = saved(tmp_path / "photo.tif", photo(), exif=exif)
    with window_of(path) as (picture, window, expected):
        assert picture.size == (600, 400)
        assert np.array_equal(window, expected)


def test_white_may_be_the_lowest_number(tmp_path, rasterio):
    grey = np.asarray(photo().convert("L"))[None]
    path = written(rasterio, tmp_path / "negative.tif", grey, photometric="MINISWHITE")
    with window_of(path) as (_, window, expected):
        assert np.array_equal(window, expected)


@pytest.mark.parametrize(
    "how",
    [
        {"BIGTIFF": "YES", "compress": "lzw", "predictor": 2},
        {"tiled": False, "compress": "deflate", "blockysize": 16},
        {"interleave": "band", "compress": "zstd"},
    ],
    ids=["big", "strips", "planes"],
)
def test_layouts_of_large_tiffs_are_read_by_windows(tmp_path, rasterio, how):
    bands = np.moveaxis(np.asarray(photo()), -1, 0)
    path = written(rasterio, tmp_path / "large.tif", bands, **how)
    x0, y0, x1, y1 = BOX
    with open_windows(path) as picture:
        assert not isinstance(picture, ArrayWindows)
        assert np.array_equal(picture.read(BOX), np.asarray(photo())[y0:y1, x0:x1])


def test_of_many_bands_those_that_are_named_or_the_first_three_are_seen(tmp_path, rasterio):
    red, green, blue = np.moveaxis(np.asarray(photo()), -1, 0)
    infrared = 255 - red
    path = written(rasterio, tmp_path / "four.tif", np.stack([red, green, blue, infrared]))
    with open_windows(path) as picture:
        assert np.array_equal(picture.read((0, 0, 600, 400)), np.asarray(photo()))
    place = {"crs": "EPSG:32633", "transform": NORTH_UP}
    path = written(
        rasterio, tmp_path / "turned.tif", np.stack([infrared, blue, green, red]), **place
    )
    with rasterio.open(path, "r+") as dataset:
        colours = rasterio.enums.ColorInterp
        dataset.colorinterp = [colours.undefined, colours.blue, colours.green, colours.red]
    with open_windows(path) as picture:
        assert np.array_equal(picture.read((0, 0, 600, 400)), np.asarray(photo()))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_deep_numbers_are_stretched_alike_in_every_window(tmp_path, rasterio, dtype):
    bands = np.moveaxis(np.asarray(photo()), -1, 0).astype(dtype) * 10 + 50
    bands[:, :40] = -9999 if dtype != np.uint16 else 0
    path = written(
        rasterio, tmp_path / "deep.tif", bands, nodata=-9999 if dtype != np.uint16 else 0
    )
    low, high = np.percentile(bands[:, 40:], (2, 98))
    with open_windows(path, stretch=True) as picture:
        window = picture.read(BOX).astype(float)
        black = picture.read((0, 0, 600, 40))
    x0, y0, x1, y1 = BOX
    expected = np.clip((np.moveaxis(bands, 0, -1)[y0:y1, x0:x1] - low) * 255 / (high - low), 0, 255)
    assert np.abs(window - expected).mean() < 6  # its percentiles are those of samples
    assert not black.any()


def test_deep_numbers_that_are_not_stretched_are_warned_of_once_or_refused(
    tmp_path, rasterio, caplog
):
    bands = np.moveaxis(np.asarray(photo()), -1, 0)
    dark = written(rasterio, tmp_path / "dark.tif", bands.astype(np.uint16) * 8)
    with caplog.at_level(logging.WARNING, "sam_edge"), open_windows(dark) as picture:
        assert np.array_equal(picture.read((0, 0, 600, 400)), np.asarray(photo()) >> 5)
        picture.read(BOX)
    assert len(caplog.records) == 1
    real = written(rasterio, tmp_path / "real.tif", bands.astype(np.float32))
    with pytest.raises(ImageError, match="stretch"), open_windows(real):
        pass


def test_a_map_says_where_it_lies(tmp_path, rasterio):
    bands = np.moveaxis(np.asarray(photo()), -1, 0)
    path = written(rasterio, tmp_path / "map.tif", bands, crs="EPSG:32633", transform=NORTH_UP)
    place = georeference_of(path)
    assert place.crs == "urn:ogc:def:crs:EPSG::32633"
    assert place.transform == NORTH_UP
    with open_windows(path) as picture:
        assert picture.georeference == place
    path = written(rasterio, tmp_path / "earth.tif", bands, crs="EPSG:4326", transform=NORTH_UP)
    assert georeference_of(path).crs == "urn:ogc:def:crs:OGC:1.3:CRS84"


def test_a_damaged_block_is_its_windows_error_alone(tmp_path, rasterio):
    bands = np.moveaxis(np.asarray(photo()), -1, 0)
    path = written(rasterio, tmp_path / "torn.tif", bands, compress="deflate")
    data = path.read_bytes()
    path.write_bytes(data[:-3000])
    with open_windows(path) as picture:
        assert picture.read((0, 0, 64, 64)).any()
        with pytest.raises(ImageError, match=r"torn\.tif cannot be decoded"):
            picture.read((520, 330, 600, 400))


def test_what_is_no_tiff_behind_its_first_bytes_is_an_error(tmp_path):
    path = tmp_path / "bad.tif"
    path.write_bytes(b"II*\0" + bytes(100))
    with pytest.raises(ImageError, match="bad"), open_windows(path):
        pass


def test_without_rasterio_tiff_is_read_whole_and_what_is_too_large_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "find_spec", lambda name: None)
    path = saved(tmp_path / "photo.tif", photo())
    with window_of(path) as (picture, window, expected):
        assert isinstance(picture, ArrayWindows)
        assert np.array_equal(window, expected)
    path = saved(tmp_path / "large.tif", Image.new("1", (20_001, 20_000)), compression="group4")
    with pytest.raises(ImageError, match=r"sam-edge\[geo\]"), open_windows(path):
        pass


def test_a_memory_map_is_read_in_windows(tmp_path):
    pixels = np.asarray(photo())
    path = tmp_path / "pixels.raw"
    path.write_bytes(pixels.tobytes())
    mapped = np.memmap(path, np.uint8, "r", shape=pixels.shape)
    picture = ArrayWindows(mapped)
    assert picture.size == (400, 600)
    assert np.array_equal(picture.read((3, 4, 50, 60)), pixels[4:60, 3:50])
