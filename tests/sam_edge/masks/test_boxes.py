import numpy as np
import pytest

from sam_edge.masks.boxes import (
    crop_boxes,
    is_near_crop_edge,
    layer_point_grids,
    non_maximum_suppression,
)


def suppress_slowly(boxes, scores, threshold):
    """torchvision's loop, one pair of float32 boxes at a time."""
    kept = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        x0, y0, x1, y1 = boxes[index]
        for other in kept:
            a0, b0, a1, b1 = boxes[other]
            shared = max(min(x1, a1) - max(x0, a0), 0) * max(min(y1, b1) - max(y0, b0), 0)
            union = (x1 - x0) * (y1 - y0) + (a1 - a0) * (b1 - b0) - shared
            if union and shared / union > threshold:
                break
        else:
            kept.append(index)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_suppression_keeps_what_the_pairwise_loop_keeps(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 40, (200, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 40, (200, 2))], 1).astype(np.float32)
    scores = rng.integers(0, 20, 200) / 20  # many ties
    kept = non_maximum_suppression(boxes, scores, 0.5)
    assert kept.tolist() == suppress_slowly(boxes, scores, 0.5)


def test_no_boxes_are_no_error():
    assert len(non_maximum_suppression(np.zeros((0, 4), np.float32), np.zeros(0), 0.7)) == 0


def test_a_mask_cut_by_its_crop_is_told_from_one_cut_by_the_photo():
    boxes = np.array([[5, 30, 60, 60], [40, 30, 95, 60], [40, 40, 60, 60]], np.float32)
    near = is_near_crop_edge(boxes, (0, 0, 100, 100), (100, 300))
    assert near.tolist() == [False, True, False]


def test_grids_and_crops_are_the_official_ones(official_amg):
    for ours, theirs in zip(
        layer_point_grids(32, 2, 2), official_amg.build_all_layer_point_grids(32, 2, 2), strict=True
    ):
        assert np.array_equal(ours, theirs)
    for size in ((480, 640), (641, 427), (50, 1000)):
        boxes, layers = official_amg.generate_crop_boxes(size, 2, 512 / 1500)
        ours = crop_boxes(size, 2, 512 / 1500)
        assert [(list(box), layer) for box, layer in ours] == list(zip(boxes, layers, strict=True))


def test_a_known_photo_has_the_official_crops_and_points():
    """Numbers that ``generate_crop_boxes`` and ``build_all_layer_point_grids`` gave."""
    crops = [(0, 0, 641, 480), (0, 0, 402, 322), (0, 159, 402, 480)]
    crops += [(239, 0, 641, 322), (239, 159, 641, 480)]
    crops += [
        (x, y, min(x + 221, 641), min(y + 181, 480))
        for x in (0, 140, 280, 420)
        for y in (0, 100, 200, 300)
    ]
    found = crop_boxes((480, 641), 2, 512 / 1500)
    assert [crop for crop, _ in found] == crops
    assert [layer for _, layer in found] == [0] + 4 * [1] + 16 * [2]
    whole, half, quarter = layer_point_grids(4, 2, 2)
    assert len(whole) == 16
    assert half.tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert quarter.tolist() == [[0.5, 0.5]]
