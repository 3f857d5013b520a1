import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from sam_edge.masks.polygons import (
    keyhole,
    outlines,
    polygon_to_mask,
    ring_area,
    rings,
    simplify,
)

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def fill(traced, shape):
    """Fill rings by the even-odd rule: each vertical edge flips what lies to its right."""
    flips = np.zeros((shape[0], shape[1] + 1), int)
    for ring in traced:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if x0 == x1:
                flips[min(y0, y1) : max(y0, y1), x0] += 1
    return np.cumsum(flips, axis=1)[:, :-1] % 2 == 1


@given(MASKS)
def test_rings_filled_are_the_mask(mask):
    assert np.array_equal(fill(rings(mask), mask.shape), mask)


@given(MASKS)
def test_areas_of_outer_rings_less_holes_are_the_pixels(mask):
    assert sum(ring_area(ring) for ring in rings(mask)) == mask.sum()


@given(MASKS)
def test_every_corner_turns(mask):
    for ring in rings(mask):
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert ((steps[:, 0] != 0) != (np.roll(steps, 1, axis=0)[:, 0] != 0)).all()


def test_a_hole_is_a_ring_of_its_own():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    assert sorted(ring_area(ring) for ring in rings(mask)) == [-1, 25]


def test_an_empty_mask_has_no_rings():
    assert rings(np.zeros((3, 3), bool)) == []


@pytest.mark.parametrize("tolerance", [1, 2, 3])
def test_a_simpler_ring_keeps_nearly_all_of_its_area(tolerance):
    y, x = np.mgrid[:200, :200]
    (ring,) = rings(np.hypot(x - 100, y - 100) < 80)
    short = simplify(ring, tolerance)
    assert len(short) < len(ring) / 3
    assert abs(ring_area(short) - ring_area(ring)) < tolerance * 2 * np.pi * 80


@given(MASKS)
def test_every_hole_is_inside_its_part(mask):
    parts = outlines(mask)
    assert sum(1 + len(holes) for _, holes in parts) == len(rings(mask))
    for outer, holes in parts:
        whole = fill([outer], mask.shape)
        for hole in holes:
            assert not (fill([hole], mask.shape) & ~whole).any()


def test_a_hole_is_in_its_part_whatever_lies_to_its_right():
    # From the hole to the right: out of its part, in and out of it four times, then another part.
    mask = np.zeros((6, 16), bool)
    mask[:5, [0, 1, 2, 4, 6, 8, 10]] = True
    mask[4, :11] = True
    mask[1, 1] = False
    mask[:5, 12:15] = True
    mask[1, 13] = False
    found = [
        (ring_area(outer), [ring_area(hole) for hole in holes]) for outer, holes in outlines(mask)
    ]
    assert found == [(15, [-1]), (39, [-1])]


@given(MASKS)
def test_a_keyhole_keeps_the_area(mask):
    for outer, holes in outlines(mask):
        joined = keyhole(outer, holes)
        assert ring_area(joined) == ring_area(outer) + sum(map(ring_area, holes))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("seed", range(20))
def test_polygons_are_filled_as_pycocotools_fills_them(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-5, 65, (rng.integers(3, 12), 2)).round(seed % 3)
    (rle,) = coco.frPyObjects([corners.ravel().tolist()], 50, 60)
    assert np.array_equal(polygon_to_mask(corners, (50, 60)), coco.decode(rle).astype(bool))
