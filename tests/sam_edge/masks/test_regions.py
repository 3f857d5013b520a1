import numpy as np
import pytest

from sam_edge.masks.regions import remove_small_regions


def spotted(seed, shape=(60, 80), density=0.5):
    rng = np.random.default_rng(seed)
    smooth = rng.random((shape[0] // 4, shape[1] // 4)) > density
    return np.kron(smooth, np.ones((4, 4), bool)) ^ (rng.random(shape) > 0.95)


def flooded(mask):
    """Find the regions of a mask whose pixels touch by a side or a corner, by flooding."""
    waiting = {tuple(pixel) for pixel in np.argwhere(mask).tolist()}
    while waiting:
        edge = [waiting.pop()]
        region = []
        while edge:
            row, column = edge.pop()
            region.append((row, column))
            beside = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & waiting
            waiting -= beside
            edge += beside
        yield np.array(region).T


def remove_plainly(mask, area, mode):
    """What ``remove_small_regions`` of the official code does, region by region."""
    regions = list(flooded(~mask if mode == "holes" else mask))
    small = [region for region in regions if region.shape[1] < area]
    if mode == "islands" and len(small) == len(regions):  # the largest is the object
        largest = max(regions, key=lambda region: region.shape[1])
        small = [region for region in small if region is not largest]
    result = mask.copy()
    for rows, columns in small:
        result[rows, columns] = mode == "holes"
    return result


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", ["holes", "islands"])
@pytest.mark.parametrize("area", [2, 20, 10**6])
def test_regions_are_removed_as_a_flood_finds_them(seed, mode, area):
    mask = spotted(seed)
    actual, changed = remove_small_regions(mask, area, mode)
    assert np.array_equal(actual, remove_plainly(mask, area, mode))
    assert changed
    assert not np.array_equal(actual, mask)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", ["holes", "islands"])
@pytest.mark.parametrize("area", [2, 20, 10**6])
def test_regions_are_removed_as_officially(official_amg, seed, mode, area):
    mask = spotted(seed)
    expected, changed = official_amg.remove_small_regions(mask, area, mode)
    actual, ours_changed = remove_small_regions(mask, area, mode)
    assert ours_changed == changed
    assert np.array_equal(actual, expected)


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("mode", ["holes", "islands"])
def test_a_mask_without_regions_is_left_alone(value, mode):
    mask = np.full((5, 7), value)
    result, changed = remove_small_regions(mask, 3, mode)
    assert not changed
    assert np.array_equal(result, mask)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'cracks'"):
        remove_small_regions(np.ones((2, 2), bool), 1, "cracks")
