"""Photos of more than 8 bits: read right within a level of their 8-bit twin, or refused."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sam_edge.errors import ImageError
from sam_edge.image import read_image

tifffile = pytest.importorskip("tifffile")

# tifffile describes its shaped arrays in a tag that pillow has no interest in.
PLAIN = {"metadata": None}


@pytest.fixture
def deep():
    return np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)


@pytest.fixture
def twin(deep):
    return np.round(deep / 257).astype(np.uint8)


def tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, **PLAIN, **options)
    return path


def off(read, twin):
    return np.abs(read.astype(int) - twin).max()


def png16(pixels):
    """Return a 16-bit PNG of ``(H, W, 3 or 4)``, which pillow does not write."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_colour_tiffs_are_their_eight_bit_twin(
    deep, twin, tmp_path, byte_order, compression, planar
):
    pixels = deep if planar == "contig" else np.moveaxis(deep, 2, 0)
    path = tiff(
        tmp_path / "deep.tif",
        pixels,
        photometric="rgb",
        planarconfig=planar,
        byteorder=byte_order,
        compression=compression,
        rowsperstrip=7,
    )
    assert off(read_image(path), twin) <= 1


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_sixteen_bit_tiff_whose_white_is_zero_is_not_a_negative(
    deep, twin, tmp_path, compression
):
    path = tiff(
        tmp_path / "white.tif",
        65535 - deep[:, :, 0],
        photometric="miniswhite",
        compression=compression,
    )
    assert off(read_image(path), twin[:, :, :1]) <= 1


def raw_tiff(data, shape, tags):
    """Return an uncompressed little-endian grey TIFF of one strip."""
    height, width = shape
    tags = {256: width, 257: height, 259: 1, 262: 1, 273: 8, 277: 1, 278: height} | tags
    tags |= {279: len(data)}
    directory = struct.pack("<H", len(tags))
    for tag, value in sorted(tags.items()):
        directory += struct.pack("<HHII", tag, 4, 1, value)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def test_one_channel_that_is_stored_as_a_plane_is_read_as_it_is(deep, twin):
    grey = deep[:, :, 0]
    data = raw_tiff(grey.tobytes(), grey.shape, {258: 16, 284: 2})
    assert off(read_image(data), twin[:, :, :1]) <= 1


def test_a_twelve_bit_tiff_is_not_black(deep, twin):
    pairs = (deep[:, :, 0] >> 4).reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1)
    data = raw_tiff(packed.astype(np.uint8).tobytes(), deep.shape[:2], {258: 12})
    assert off(read_image(data), twin[:, :, :1]) <= 1


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "float32"])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">", "compression": "zlib"}])
def test_numbers_that_say_no_white_are_refused_or_stretched(deep, tmp_path, dtype, options):
    values = (deep[:, :, 0] >> 4).astype(dtype)
    path = tiff(tmp_path / "numbers.tif", values, photometric="minisblack", **options)
    with pytest.raises(ImageError, match=r"numbers\.tif") as caught:
        read_image(path)
    if "--stretch" in str(caught.value):
        assert np.array_equal(read_image(path, stretch=True), read_image(values, stretch=True))


def test_large_unsigned_numbers_do_not_wrap_around(tmp_path):
    values = np.linspace(0, 2**32 - 1, 600).astype(np.uint32).reshape(20, 30)
    path = tiff(tmp_path / "large.tif", values, photometric="minisblack")
    read = read_image(path, stretch=True)[:, :, 0].ravel().astype(int)
    assert (np.diff(read) >= 0).all()
    assert read[0] == 0
    assert read[-1] == 255


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_is_the_same_from_a_file_and_an_array(deep, tmp_path, channels):
    pixels = np.dstack([deep, deep[:, :, :1]])[:, :, :channels]
    expected = read_image(pixels)
    assert np.array_equal(expected, deep >> 8)  # as cv2.imread
    assert np.array_equal(read_image(png16(pixels)), expected)
    ppm = b"P6 30 20 65535\n" + deep.astype(">u2").tobytes()
    assert np.array_equal(read_image(ppm), expected)
    path = tiff(tmp_path / "deep.tif", deep, photometric="rgb")
    assert np.array_equal(read_image(path), expected)


