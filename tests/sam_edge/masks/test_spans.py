"""Spans are masks: whatever is done to them is what is done to the pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sam_edge.masks import decode_rle, encode_rle
from sam_edge.masks.spans import (
    cropped_spans,
    joined_spans,
    mask_to_spans,
    moved_spans,
    rle_to_spans,
    shared_span_area,
    span_area,
    span_box,
    spans_to_rle,
    spans_to_window,
)

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=7))
pairs = array_shapes(min_dims=2, max_dims=2, max_side=7).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


def pixels(spans, size):
    return decode_rle(spans_to_rle(spans, size))


@given(masks)
def test_spans_and_run_lengths_say_the_same(mask):
    spans = mask_to_spans(mask)
    assert np.array_equal(spans, rle_to_spans(encode_rle(mask)))
    assert spans_to_rle(spans, mask.shape) == encode_rle(mask)
    assert span_area(spans) == mask.sum()


def test_a_run_split_by_an_empty_one_is_one_span():
    assert rle_to_spans({"size": [4, 1], "counts": [0, 1, 0, 3]}).tolist() == [[0, 0, 4]]


@given(masks)
def test_a_window_is_the_mask_without_what_is_empty_around_it(mask):
    window, top, left = spans_to_window(mask_to_spans(mask))
    height, width = window.shape
    again = np.zeros_like(mask)
    again[top : top + height, left : left + width] = window
    assert np.array_equal(again, mask)
    if mask.any():
        assert (left, top, left + width, top + height) == span_box(mask_to_spans(mask))
        assert window[0].any()
        assert window[-1].any()
        assert window[:, 0].any()
        assert window[:, -1].any()


@given(masks, st.tuples(*[st.integers(0, 8)] * 4))
def test_a_crop_is_the_mask_inside_the_box(mask, box):
    x0, y0, x1, y1 = box
    inside = np.zeros_like(mask)
    inside[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
    assert np.array_equal(pixels(cropped_spans(mask_to_spans(mask), box), mask.shape), inside)


@given(pairs)
def test_masks_are_joined_and_compared_pixel_by_pixel(pair):
    one, other = pair
    spans = [mask_to_spans(one), mask_to_spans(other)]
    assert np.array_equal(joined_spans(spans), mask_to_spans(one | other))
    assert shared_span_area(*spans) == (one & other).sum()


@pytest.mark.parametrize(("x", "y"), [(3, 4), (10**9, 10**9)])
def test_a_mask_moves_anywhere(x, y):
    mask = np.array([[True, False, True], [True, True, True]])
    there = moved_spans(mask_to_spans(mask), x, y)
    window, top, left = spans_to_window(there)
    assert (top, left) == (y, x)
    assert np.array_equal(window, mask)
    assert np.array_equal(joined_spans([there, there]), there)
    assert shared_span_area(there, there) == mask.sum()


def test_nothing_is_joined_to_nothing():
    assert joined_spans([]).shape == (0, 3)
    assert span_box(joined_spans([])) == (0, 0, 0, 0)
