"""Outlines that can be checked by eye: which corners stay, where slits run, who holds a hole."""

import numpy as np
import pytest

from sam_edge.masks.polygons import (
    keyhole,
    outlines,
    polygon_to_mask,
    polygons_to_mask,
    ring_area,
    rings,
    simplify,
)
from sam_edge.masks.quality import innermost_point, iou


def ring(*corners):
    return np.array(corners)


STAIRS = ring((0, 0), (9, 0), (9, 1), (10, 1), (10, 10), (1, 10), (1, 9), (0, 9))
"""A square with two of its corners bitten off by one pixel: 0.71 from the line between."""


@pytest.mark.parametrize(
    ("tolerance", "left"),
    [
        (0, STAIRS.tolist()),
        (-1, STAIRS.tolist()),
        (0.5, STAIRS.tolist()),
        (1.0, [[0, 0], [9, 0], [10, 10], [1, 10]]),
    ],
)
def test_corners_within_the_tolerance_are_left_out(tolerance, left):
    assert simplify(STAIRS, tolerance).tolist() == left


def test_no_corner_that_is_left_out_lies_farther_than_the_tolerance():
    y, x = np.mgrid[:120, :160]
    mask = np.hypot(x - 60, (y - 50) * 2) < 50
    mask |= np.hypot(x - 110, y - 70) < 30
    (outer,) = rings(mask)
    for tolerance in (0.8, 1.5, 4):
        short = simplify(outer, tolerance)
        assert len(short) < len(outer)
        start, stop = short.astype(float), np.roll(short, -1, axis=0).astype(float)
        along = stop - start
        share = ((outer[:, None] - start) * along).sum(-1) / (along**2).sum(-1)
        nearest = start + np.clip(share, 0, 1)[..., None] * along
        distance = np.hypot(*(outer[:, None] - nearest).transpose(2, 0, 1)).min(axis=1)
        assert distance.max() <= tolerance + 1e-9


def test_a_ring_thinner_than_the_tolerance_stays():
    line = ring((0, 0), (40, 0), (40, 1), (20, 1), (20, 2), (0, 2))
    assert simplify(line, 3).tolist() == line.tolist()


def test_a_ring_of_five_loses_the_corner_that_says_nothing():
    ring = np.array([[0, 0], [10, 0], [10, 10], [5, 11], [0, 10]])
    assert simplify(ring, 2).tolist() == ring[[0, 1, 2, 4]].tolist()
    assert simplify(ring, 0.5).tolist() == ring.tolist()


def test_a_slit_runs_between_the_two_nearest_corners():
    outer = ring((0, 0), (20, 0), (20, 20), (0, 20))
    hole = ring((12, 12), (12, 17), (17, 17), (17, 12))
    joined = keyhole(outer, [hole])
    # (20, 20) and (17, 17) are the nearest pair
    assert joined.tolist() == [
        *([0, 0], [20, 0], [20, 20]),
        *([17, 17], [17, 12], [12, 12], [12, 17], [17, 17]),
        *([20, 20], [0, 20]),
    ]
    assert ring_area(joined) == 400 - 25


def test_nearest_is_by_distance_not_by_one_axis():
    outer = ring((0, 0), (100, 0), (100, 100), (0, 100))
    hole = ring((5, 60), (5, 70), (30, 70), (30, 60))  # (5, 70) is 30.4 from (0, 100)
    joined = keyhole(outer, [hole]).tolist()
    assert joined[3:5] == [[0, 100], [5, 70]]
    assert joined[-1] == [0, 100]


def test_each_hole_belongs_to_the_part_around_it_and_the_smallest_part_comes_first():
    mask = np.zeros((40, 60), bool)
    mask[1:30, 1:30] = True
    mask[5:25, 5:25] = False
    mask[10:20, 10:20] = True  # an island in the hole
    mask[13:16, 12:17] = False
    mask[35:38, 50:55] = True
    found = [
        (ring_area(outer), sorted(-ring_area(hole) for hole in holes))
        for outer, holes in outlines(mask)
    ]
    assert found == [(15, []), (100, [15]), (841, [400])]


@pytest.mark.parametrize(("join", "parts"), [(False, [4, 4]), (True, [8])])
def test_pixels_that_touch_at_a_corner_are_one_part_only_if_asked(join, parts):
    mask = np.zeros((6, 6), bool)
    mask[1:3, 1:3] = mask[3:5, 3:5] = True
    assert [ring_area(outer) for outer, _ in outlines(mask, corners_join=join)] == parts
    flipped = np.ascontiguousarray(mask[:, ::-1])
    assert [ring_area(outer) for outer, _ in outlines(flipped, corners_join=join)] == parts


def test_polygons_on_whole_pixels_are_filled_to_the_pixel():
    square = np.array([(2, 3), (8, 3), (8, 7), (2, 7)], float)
    expected = np.zeros((10, 12), bool)
    expected[3:7, 2:8] = True
    assert np.array_equal(polygon_to_mask(square, (10, 12)), expected)
    assert np.array_equal(polygon_to_mask(square[::-1], (10, 12)), expected)
    other = square + np.array([4, 2])
    both = expected.copy()
    both[5:9, 6:12] = True
    assert np.array_equal(polygons_to_mask([square, other], (10, 12)), both)
    assert not polygons_to_mask([], (10, 12)).any()
    beyond = np.array([(-50, -50), (500, -50), (500, 5), (-50, 5)], float)
    cut = polygon_to_mask(beyond, (10, 12))
    assert cut[:5].all()
    assert not cut[5:].any()


def test_the_innermost_point_is_the_middle_of_what_is_thickest():
    mask = np.zeros((40, 60), bool)
    mask[2:9, 3:50] = True  # seven rows
    mask[10:35, 30:45] = True  # fifteen columns
    x, y = innermost_point(mask)
    assert x == 37.5
    assert 17.5 <= y <= 27.5
    single = np.zeros((5, 7), bool)
    single[3, 6] = True
    assert innermost_point(single) == (6.5, 3.5)
    whole = np.ones((5, 9), bool)
    assert innermost_point(whole)[1] == 2.5  # beyond the photo's edge is background


def test_iou():
    one, other = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    assert iou(one, other) == 1
    one[:2], other[1:3] = True, True
    assert iou(one, other) == 6 / 18
    assert iou(one, np.zeros((4, 6), bool)) == 0