def test_sixteen_bit_grey_is_the_same_from_a_file_and_an_array(deep):
    grey, file = deep[:, :, 0], io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    assert np.array_equal(read_image(file.getvalue()), read_image(grey))


def test_arrays_of_the_other_byte_order_are_taken(deep):
    assert np.array_equal(read_image(deep.astype(">u2")), read_image(deep))


@pytest.mark.parametrize(
    "store",
    [
        lambda deep, path: tiff(path, deep[:, :, 0] >> 4, photometric="minisblack"),
        lambda deep, path: tiff(path, deep >> 4, photometric="rgb"),
        lambda deep, _: png16(deep >> 4),
        lambda deep, _: deep >> 4,
        lambda deep, _: (deep >> 4) + np.uint16(40_000),
    ],
    ids=["grey file", "colour file", "PNG", "array", "light array"],
)
def test_twelve_bits_in_sixteen_warn_and_name_the_way_out(deep, tmp_path, caplog, store):
    source = store(deep, tmp_path / "dark.tif")
    read_image(source)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "--stretch" in record.getMessage()
    assert "stretch=True" in record.getMessage()
    caplog.clear()
    stretched = read_image(source, stretch=True)
    assert not caplog.records
    grey = np.array_equal(stretched[:, :, 0], stretched[:, :, 1])
    stored = (deep[:, :, :1] if grey else deep) >> 4
    low, high = np.percentile(stored, (2, 98))
    expected = np.clip((stored - low) / (high - low), 0, 1) * 255
    assert np.abs(stretched - expected).max() <= 0.51


def test_a_photo_that_uses_its_levels_does_not_warn(deep, caplog):
    read_image(deep)
    read_image(png16(deep))
    read_image(np.full((4, 4), 7, np.uint16))  # one shade is what it is
    read_image(np.zeros((4, 4), np.uint8))
    assert not caplog.records


def test_a_broken_bright_pixel_does_not_hide_a_dark_photo(deep, caplog):
    dark = np.tile(deep[:, :, 0] >> 4, (4, 4))
    dark[0, 0] = 65535
    read_image(dark)
    assert len(caplog.records) == 1


def test_sixteen_bits_of_which_pillow_gives_eight_are_not_stretched(deep, tmp_path):
    path = tiff(
        tmp_path / "planes.tif",
        np.moveaxis(deep, 2, 0),
        photometric="rgb",
        planarconfig="separate",
        compression="zlib",
    )
    with pytest.raises(ImageError, match="only the upper 8 of its 16 bits"):
        read_image(path, stretch=True)


def test_stretch_takes_floats_with_nan_and_an_even_ground():
    values = np.zeros((20, 30), np.float32)
    values[0, 0], values[0, 1], values[0, 2] = 1.5, np.nan, np.inf
    read = read_image(values, stretch=True)
    assert read[0, :4, 0].tolist() == [255, 0, 255, 0]
    with pytest.raises(ImageError, match="no finite number"):
        read_image(np.full((4, 4), np.nan), stretch=True)


def test_stretch_works_on_a_turned_photo(deep, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(deep[:, :, 0]).save(tmp_path / "turned.png", exif=exif)
    read = read_image(tmp_path / "turned.png", stretch=True)
    upright = np.rot90(read_image(deep[:, :, 0], stretch=True), -1)
    assert np.array_equal(read, upright)


def test_signed_bytes_are_refused_and_not_taken_for_others(tmp_path):
    path = tmp_path / "signed.tif"
    tifffile.imwrite(path, np.arange(-50, 50, dtype=np.int8).reshape(10, 10))
    with pytest.raises(ImageError, match="save it as PNG"):
        read_image(path)
