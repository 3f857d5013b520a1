"""Tiles cover the picture, and what they show of one object is one object again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.formats import LabelledMask
from sam_edge.masks import encode_rle
from sam_edge.masks.spans import cropped_spans, mask_to_spans, moved_spans, spans_to_rle
from sam_edge.tiling import Grid, TilingError
from sam_edge.tiling.grid import starts
from sam_edge.tiling.stitch import Stitcher

SIZE = (300, 420)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]
GRID = Grid(SIZE, 128, 32)


@given(st.integers(1, 5000), st.integers(64, 1024), st.data())
def test_tiles_cover_a_side_and_overlap_enough(length, tile, data):
    overlap = data.draw(st.integers(16, tile // 2))
    found = np.array(starts(length, tile, overlap))
    assert found[0] == 0
    assert found[-1] + tile >= length
    assert found[-1] == max(0, length - tile)
    assert (np.diff(found) <= tile - overlap).all()
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(("tile", "overlap"), [(63, 16), (16385, 512), (512, 15), (512, 257)])
def test_tiles_that_cannot_be_are_refused(tile, overlap):
    with pytest.raises(TilingError):
        Grid(SIZE, tile, overlap)


def record(mask, predicted_iou=0.9):
    return LabelledMask(encode_rle(mask), predicted_iou, 0.95, [[1.0, 2.0]], [0, 0, 9, 9])


def seen(mask, tile, predicted_iou=0.9):
    """What a tile shows of a mask of the picture."""
    x0, y0, x1, y1 = tile.box
    return record(mask[y0:y1, x0:x1], predicted_iou)


def stitched(*masks, grid=GRID, without=()):
    stitcher = Stitcher(grid.size)
    for tile in grid.tiles():
        if (tile.row, tile.column) not in without:
            stitcher.add(tile, [seen(mask, tile) for mask in masks])
    return stitcher.objects(0.7)


def pixels(found):
    return mask_to_spans(found) if isinstance(found, np.ndarray) else found.spans


DISC = np.hypot(Y - 112, X - 112) < 90
RING = DISC & (np.hypot(Y - 112, X - 112) > 60)
BAND = np.abs(Y - 0.6 * X - 20) < 14
SMALL = np.hypot(Y - 112, X - 112) < 9
CORNER = (Y < 40) & (X < 50)


@pytest.mark.parametrize("mask", [DISC, RING, BAND, SMALL, CORNER, ~DISC], ids=str)
def test_an_object_across_tiles_is_one(mask):
    (found,) = stitched(mask)
    assert np.array_equal(found.spans, mask_to_spans(mask))
    assert found.area == mask.sum()
    assert found.labelled(SIZE).rle == encode_rle(mask)


def test_objects_side_by_side_stay_apart():
    ground = ~(DISC | BAND)
    found = stitched(DISC & ~BAND, BAND, ground)
    assert len(found) == 3
    wanted = {mask.sum() for mask in (DISC & ~BAND, BAND, ground)}
    assert {mask.area for mask in found} == wanted


def test_a_part_stays_a_part_of_its_whole():
    found = stitched(DISC, RING)
    assert {mask.area for mask in found} == {DISC.sum(), RING.sum()}


def test_where_a_tile_failed_the_rest_stays():
    whole = mask_to_spans(DISC)
    (found,) = stitched(DISC, without={(0, 0)})
    x0, y0, x1, y1 = next(GRID.tiles()).box
    assert found.area > 0.3 * DISC.sum()
    own = cropped_spans(whole, (x0, y0, x1, y1))
    assert found.area >= DISC.sum() - (own[:, 2] - own[:, 1]).sum()


def test_a_pixel_is_taken_from_the_tile_that_sees_it_farther_from_its_edge():
    grid = Grid((100, 192), 128, 64)
    left, right = grid.tiles()
    assert (left.box, right.box) == ((0, 0, 128, 100), (64, 0, 192, 100))
    stitcher = Stitcher(grid.size)
    tall = np.zeros(grid.size, np.bool_)
    tall[20:80, 30:160] = True
    frayed = tall.copy()
    frayed[40:50, 100:128] = False  # at the left tile's edge
    stitcher.add(left, [seen(frayed, left, 0.8)])
    stitcher.add(right, [seen(tall, right, 0.6)])
    (found,) = stitcher.objects(0.7)
    assert np.array_equal(found.spans, mask_to_spans(tall))
    shares = tall[:, :96].sum(), tall[:, 96:].sum()
    assert found.predicted_iou == pytest.approx(np.average([0.8, 0.6], weights=shares))
    assert found.points == [[1.0, 2.0], [65.0, 2.0]]
    assert found.crop_box == [0, 0, 192, 100]


def test_a_piece_that_an_edge_cut_off_is_left_to_the_tile_that_sees_all_of_it():
    grid = Grid((100, 192), 128, 64)
    left, right = grid.tiles()
    piece = np.zeros(grid.size, np.bool_)
    piece[20:30, 110:128] = True
    other = np.zeros(grid.size, np.bool_)
    other[20:80, 90:180] = True
    stitcher = Stitcher(grid.size)
    stitcher.add(left, [seen(piece, left)])
    stitcher.add(right, [seen(other, right)])
    (found,) = stitcher.objects(0.7)
    assert found.area == other.sum()
    alone = Stitcher(grid.size)
    alone.add(left, [seen(piece, left)])
    assert len(alone.objects(0.7)) == 1


def test_an_object_that_is_found_twice_is_kept_once_by_its_score():
    stray = DISC.copy()
    stray[2, 3] = True
    stitcher = Stitcher(SIZE)
    for tile in GRID.tiles():
        stitcher.add(tile, [seen(DISC, tile, 0.7), seen(stray, tile, 0.8)])
    (found,) = stitcher.objects(0.7)
    assert found.area == stray.sum()


def test_pictures_may_have_more_pixels_than_run_lengths_can_count():
    far = moved_spans(mask_to_spans(DISC), 10**8, 10**8)
    again = moved_spans(far, -(10**8), -(10**8))
    assert spans_to_rle(again, SIZE) == encode_rle(DISC)
