"""What is drawn over a photo, however its masks are given."""

import time

import numpy as np

from sam_edge.masks import encode_rle
from sam_edge.overlay import PALETTE, TINT, draw_overlay
from sam_edge.prompts import Prompt


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


def test_a_mask_is_tinted_by_its_colour_and_the_rest_is_the_photo():
    photo = np.full((100, 100, 3), 100, np.uint8)
    mask = np.zeros((100, 100), bool)
    mask[20:80, 30:90] = True
    drawn = np.asarray(draw_overlay(photo, [mask])).astype(int)
    # 55 parts of the photo, 45 of (30, 144, 255)
    assert np.abs(drawn[50, 60] - (68.5, 119.8, 169.75)).max() <= 1
    assert (drawn[~mask] == 100).all()


def test_points_show_their_label_and_a_box_its_edges():
    photo = np.full((100, 100, 3), 100, np.uint8)
    prompt = Prompt.of([(30, 40), (70, 60)], [1, 0], box=(10, 12, 90, 92))
    drawn = np.asarray(draw_overlay(photo, [], [prompt]))
    assert tuple(drawn[40, 30]) == (40, 200, 60)
    assert tuple(drawn[60, 70]) == (230, 40, 40)
    for y, x in ((40, 10), (40, 90), (12, 50), (92, 50)):
        assert tuple(drawn[y, x]) == (255, 255, 255)
    white = (drawn[40, 20:41] == 255).all(axis=1)  # a ring around the point
    assert white.any()
    assert drawn[20, 50].tolist() == [100, 100, 100]


def test_a_caption_stands_at_its_masks_top_and_a_banner_at_the_bottom():
    photo = np.full((300, 400, 3), 100, np.uint8)
    masks = [np.zeros((300, 400), bool) for _ in range(3)]
    masks[0][100:200, 40:120] = True
    masks[2][100:200, 260:340] = True
    plain = np.asarray(draw_overlay(photo, masks))
    drawn = np.asarray(draw_overlay(photo, masks, captions=["0.91", "none", "0.87"]))
    changed = (drawn != plain).any(axis=2)
    assert changed[100:130, 40:120].any()
    assert changed[100:130, 260:340].any()
    assert not changed[130:].any()
    assert not changed[:100].any()
    assert not changed[:, 130:250].any()  # a mask without pixels has no place for a caption
    branded = (np.asarray(draw_overlay(photo, masks, banner="random")) != plain).any(axis=2)
    rows, columns = np.nonzero(branded)
    assert rows.min() > 270
    assert abs(columns.mean() - 200) < 10
