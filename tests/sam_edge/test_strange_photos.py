"""Photos from strangers: bounded, one line for whatever is wrong, nothing changed outside."""

import io
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam_edge.errors import ImageError
from sam_edge.image import preprocess, read_image
from tests.sam_edge.known import SPEC

tifffile = pytest.importorskip("tifffile")

READ = ("JPEG", "MPO", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM", "QOI")
NOT_READ = ("ICO", "ICNS", "EPS", "DDS", "BLP", "TGA", "PCX")


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


def encoded(pixels, format_name, **options):
    picture, file = Image.fromarray(pixels), io.BytesIO()
    if format_name == "BLP":
        picture = picture.quantize()
    picture.save(file, format_name, **options)
    return file.getvalue()


@pytest.mark.parametrize("format_name", READ)
def test_every_format_of_photos_is_read_from_a_path_and_from_bytes(rgb, tmp_path, format_name):
    data = encoded(rgb, format_name)
    (tmp_path / "photo").write_bytes(data)
    read = read_image(tmp_path / "photo")
    assert np.array_equal(read, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.array_equal(read_image(data), read)


@pytest.mark.parametrize("format_name", NOT_READ)
def test_what_is_no_format_of_photos_is_not_even_opened(rgb, tmp_path, format_name):
    (tmp_path / "photo.png").write_bytes(encoded(rgb, format_name))
    with pytest.raises(ImageError, match=r"photo\.png is not a picture that can be read \(JPEG, "):
        read_image(tmp_path / "photo.png")


def test_an_icon_is_refused_before_it_is_decoded():
    inside = encoded(np.zeros((9000, 9000), bool), "PNG")
    head = b"\0\0\1\0\1\0" + bytes([16, 16, 0, 0, 1, 0, 32, 0])
    icon = head + len(inside).to_bytes(4, "little") + (22).to_bytes(4, "little") + inside
    with pytest.raises(ImageError, match="not a picture that can be read"):
        read_image(icon)


@pytest.mark.parametrize("format_name", [*READ, *NOT_READ])
def test_damage_is_one_line_whatever_the_decoder_raises(rgb, tmp_path, format_name):
    data, generator = encoded(rgb, format_name), np.random.default_rng(0)
    for turn in range(60):
        damaged = bytearray(data)
        # Headers are where decoders trip.
        end = len(data) if turn % 2 else min(len(data), 160)
        for place in generator.integers(0, end, 1 + turn % 5):
            damaged[place] = generator.integers(0, 256)
        if turn % 7 == 0:
            del damaged[int(generator.integers(1, len(data))) :]
        path = tmp_path / "photo"
        path.write_bytes(damaged)
        message = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pillow has its own about damaged files
            try:
                read_image(path)
            except ImageError as error:
                message = str(error)
        assert "\n" not in message
        assert not message or str(path) in message


def test_pillows_limit_for_the_process_is_neither_changed_nor_asked(monkeypatch):
    class Watched(type(Image)):
        def __setattr__(self, name, value):
            changes.append(name)
            super().__setattr__(name, value)

    pixels = np.zeros((1000, 1000, 3), np.uint8)
    photos = [encoded(pixels, name) for name in ("JPEG", "PNG", "TIFF", "BMP", "GIF")]
    photos.append(encoded(pixels, "TIFF", compression="tiff_lzw"))
    filters, errors, changes = list(warnings.filters), [], []
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300_000)  # of which pillow refuses the double
    read_image(photos[0])  # imports pillow's plug-ins
    monkeypatch.setattr(Image, "__class__", Watched)

    def read():
        try:
            for photo in photos:
                assert read_image(photo).shape == (1000, 1000, 3)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert "MAX_IMAGE_PIXELS" not in changes
    assert Image.MAX_IMAGE_PIXELS == 300_000
    assert warnings.filters == filters


PEAK = """
import sys
from PIL import Image
from sam_edge.image import read_image
from sam_edge.errors import ImageError

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

Image.init()
before = peak()
try:
    read_image(sys.argv[1])
except ImageError as error:
    print(error, file=sys.stderr)
print(peak() - before)
"""


def peak_bytes(path):
    """Return how much memory reading a photo takes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True
    )
    return int(done.stdout) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "bytes_a_pixel"),
    [("grey TIFF", 5), ("colour TIFF", 7), ("JPEG", 7), ("turned JPEG", 7), ("PNG", 7)],
)
def test_a_photo_costs_what_the_limit_says(tmp_path, kind, bytes_a_pixel):
    shape, path = (3000, 4000), tmp_path / "photo"
    deep = np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(np.uint16) * 9
    if kind.endswith("TIFF"):
        pixels = deep if kind == "grey TIFF" else np.dstack([deep] * 3)
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    else:
        exif = Image.Exif()
        exif[0x0112] = 6 if kind == "turned JPEG" else 1
        picture = Image.fromarray(np.dstack([deep >> 8] * 3).astype(np.uint8))
        picture.save(path, kind.split()[-1], exif=exif, compress_level=1)
    # 12 MB for pieces, samples and what the decoder needs.
    assert peak_bytes(path) <= bytes_a_pixel * shape[0] * shape[1] + 12e6


def test_a_decoder_that_needs_more_memory_than_the_limit_is_not_started(monkeypatch, rgb):
    monkeypatch.setattr("sam_edge.image.MAX_BYTES", 10 * rgb.shape[0] * rgb.shape[1])
    read_image(encoded(rgb, "JPEG"))
    for name, options in {"JPEG2000": {}, "WEBP": {}, "JPEG": {"progressive": True}}.items():
        with pytest.raises(ImageError, match="GB to decode them; save it smaller, or as PNG"):
            read_image(encoded(rgb, name, **options))


def test_a_side_that_no_resize_can_hold_is_refused(monkeypatch):
    monkeypatch.setattr("sam_edge.image.MAX_SIDE", 1000)
    thin = np.zeros((1, 1001), np.uint8)
    for photo in (thin, encoded(thin, "PNG")):
        with pytest.raises(ImageError, match="1001 x 1 pixels, a side of more than 1000"):
            read_image(photo)


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 300_000), (300_000, 1), (1, 1)])
def test_thin_photos_are_read_and_prepared(size):
    pixels = np.full(size, 200, np.uint8)
    pixels[-1, -1] = 100
    read = read_image(encoded(pixels, "PNG"))
    assert np.array_equal(read[:, :, 0], pixels)
    assert np.isfinite(preprocess(read, SPEC)).all()


def test_a_tilde_is_the_users_home(rgb, tmp_path, monkeypatch):
    (tmp_path / "photo.png").write_bytes(encoded(rgb, "PNG"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert np.array_equal(read_image("~/photo.png"), rgb)


def test_a_tilde_where_nobody_has_a_home_is_one_line(monkeypatch):
    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(ImageError, match=r"~/photo\.png: nobody knows where ~ is here"):
        read_image("~/photo.png")


@pytest.mark.parametrize("name", ["a\nb\x1b[2J.png", "x" * 300, "nul\0.png", "\udcff.png"])
def test_names_that_no_file_can_have_are_one_printable_line(name):
    with pytest.raises(ImageError) as caught:
        read_image(name)
    str(caught.value).encode("utf-8")
    assert str(caught.value).isprintable() or "\ufffd" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_photo_may_come_through_a_pipe_and_not_from_a_device(rgb, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=(tmp_path / "pipe").write_bytes, args=(encoded(rgb, "PNG"),), daemon=True
    )
    writer.start()
    assert np.array_equal(read_image(tmp_path / "pipe"), rgb)
    writer.join()
    with pytest.raises(ImageError, match="is a device"):
        read_image("/dev/zero")


def test_empty_bytes_are_refused():
    with pytest.raises(ImageError, match="empty"):
        read_image(b"")


def test_damaged_camera_notes_are_no_reason_to_refuse_the_pixels(rgb):
    data = encoded(rgb, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(read_image(data), rgb)


@pytest.mark.parametrize(
    "turn",
    [
        lambda a: a[::-1, ::-1],
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: np.ma.masked_array(a, mask=False),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
    ids=["backwards", "by columns", "every other", "nothing masked", "broadcast"],
)
def test_arrays_may_lie_in_memory_as_they_like(rgb, turn):
    laid = turn(rgb)
    laid.flags.writeable = False
    read = read_image(laid)
    assert type(read) is np.ndarray
    assert read.flags.c_contiguous
    assert np.array_equal(read, np.array(laid.tolist(), np.uint8))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array(3, np.uint8), r"\(H, W\)"),
        (np.zeros((4, 4), object), "uint8 or uint16, got object"),
        (np.zeros((4, 4), bool), r"image.astype\(np.uint8\) \* 255"),
        (np.zeros((4, 4), np.int64), r"0..255 use image.astype\(np.uint8\)"),
        (np.zeros((4, 4), "U1"), "got <U1"),
        (np.zeros((4, 4), complex), "got complex128"),
        (np.full((4, 4), np.nan), "float64"),
        (np.ma.masked_array(np.zeros((2, 2), np.uint8), [[1, 0], [0, 0]]), "masked"),
        (np.zeros((4, 4), [("r", "u1")]), "must be uint8"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_arrays_that_are_no_photo_are_one_line(array, words):
    for stretch in (False, True) if array.dtype.kind in "OUcV" else (False,):
        with pytest.raises(ImageError, match=words) as caught:
            read_image(array, stretch=stretch)
        assert "\n" not in str(caught.value)


def test_bgr_turns_colours_and_nothing_else(rgb):
    alpha = rgb[:, :, :1]
    bgr = rgb[:, :, ::-1]
    for array in (bgr, np.dstack([bgr, alpha])):
        assert np.array_equal(read_image(array, channel_order="BGR"), rgb)
    grey = read_image(rgb[:, :, 0])
    for array in (rgb[:, :, 0], rgb[:, :, :1], rgb[:, :, :2]):
        assert np.array_equal(read_image(array, channel_order="BGR"), grey)
    with pytest.raises(ImageError, match="only an array can be BGR"):
        read_image(Image.fromarray(rgb), channel_order="BGR")
    with pytest.raises(ImageError, match="RGB or BGR, got 'GBR'"):
        read_image(rgb, channel_order="GBR")


def test_the_predictor_takes_grey_and_bgra_as_bgr(rgb):
    from sam_edge import SamPredictor, load_model

    predictor = SamPredictor(load_model())
    bgra = np.dstack([rgb[:, :, ::-1], rgb[:, :, :1]])
    for array, expected in ((bgra, rgb), (rgb[:, :, 0], rgb[:, :, 0])):
        predictor.set_image(array, "BGR")
        assert (
            predictor.embedding.photo_sha256 == predictor.model.encode_image(expected).photo_sha256
        )


def test_formats_that_begin_alike_are_tried_one_after_the_other(tmp_path, monkeypatch):
    """AVIF's plug-in claims HEIF's first bytes, too, and gives up on them."""
    Image.init()

    def heif(stream, name):
        stream.seek(0)
        assert stream.read(12).endswith(b"mif1")
        return Image.new("RGB", (3, 2), (1, 2, 3))

    monkeypatch.setitem(Image.OPEN, "HEIF", (heif, lambda prefix: prefix[4:12] == b"ftypmif1"))
    path = tmp_path / "x.heic"
    path.write_bytes(b"\0\0\0\x18ftypmif1" + bytes(100))
    assert read_image(path).shape == (2, 3, 3)


def test_a_pipe_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sam_edge.picture_file.LARGEST_PIPE_BYTES", 1000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(bytes(2000)), daemon=True)
    writer.start()
    with pytest.raises(ImageError, match="more than 1000 bytes came"):
        read_image(pipe)
