"""Masks and numbers that cannot be meant, and photos so thin that tiles were larger than they."""

import platform
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

import sam_edge
from sam_edge.image import resized_shape
from sam_edge.masks import (
    area,
    decode_rle,
    encode_rle,
    encode_window,
    from_coco_rle,
    mask_to_box,
    outlines,
    polygon_to_mask,
    remove_small_regions,
    rings,
    rle_to_box,
    simplify,
    stability_scores,
    to_coco_rle,
    upsample_logits,
    upsample_masks,
)
from sam_edge.masks.quality import innermost_point, iou
from sam_edge.masks.regions import remove_small_regions_rle

READERS = [decode_rle, area, rle_to_box, to_coco_rle]
READERS.append(lambda rle: remove_small_regions_rle(rle, 3, "holes"))


def refused(call, *arguments, **named):
    with pytest.raises(sam_edge.SamEdgeError) as caught:
        call(*arguments, **named)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


WRAPPED = [2**62, 2**62, 2**62, 2**62 + 4]
"""Their sum leaves 64 bits and comes back as 4."""


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "counts",
    [WRAPPED, [2**63, 2**63, 4], [2**64 + 4], [-1, 5], [4.0], ["4"], [None], [[4]], "4", None, {}],
    ids=lambda counts: str(counts)[:12],
)
def test_run_lengths_that_no_mask_has_are_refused_before_they_are_added(read, counts):
    refused(read, {"size": [2, 2], "counts": counts})


def test_run_lengths_that_wrap_around_do_not_end_the_process():
    code = f"""
from sam_edge.masks import decode_rle
try: decode_rle({{"size": [2, 2], "counts": {WRAPPED}}})
except ValueError: print("refused")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "refused\n")


@pytest.mark.parametrize("read", [*READERS, from_coco_rle])
@pytest.mark.parametrize(
    "size",
    [
        [-2, -2],
        [10**9, 10**9],
        [2**40, 2**40],
        [2.0, 2.0],
        ["2", "2"],
        [True, 4],
        [None, 2],
        [2],
        [2, 2, 1],
        4,
        None,
    ],
    ids=str,
)
def test_a_size_that_no_photo_has_is_refused(read, size):
    product = 4 if not isinstance(size, list) or len(size) != 2 else 10**18
    counts = "4" if read is from_coco_rle else [product]
    refused(read, {"size": size, "counts": counts})


@pytest.mark.parametrize(
    "text",
    ["o" * 12 + "0", "oooooo_2" * 2, "\u00e9", "4\n", 4, None, ["4"], b"\xff", b""],
    ids=ascii,
)
def test_a_string_whose_numbers_no_mask_has_is_refused(text):
    refused(from_coco_rle, {"size": [2, 2], "counts": text})


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789:;<=>?@OPQR_`abcdefgmno", max_size=40), st.integers(0, 40))
def test_any_string_is_a_mask_or_refused(text, width):
    try:
        rle = from_coco_rle({"size": [3, width], "counts": text})
    except sam_edge.SamEdgeError:
        return
    assert decode_rle(rle).shape == (3, width)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=6,
    ),
    st.lists(st.integers(-1, 5) | st.none() | st.floats(), max_size=3),
)
def test_any_run_lengths_are_a_mask_or_refused(counts, size):
    try:
        mask = decode_rle({"size": size, "counts": counts})
    except sam_edge.SamEdgeError:
        return
    assert list(mask.shape) == size


HALF = np.zeros((4, 6), bool)
HALF[1:3, 2:5] = True


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, -3)], ids=str)
def test_whole_numbers_are_a_mask_of_what_is_not_zero(values):
    numbers = np.where(HALF, values[1], values[0]).astype(np.int16 if values[1] < 0 else np.uint8)
    other = np.roll(HALF, 1, 0)
    assert encode_rle(numbers) == encode_rle(HALF)
    assert encode_window(numbers, top=1, left=0, size=(9, 6)) == encode_window(
        HALF, top=1, left=0, size=(9, 6)
    )
    assert mask_to_box(numbers) == mask_to_box(HALF)
    assert iou(numbers, other * np.uint8(7)) == iou(HALF, other)
    assert innermost_point(numbers) == innermost_point(HALF)
    assert [ring.tolist() for ring in rings(numbers)] == [ring.tolist() for ring in rings(HALF)]
    assert len(outlines(numbers)) == 1
    cleaned, changed = remove_small_regions(numbers, 100, "holes")
    assert changed
    assert cleaned.all()


@pytest.mark.parametrize(
    "call",
    [encode_rle, mask_to_box, rings, outlines, innermost_point, lambda mask: iou(mask, HALF)],
)
@pytest.mark.parametrize("mask", [HALF * 0.7, HALF[None], HALF * 1j, HALF.astype(object)])
def test_logits_and_stacks_are_no_mask(call, mask):
    refused(call, mask)


def test_a_window_that_reaches_out_of_its_mask_is_refused():
    for top, left in ((-1, 0), (0, 7), (7, 0)):
        refused(encode_window, HALF, top=top, left=left, size=(10, 10))


SMALL = {"input_size": (256, 256), "image_size": 256, "original_size": (100, 100)}


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_threshold_that_is_no_number_is_refused(number):
    logits = np.ones((1, 64, 64), np.float32)
    refused(upsample_masks, logits, threshold=number, **SMALL)
    refused(stability_scores, logits, threshold=number, **SMALL)
    refused(stability_scores, logits, offset=number, **SMALL)
    refused(remove_small_regions, HALF, number, "holes")
    refused(simplify, rings(HALF)[0], number)


def test_logits_that_are_nan_are_no_empty_mask():
    logits = np.ones((2, 64, 64), np.float32)
    logits[1, 20, 20] = np.nan
    refused(upsample_masks, logits, **SMALL)
    refused(stability_scores, logits, **SMALL)


@pytest.mark.parametrize(
    "corner", [(1e308, 1), (np.nan, 1), (np.inf, 1), (1e12, -1e12), (1, -1e9)], ids=str
)
def test_a_corner_that_no_photo_reaches_is_refused(corner):
    refused(polygon_to_mask, np.array([[0, 0], corner, [5, 5]]), (10, 10))


def test_a_polygon_that_reaches_far_out_costs_nothing():
    corners = np.array([[-1e8, 2], [1e8, 2], [1e8, 5], [-1e8, 5]])
    tracemalloc.start()
    try:
        mask = polygon_to_mask(corners, (10, 10))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert mask[2:5].all()
    assert mask.sum() == 30


def test_an_outline_without_end_is_refused():
    refused(polygon_to_mask, np.zeros((1_000_001, 2)), (10, 10))
    refused(polygon_to_mask, np.tile([[0.0, 0], [9000, 9]], (1000, 1)), (10, 9000))
    refused(polygon_to_mask, np.zeros((5, 3)), (10, 10))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(-3000, 3000).map(lambda number: number / 10)] * 2),
        min_size=3,
        max_size=8,
    )
)
def test_every_polygon_is_filled_as_pycocotools_fills_it(corners):
    """Its wheels for Arm multiply and add in one rounding, which moves an outline's ties there."""
    (rle,) = coco.frPyObjects([[number for corner in corners for number in corner]], 90, 70)
    differing = np.count_nonzero(polygon_to_mask(np.array(corners), (90, 70)) != coco.decode(rle))
    on_arm = platform.machine().lower() in ("aarch64", "arm64")
    assert differing <= (2 * len(corners) if on_arm else 0)


