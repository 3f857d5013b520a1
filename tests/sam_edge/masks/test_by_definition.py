"""Masks' fast arithmetic against its definition, written with loops: no torch is needed."""

import numpy as np
import pytest

from sam_edge.image import resized_shape
from sam_edge.masks import MaskError, area, decode_rle, encode_rle, upsample
from sam_edge.masks.boxes import (
    crop_boxes,
    is_near_crop_edge,
    layer_point_grids,
    mask_to_box,
    point_grid,
)
from sam_edge.masks.regions import remove_small_regions, remove_small_regions_rle
from sam_edge.masks.rle import rle_to_box
from sam_edge.masks.upsample import (
    Window,
    stability_scores,
    tiled,
    upsample_logits,
    upsample_masks,
)

# --- to the photo's pixels ---

PHOTOS = [(90, 60), (61, 97), (64, 64), (200, 310), (1, 150), (130, 3), (300, 20)]
SIDE, FRAME = 32, 128


def bilinear(source, target):
    """The matrix of one axis, as ``F.interpolate(align_corners=False)`` has it."""
    matrix = np.zeros((target, source))
    for row in range(target):
        place = max((row + 0.5) * source / target - 0.5, 0)
        left = min(int(place), source - 1)
        share = min(place - left, 1)
        matrix[row, left] += 1 - share
        matrix[row, min(left + 1, source - 1)] += share
    return matrix


def resized_twice(logits, input_size, original_size):
    rows, columns = (
        bilinear(inside, length) @ bilinear(SIDE, FRAME)[:inside]
        for inside, length in zip(input_size, original_size, strict=True)
    )
    return rows @ logits @ columns.T


def blobs(count, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    centres, radii = rng.random((count, 3, 2)), rng.uniform(0.05, 0.4, (count, 3, 1, 1))
    distance = np.hypot(y - centres[..., 0, None, None], x - centres[..., 1, None, None])
    return ((radii - distance).max(axis=1) * 60 + rng.normal(0, 0.3, (count, SIDE, SIDE))).astype(
        np.float32
    )


def sizes(photo):
    return {
        "input_size": resized_shape(*photo, FRAME),
        "image_size": FRAME,
        "original_size": photo,
    }


@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("threshold", [0.0, -3.5])
@pytest.mark.parametrize("most", [0, 1])  # a share of tiles: all at once, or one by one
def test_masks_are_logits_resized_twice_and_cut(photo, threshold, most, monkeypatch):
    monkeypatch.setattr(upsample, "_MOSTLY_EDGE", most)
    logits = blobs(4)
    size = sizes(photo)
    expected = resized_twice(logits, size["input_size"], photo)
    np.testing.assert_allclose(upsample_logits(logits, **size), expected, atol=1e-3)
    masks = upsample_masks(logits, threshold=threshold, **size)
    assert masks.shape == (4, *photo)
    assert np.abs(expected[masks != (expected > threshold)] - threshold).max(initial=0) < 1e-3


@pytest.mark.parametrize("photo", PHOTOS)
def test_stability_windows_and_areas_are_those_of_the_whole_mask(photo):
    logits = np.concatenate([blobs(3), np.full((1, SIDE, SIDE), -9, np.float32)])
    size = sizes(photo)
    low, high = (upsample_masks(logits, threshold=level, **size) for level in (-1.5, 2.5))
    areas = [(inner.sum(), outer.sum()) for inner, outer in zip(high, low, strict=True)]
    expected = [inner / outer if outer else 0 for inner, outer in areas]
    scores = stability_scores(logits, threshold=0.5, offset=2, **size)
    assert scores.tolist() == pytest.approx(expected)
    seen = 0
    for tiles in tiled(logits, lowest=-1.5, highest=2.5, **size):
        assert tiles.stability(0.5, 2).tolist() == pytest.approx(
            expected[seen : seen + len(tiles.inside)]
        )
        for index in range(len(tiles.inside)):
            window = tiles.window(index, 2.5)
            placed = np.zeros(photo, bool)
            height, width = window.pixels.shape
            rows = slice(window.top, window.top + height)
            placed[rows, window.left : window.left + width] = window.pixels
            assert np.array_equal(placed, high[seen])
            assert window.box() == mask_to_box(high[seen])
            seen += 1
    assert seen == len(logits)


def test_what_does_not_fit_at_once_is_computed_piece_by_piece(monkeypatch):
    from sam_edge.masks import upsample

    logits = np.random.default_rng(1).normal(0, 5, (6, SIDE, SIDE)).astype(np.float32)
    size = sizes((400, 300))
    whole = upsample_masks(logits, **size)
    scores = stability_scores(logits, **size)
    monkeypatch.setattr(upsample, "_TILES_AT_ONCE", 70)
    monkeypatch.setattr(upsample, "_TILES_A_PIECE", 5)
    monkeypatch.setattr(upsample, "_STRIP_ROWS", 50)
    (first, *rest) = tiled(logits, lowest=-1, highest=1, **size)
    assert len(first.inside) == 1
    assert len(rest) == 5
    assert first.logits is not None
    monkeypatch.setattr(upsample, "_TILES_AT_ONCE", 20)
    (first, *_) = tiled(logits, lowest=-1, highest=1, **size)
    assert first.logits is None
    assert np.array_equal(upsample_masks(logits, **size), whole)
    assert np.array_equal(stability_scores(logits, **size), scores)
    expected = resized_twice(logits, size["input_size"], (400, 300))
    np.testing.assert_allclose(upsample_logits(logits, **size), expected, atol=1e-3)


def test_a_window_covers_the_points_on_its_pixels():
    window = Window(np.array([[True, False, True], [False, True, False]]), top=10, left=20)
    on = [(20.0, 10.0), (20.9, 10.9), (22.99, 10.5), (21.0, 11.0)]
    off = [(21.0, 10.0), (23.0, 10.0), (21.5, 12.0), (19.99, 10.0), (20.0, 9.99), (20.0, 11.0)]
    assert window.covers(np.array(on)).all()
    assert not window.covers(np.array([*off, (22.0, 11.5), (0, 0)])).any()
    assert window.box() == (20, 10, 22, 11)
    assert Window(np.zeros((2, 2), bool), 5, 6).box() == (0, 0, 0, 0)


# --- run lengths ---


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("counts", [[], [0]])
def test_a_mask_without_pixels_has_no_runs(size, counts):
    rle = {"size": list(size), "counts": counts}
    assert decode_rle(rle).shape == size
    assert area(rle) == 0
    assert rle_to_box(rle) == (0, 0, 0, 0)


@pytest.mark.parametrize("counts", [[], [0], [3], [5], [2, 3], [0.0, 4.0], ["4"], [[4]], [True, 3]])
def test_runs_that_do_not_fill_a_mask_are_refused(counts):
    with pytest.raises(MaskError, match="run lengths"):
        decode_rle({"size": [2, 2], "counts": counts})


# --- regions ---


def regions(mask):
    """Connected regions, pixels that touch at a corner included, by walking."""
    left = {tuple(place) for place in np.argwhere(mask).tolist()}
    found = []
    while left:
        waiting, region = [left.pop()], []
        while waiting:
            y, x = waiting.pop()
            region.append((y, x))
            for place in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if place in left:
                    left.remove(place)
                    waiting.append(place)
        found.append(region)
    return found


def without_small(mask, least, mode):
    looked_at = ~mask if mode == "holes" else mask
    found = regions(looked_at)
    small = [region for region in found if len(region) < least]
    if not small:
        return mask, False
    if mode == "islands" and len(small) == len(found):
        small.remove(max(small, key=len))
    result = mask.copy()
    for region in small:
        result[tuple(np.transpose(region))] = mode == "holes"
    return result, True


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("mode", ["holes", "islands"])
def test_small_regions_are_removed_as_defined(seed, mode):
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((5, 6)) > 0.5, np.ones((3, 3), bool)) ^ (rng.random((15, 18)) > 0.9)
    sizes_of = [len(region) for region in regions(~mask if mode == "holes" else mask)]
    # Of regions that are all small the largest stays; which of two as large is anybody's choice.
    unique = sizes_of.count(max(sizes_of)) == 1
    for least in (1, 2, 3, 8, 30, 1000 if unique else 30):
        expected, changed = without_small(mask, least, mode)
        result, told = remove_small_regions(mask, least, mode)
        assert told == changed
        assert np.array_equal(result, expected)
        rle, _ = remove_small_regions_rle(encode_rle(mask), least, mode)
        assert rle == encode_rle(expected)


