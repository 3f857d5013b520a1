"""YOLO's polygons say the masks that they were made of."""

import numpy as np
import pytest

from sam_edge.formats import LabelledMask, class_names, yolo_data, yolo_text
from sam_edge.masks import MaskError, encode_rle, polygon_to_mask
from sam_edge.masks.quality import iou

SIZE = (90, 120)


def disc(y, x, radius, hole=0):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    distance = np.hypot(rows - y, columns - x)
    return (distance < radius) & (distance >= hole)


def record(mask, label="object"):
    return LabelledMask(encode_rle(mask), 0.9, 0.9, [], [0, 0, SIZE[1], SIZE[0]], label)


SHAPES = {
    "a disc": disc(40, 40, 20),
    "a ring": disc(40, 40, 30, hole=12),
    "two parts": disc(20, 95, 12) | disc(70, 30, 14),
    "a ring and a disc": disc(40, 40, 30, hole=12) | disc(70, 100, 14),
    "one pixel": disc(10, 10, 0.5),
    "all": np.ones(SIZE, np.bool_),
}


def even_odd(corners):
    """Fill a polygon by the even-odd rule, as OpenCV does for Ultralytics."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = np.zeros(SIZE, np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 <= rows) != (y1 <= rows)
        inside ^= crosses & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
    return inside


@pytest.mark.parametrize("name", SHAPES)
def test_a_line_is_the_mask(name):
    mask = SHAPES[name]
    (line,) = yolo_text([record(mask)], size=SIZE, tolerance=0).splitlines()
    number, *shares = line.split()
    assert number == "0"
    corners = np.array(shares, np.float64).reshape(-1, 2)
    assert ((corners >= 0) & (corners <= 1)).all()
    corners = np.round(corners * (SIZE[1], SIZE[0]), 3)
    np.testing.assert_array_equal(even_odd(corners), mask)
    if name in ("a disc", "all"):
        assert iou(polygon_to_mask(corners, SIZE), mask) > 0.95


def test_a_classs_number_is_its_labels_place_and_empty_masks_are_left_out():
    masks = [record(SHAPES["a disc"], "cup"), record(np.zeros(SIZE, np.bool_), "cup")]
    masks.append(record(SHAPES["a ring"], 'a "plate"'))
    assert class_names(masks) == ['a "plate"', "cup"]
    lines = yolo_text(masks, size=SIZE).splitlines()
    assert [line.split()[0] for line in lines] == ["1", "0"]
    assert yolo_data(class_names(masks)).endswith('names:\n  0: "a \\"plate\\""\n  1: "cup"\n')


def test_a_tolerance_saves_corners_and_must_be_a_number():
    exact = yolo_text([record(SHAPES["a ring"])], size=SIZE, tolerance=0)
    assert len(yolo_text([record(SHAPES["a ring"])], size=SIZE)) < len(exact) / 2
    with pytest.raises(MaskError):
        yolo_text([record(SHAPES["a ring"])], size=SIZE, tolerance=float("nan"))
