"""What is drawn over a photo, however its masks are given."""

import time

import numpy as np

from sam_edge.masks import encode_rle
from sam_edge.overlay import PALETTE, TINT, draw_overlay


def outline(mask, width):
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def plainly_drawn(image, masks):
    """The definition: tints, the largest first, then lines, over the whole photo at once."""
    canvas = image.astype(np.float64)
    order = sorted(range(len(masks)), key=lambda index: -int(masks[index].sum()))
    for index in order:
        mask = masks[index]
        canvas[mask] = canvas[mask] * (1 - TINT) + np.array(PALETTE[index % len(PALETTE)]) * TINT
    width = max(1, round(max(image.shape[:2]) / 500))
    for index in order:
        canvas[outline(masks[index], 2 * width)] = 20
        colour = 255 * 0.4 + 0.6 * np.array(PALETTE[index % len(PALETTE)])
        canvas[outline(masks[index], width)] = colour
    return canvas


def test_masks_and_their_run_lengths_are_drawn_as_defined():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (120, 1000, 3), np.uint8)
    y, x = np.mgrid[:120, :1000]
    masks = [
        (x - 300) ** 2 + (y - 60) ** 2 < 50**2,
        (x - 340) ** 2 + (y - 60) ** 2 < 30**2,
        y < 20,  # along the photo's edge, where no line is drawn
        np.ones((120, 1000), bool),
        np.zeros((120, 1000), bool),
        (x == 999) & (y == 119),
    ]
    drawn = np.asarray(draw_overlay(image, masks))
    assert np.abs(drawn - plainly_drawn(image, masks)).max() <= 2
    again = draw_overlay(image, [encode_rle(mask) for mask in masks])
    assert np.array_equal(np.asarray(again), drawn)


def test_the_photo_itself_is_left_alone():
    image = np.zeros((20, 20, 3), np.uint8)
    draw_overlay(image, [np.ones((20, 20), bool)])
    assert not image.any()


def test_lines_and_letters_fit_a_photo_that_is_only_long():
    photo = np.zeros((1, 300_000, 3), np.uint8)
    mask = np.zeros((1, 300_000), bool)
    mask[:, 5:90_000] = True
    began = time.monotonic()
    picture = draw_overlay(photo, [mask], captions=["0.90"], banner="random weights")
    assert picture.size == (300_000, 1)
    assert time.monotonic() - began < 10  # letters of 6,667 pixels took the memory
