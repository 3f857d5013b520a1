"""Which boxes and masks are kept, on numbers that a reader can check."""

import numpy as np
import pytest

from sam_edge.grounding.selection import Selection, select, without_duplicates
from sam_edge.masks import encode_rle

BOXES = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
NONE = np.zeros((3, 0), np.float32)


def column(*scores):
    return np.array(scores, np.float32)[:, None]


def test_neighbours_of_one_phrase_are_one_object():
    assert select(BOXES, column(0.6, 0.9, 0.3), NONE, Selection(0.2)) == [(1, 0), (2, 0)]
    assert len(select(BOXES, column(0.6, 0.9, 0.3), NONE, Selection(0.2, nms_iou=1))) == 3


def test_phrases_do_not_suppress_each_other():
    scores = np.array([[0.9, 0.1], [0.1, 0.8], [0, 0]], np.float32)
    assert select(BOXES, scores, NONE, Selection(0.5)) == [(0, 0), (1, 1)]


def test_the_threshold_itself_passes():
    assert select(BOXES, column(0.5, 0, 0), NONE, Selection(0.5)) == [(0, 0)]


def test_a_better_unwanted_box_takes_its_neighbours_with_it():
    wanted, unwanted = column(0.6, 0.2, 0.7), column(0.1, 0.9, 0.1)
    assert select(BOXES, wanted, unwanted, Selection(0.15)) == [(2, 0)]


def test_a_worse_unwanted_box_takes_nothing():
    wanted, unwanted = column(0.6, 0.2, 0.7), column(0.1, 0.5, 0.1)
    assert select(BOXES, wanted, unwanted, Selection(0.15)) == [(2, 0), (0, 0)]


def test_no_boxes_are_no_detections():
    empty = np.zeros((0, 4), np.float32)
    scores = np.zeros((0, 2), np.float32)
    assert select(empty, scores, scores[:, :0], Selection(0.1)) == []


def square(x, side, size=20):
    mask = np.zeros((size, size), np.bool_)
    mask[2 : 2 + side, x : x + side] = True
    return encode_rle(mask)


def test_of_masks_that_show_one_object_the_best_scored_stays():
    masks = [square(0, 10), square(0, 10), square(12, 6), square(1, 10)]
    assert without_duplicates(masks, [0.5, 0.9, 0.1, 0.4]) == [1, 2]
    assert without_duplicates(masks, [0.5, 0.9, 0.1, 0.4], 1.0) == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(20))
def test_overlaps_are_those_of_the_pixels(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 9, 7)) < rng.random()
    union = (one | other).sum()
    truth = (one & other).sum() / union if union else 1.0
    pair = [encode_rle(one), encode_rle(other)]
    assert len(without_duplicates(pair, [1, 0], min(1.0, truth + 1e-6))) == 2
    if truth > 1e-6:
        assert len(without_duplicates(pair, [1, 0], truth - 1e-6)) == 1