# --- crops and grids ---

# What ``generate_crop_boxes((480, 640), 2, 512 / 1500)`` of segment_anything/utils/amg.py answers.
FIRST_LAYER = [(0, 0, 402, 322), (0, 159, 402, 480), (239, 0, 640, 322), (239, 159, 640, 480)]
SECOND_LAYER = [
    (x0, y0, x1, y1)
    for x0, x1 in ((0, 221), (140, 361), (280, 501), (420, 640))
    for y0, y1 in ((0, 181), (100, 281), (200, 381), (300, 480))
]


def test_crops_are_those_of_the_official_generator():
    found = crop_boxes((480, 640), 2, 512 / 1500)
    assert found[0] == ((0, 0, 640, 480), 0)
    assert found[1:5] == [(box, 1) for box in FIRST_LAYER]
    assert found[5:] == [(box, 2) for box in SECOND_LAYER]
    assert crop_boxes((480, 640), 0, 0.3) == [((0, 0, 640, 480), 0)]
    assert [box for box, _ in crop_boxes((10, 20), 1, 0)][1:] == [
        *((0, 0, 10, 5), (0, 5, 10, 10)),
        *((10, 0, 20, 5), (10, 5, 20, 10)),
    ]


def test_point_grids_lie_in_the_middle_of_their_cells():
    sixth = 1 / 6
    side = [sixth, 0.5, 1 - sixth]
    assert np.allclose(point_grid(3), [(x, y) for y in side for x in side])
    grids = layer_point_grids(7, 2, 2)
    assert [len(grid) for grid in grids] == [49, 9, 1]
    assert grids[2].tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("box", "near"),
    [
        ((121, 130, 160, 160), False),
        ((120, 130, 160, 160), True),  # 20 pixels from the crop's left edge
        ((80, 130, 160, 160), True),
        ((79, 130, 160, 160), False),
        ((130, 120, 160, 160), True),
        ((130, 130, 180, 160), True),
        ((130, 130, 179, 160), False),
        ((130, 130, 160, 180), True),
    ],
)
def test_near_a_crops_edge_is_20_pixels_on_either_side(box, near):
    boxes = np.array([box], np.float32)
    assert is_near_crop_edge(boxes, (100, 100, 200, 200), (400, 500)).tolist() == [near]


def test_the_photos_own_edges_cut_nothing():
    photo = (200, 300)
    crop = (0, 0, 300, 200)
    boxes = np.array([[0, 0, 299, 199], [15, 15, 285, 185]], np.float32)
    assert not is_near_crop_edge(boxes, crop, photo).any()
    # A crop that ends 15 pixels before the photo does: what comes near to both is not cut off.
    near = is_near_crop_edge(np.array([[50, 50, 284, 100]], np.float32), (0, 0, 285, 200), photo)
    assert near.tolist() == [False]