def test_a_polygon_is_filled_alike_on_every_processor():
    """An edge passes exactly between two pixels, where pycocotools differs from itself."""
    mask = polygon_to_mask(np.array([(0, 0), (-9.9, -34.1), (194.1, 55.9)]), (90, 70))
    assert mask[0].nonzero()[0].tolist() == list(range(2, 68))


MEASURED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (6_000_000_000, 6_000_000_000))
import numpy as np
from sam_edge.image import resized_shape
from sam_edge.masks import encode_rle, upsample_masks

def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

photo = {photo}
wave = np.sin(np.arange(256) / 9)
logits = (5 * (wave[:, None] + wave[None]))[None].astype(np.float32)
before = peak()
sizes = dict(input_size=resized_shape(*photo, 1024), image_size=1024, original_size=photo)
encode_rle(upsample_masks(logits, **sizes)[0])
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("photo", [(20_000_000, 1), (1, 20_000_000)])
def test_a_thin_photo_takes_little_more_than_its_mask(photo):
    code = MEASURED.format(photo=photo)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-300:]
    mask_megabytes = 20
    assert float(run.stdout) < 8 * mask_megabytes


@pytest.mark.parametrize("photo", [(70_000, 1), (1, 70_001), (66_000, 3), (90, 70_000)])
@pytest.mark.parametrize("kind", ["smooth", "noise"])
def test_a_long_photo_is_cut_where_its_logits_are(photo, kind):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 5, (2, 64, 64)).astype(np.float32)
    if kind == "smooth":
        logits = np.repeat(np.repeat(logits[:, ::8, ::8], 8, 1), 8, 2)
    sizes = {"input_size": resized_shape(*photo, 256), "image_size": 256, "original_size": photo}
    values = upsample_logits(logits, **sizes)
    differ = upsample_masks(logits, threshold=0.5, **sizes) != (values > 0.5)
    assert np.abs(values[differ] - 0.5).max(initial=0) < 1e-4
    low, high = (values > -1).sum((1, 2)), (values > 1).sum((1, 2))
    np.testing.assert_allclose(stability_scores(logits, **sizes), high / low, rtol=1e-4)
