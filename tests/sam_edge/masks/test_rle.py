import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from sam_edge.masks.rle import (
    area,
    decode_rle,
    encode_rle,
    encode_window,
    from_coco_rle,
    rle_to_box,
    to_coco_rle,
)

# pycocotools' own arrays predate numpy 2's copy keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def blobs(height, width, seed):
    """Return a mask with runs of every length, from one pixel to many columns."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 17 + 1, width // 23 + 1)) > 0.5
    mask = np.kron(coarse, np.ones((17, 23), bool))[:height, :width]
    return mask ^ (rng.random((height, width)) > 0.999)


@given(MASKS)
def test_a_mask_survives_the_round_trip(mask):
    assert np.array_equal(decode_rle(encode_rle(mask)), mask)


@given(MASKS, st.data())
def test_a_window_is_encoded_as_the_mask_it_is_part_of(mask, data):
    top, left = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    below, right = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    whole = np.pad(mask, ((top, below), (left, right)))
    assert encode_window(mask, top=top, left=left, size=whole.shape) == encode_rle(whole)


@given(MASKS)
def test_pycocotools_reads_what_we_write(mask):
    ours = to_coco_rle(encode_rle(mask))
    assert np.array_equal(coco.decode(ours).astype(bool), mask)


@given(MASKS)
def test_our_string_is_pycocotools_string(mask):
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert to_coco_rle(encode_rle(mask))["counts"].encode() == theirs["counts"]
    assert from_coco_rle(theirs) == encode_rle(mask)


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_long_runs_take_several_letters(seed):
    mask = blobs(301, 407, seed)
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert to_coco_rle(encode_rle(mask))["counts"].encode() == theirs["counts"]
    assert np.array_equal(decode_rle(from_coco_rle(theirs)), mask)
    assert area(encode_rle(mask)) == coco.area(theirs)


@given(MASKS)
def test_the_box_is_found_without_decoding(mask):
    rows, columns = np.nonzero(mask)
    expected = (0, 0, 0, 0)
    if len(rows):
        expected = (columns.min(), rows.min(), columns.max(), rows.max())
    assert rle_to_box(encode_rle(mask)) == expected


@pytest.mark.parametrize("counts", [[3], [2, 3], [5, -1]])
def test_counts_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(ValueError, match="2 x 2"):
        decode_rle({"size": [2, 2], "counts": counts})


@pytest.mark.parametrize("text", ["", "P", "3~", "3 ", "o" * 20 + "0"])
def test_a_broken_string_is_refused(text):
    with pytest.raises(ValueError, match="not a COCO"):
        from_coco_rle({"size": [2, 2], "counts": text})
