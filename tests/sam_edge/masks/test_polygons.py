import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sam_edge.masks.polygons import ring_area, rings, simplify

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
