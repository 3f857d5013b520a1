import io

import numpy as np
import pytest
from PIL import Image

from sam_edge.errors import ImageError
from sam_edge.image import preprocess, read_image, resized_shape, to_encoder_frame
from tests.sam_edge.known import SPEC


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_seen_upright(rgb, tmp_path, orientation):
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    picture = Image.fromarray(np.ascontiguousarray(undo(rgb)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.png"
    picture.save(path, exif=exif)
    assert np.array_equal(read_image(path), rgb)
    with Image.open(path) as opened:
        assert np.array_equal(read_image(opened), rgb)


def test_grey_alpha_and_palette_become_rgb(rgb, tmp_path):
    grey = rgb[:, :, 0]
    three = np.repeat(grey[:, :, None], 3, axis=2)
    alpha = rgb[:, :, 1:2]
    pictures = {
        "grey": (Image.fromarray(grey), three),
        "grey+alpha": (Image.fromarray(np.dstack([grey, alpha])), three),
        "rgba": (Image.fromarray(np.dstack([rgb, alpha])), rgb),
    }
    for name, (picture, expected) in pictures.items():
        path = tmp_path / f"{name}.png"
        picture.save(path)
        assert np.array_equal(read_image(path), expected), name
        assert np.array_equal(read_image(np.asarray(picture)), expected), name
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


def test_sixteen_bits_map_by_257(tmp_path):
    deep = np.array([[0, 257, 65535, 128 * 257]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for source in (deep, tmp_path / "deep.png"):
        assert read_image(source)[0, :, 0].tolist() == [0, 1, 255, 128]


def test_cmyk_is_converted(rgb, tmp_path):
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "cmyk.tif")
    read = read_image(tmp_path / "cmyk.tif")
    assert read.shape == rgb.shape
    assert np.abs(read.astype(int) - rgb).max() <= 1


def test_bad_photos_are_refused_in_one_line(rgb, tmp_path):
    truncated = io.BytesIO()
    Image.fromarray(np.tile(rgb, (9, 9, 1))).save(truncated, "JPEG")
    (tmp_path / "truncated.jpg").write_bytes(truncated.getvalue()[:2000])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("hello")
    expected = {
        tmp_path / "truncated.jpg": "cannot be decoded",
        tmp_path / "empty.jpg": "is empty",
        tmp_path / "text.jpg": "not a picture",
        tmp_path / "absent.jpg": "no such file",
        tmp_path: "is a folder",
    }
    for path, words in expected.items():
        with pytest.raises(ImageError, match=words) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)


def test_bad_arrays_are_refused_with_a_hint():
    with pytest.raises(ImageError, match=r"float32; if its values are 0..1"):
        read_image(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ImageError, match="channels last"):
        read_image(np.zeros((3, 40, 50), np.uint8))
    with pytest.raises(ImageError, match="no pixels"):
        read_image(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(ImageError, match="floating-point"):
        read_image(Image.fromarray(np.zeros((4, 4), np.float32)))


def test_a_decompression_bomb_is_refused_before_decoding(monkeypatch, rgb, tmp_path):
    Image.fromarray(rgb).save(tmp_path / "bomb.png")
    monkeypatch.setattr("sam_edge.image.MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="30 x 20 pixels, more than 100"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1365, 2048), (683, 1024)), ((1, 3000), (1, 1024)), ((1200, 1800), (683, 1024))],
)
def test_resized_shape_rounds_halves_up_and_keeps_a_pixel(size, expected):
    assert resized_shape(*size, long_side=1024) == expected


def test_padding_is_zero_after_normalisation_and_at_bottom_right(rgb):
    frame = preprocess(rgb, SPEC)
    assert frame.shape == (1, 3, 256, 256)
    assert frame.dtype == np.float32
    height, width = resized_shape(20, 30, 256)
    assert (frame[:, :, height:] == 0).all()
    assert (frame[:, :, :, width:] == 0).all()
    assert (frame[:, :, :height, :width] != 0).any()


def test_a_photo_of_the_frames_size_is_only_normalised():
    photo = np.full((256, 256, 3), 200, np.uint8)
    expected = (np.float32(200) - np.float32(123.675)) / np.float32(58.395)
    assert (preprocess(photo, SPEC)[0, 0] == expected).all()


def test_axes_have_scales_of_their_own():
    mapped = to_encoder_frame(np.array([[2048.0, 1365.0]]), (1365, 2048), (683, 1024))
    assert mapped.tolist() == [[1024.0, 683.0]]
