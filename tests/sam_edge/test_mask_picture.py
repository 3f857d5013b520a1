"""Mask files: two values of any kind are a mask, and nothing else is."""

import numpy as np
import pytest
from PIL import Image

from sam_edge.errors import ImageError, PromptError
from sam_edge.mask_picture import read_mask


@pytest.fixture
def mask():
    mask = np.zeros((20, 30), bool)
    mask[4:9, 11:25] = True
    return mask


def palette(colours):
    def picture(mask):
        indexed = Image.fromarray(mask.astype(np.uint8), "L")
        indexed.putpalette([level for colour in colours for level in colour])
        return indexed

    return picture


def coloured(inside, outside):
    return lambda mask: Image.fromarray(np.where(mask[:, :, None], inside, outside).astype("u1"))


def cut_out(mask):
    """Return a photo whose ground is transparent."""
    photo = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    return Image.fromarray(np.dstack([photo, mask * np.uint8(255)]))


KINDS = {
    "0 and 255": lambda mask: Image.fromarray(mask * np.uint8(255)),
    "0 and 1": lambda mask: Image.fromarray(mask.astype(np.uint8)),
    "1 bit": Image.fromarray,
    "16 bits, 0 and 1": lambda mask: Image.fromarray(mask.astype(np.uint16)),
    "16 bits, 0 and 65535": lambda mask: Image.fromarray(mask * np.uint16(65535)),
    "VOC palette": palette([(0, 0, 0), (128, 0, 0)]),
    "palette with white first": palette([(20, 20, 20), (255, 255, 255)]),
    "red on black": coloured((255, 0, 0), (0, 0, 0)),
    "yellow on blue": coloured((255, 255, 0), (0, 0, 255)),
    "cut-out": cut_out,
    "opaque black on transparent white": coloured((0, 0, 0, 255), (255, 255, 255, 0)),
    "white and black, alpha all 255": coloured((255, 255, 255, 255), (0, 0, 0, 255)),
}


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_two_valued_picture_is_a_mask_whose_brighter_value_is_in(
    mask, tmp_path, kind, suffix
):
    path = tmp_path / f"mask.{suffix}"
    KINDS[kind](mask).save(path)
    read = read_mask(path)
    assert read.dtype == np.bool_
    assert np.array_equal(read, mask)


def test_a_palette_whose_first_colour_is_white_is_read_by_its_colours(mask, tmp_path):
    palette([(255, 255, 255), (0, 0, 0)])(~mask).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), mask)


def test_a_transparent_palette_index_is_outside(mask, tmp_path):
    picture = palette([(9, 9, 9), (9, 9, 9)])(mask)
    picture.save(tmp_path / "mask.png", transparency=0)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), mask)


def test_a_mask_that_starts_on_the_object_is_not_turned_round(tmp_path):
    mask = np.ones((20, 30), bool)
    mask[10:] = False
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), mask)


def test_a_mask_file_is_turned_as_a_photo_is(mask, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(mask).save(tmp_path / "mask.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), np.rot90(mask, -1))


def test_a_mask_with_a_third_value_far_down_is_refused(tmp_path):
    pixels = np.zeros((600, 1000), np.uint8)
    pixels[0, 5] = 255
    pixels[599, 999] = 254
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    with pytest.raises(
        PromptError, match=r"mask\.png holds more than two values; save it as black and white PNG"
    ):
        read_mask(tmp_path / "mask.png")


def test_a_mask_saved_as_jpeg_is_refused_and_told_why(mask, tmp_path):
    KINDS["0 and 255"](mask).save(tmp_path / "mask.jpg")
    with pytest.raises(PromptError, match="saved as JPEG is not two-valued"):
        read_mask(tmp_path / "mask.jpg")


@pytest.mark.parametrize("value", [0, 1, 255])
def test_an_empty_or_a_full_mask_says_nothing(tmp_path, value):
    Image.fromarray(np.full((20, 30), value, np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(PromptError, match="one value everywhere") as caught:
        read_mask(tmp_path / "mask.png")
    assert "\n" not in str(caught.value)


def test_two_colours_of_one_brightness_are_refused(mask, tmp_path):
    coloured((193, 0, 0), (0, 55, 223))(mask).save(tmp_path / "mask.png")
    with pytest.raises(PromptError, match="equally bright"):
        read_mask(tmp_path / "mask.png")


def test_what_is_no_picture_is_an_image_error(tmp_path):
    (tmp_path / "mask.png").write_text("hello")
    with pytest.raises(ImageError, match=r"mask\.png is not a picture"):
        read_mask(tmp_path / "mask.png")
