"""What a detector says stays as it is, no object goes missing, and every file parses."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import sam_edge
from sam_edge.detections import segment_boxes
from sam_edge.formats import LabelledMask, coco_document, label_map, labelme_document, svg_text
from sam_edge.masks import encode_rle
from sam_edge.masks.polygons import ring_area, rings
from sam_edge.prompt_files.coco import read_detections
from tests.sam_edge.known import model_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = (90, 120)


def record(mask, **named):
    return LabelledMask(
        rle=encode_rle(mask),
        predicted_iou=0.9,
        stability_score=0.97,
        points=[[60.5, 45.5]],
        crop_box=[0, 0, mask.shape[1], mask.shape[0]],
        **named,
    )


@pytest.mark.parametrize("label", ["a\x00b", "\x1b[2J", "tab\there", "\ud800", "\uffff", "a & <b>"])
def test_a_label_of_any_characters_leaves_the_svg_readable(label):
    text = svg_text([record(np.ones(SIZE, bool), label=label)], size=SIZE)
    drawing = ElementTree.fromstring(text.encode())
    (title,) = drawing.iter("{http://www.w3.org/2000/svg}title")
    assert title.text.endswith(", predicted IoU 0.900")
    assert label != "a & <b>" or title.text.startswith(label)


def test_a_label_of_any_characters_is_one_line_in_labelme():
    document = labelme_document(
        [record(np.ones(SIZE, bool), label="a\n\x1b[2Jb\ud800")], file_name="a.jpg", size=SIZE
    )
    assert document["shapes"][0]["label"] == "a\ufffd\ufffd[2Jb\ufffd"


def labelme_shapes(mask, tolerance=1.0):
    document = labelme_document(
        [record(mask)], file_name="a.jpg", size=mask.shape, tolerance=tolerance
    )
    return document["shapes"]


def areas(shapes):
    return sum(ring_area(np.array(shape["points"])) for shape in shapes)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 3.0])
def test_a_thin_diagonal_object_is_one_polygon(tolerance):
    mask = np.eye(60, 80, dtype=bool)
    (shape,) = labelme_shapes(mask, tolerance)
    assert 30 <= areas([shape]) <= 90
    points = np.array(shape["points"])
    assert points.min(0).tolist() == [0, 0]
    assert points.max(0).tolist() == [60, 60]


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(np.any))
def test_no_object_is_without_a_shape(mask):
    shapes = labelme_shapes(mask)
    assert shapes
    assert all(len(shape["points"]) >= 3 for shape in shapes)
    assert areas(shapes) > 0


def test_what_is_left_out_is_counted():
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5, 5] = False
    mask[15, 15] = mask[18, 1:4] = True
    (shape,) = labelme_shapes(mask)
    assert shape["description"] == ("predicted IoU 0.900; parts and holes under 4 px left out: 3")
    small = np.zeros((9, 9), bool)
    small[1, 1] = small[5, 5:7] = True
    (shape,) = labelme_shapes(small)
    assert areas([shape]) == 2
    assert shape["description"].endswith("left out: 1")


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_rings_joined_at_corners_hold_the_same_pixels(mask):
    joined = rings(mask, corners_join=True)
    assert sum(map(ring_area, joined)) == mask.sum()
    assert len([ring for ring in joined if ring_area(ring) > 0]) == components(mask)


def components(mask):
    """Count what touches at an edge or a corner, one flood after the other."""
    left = {tuple(place) for place in np.argwhere(mask)}
    count = 0
    while left:
        count += 1
        waiting = [left.pop()]
        while waiting:
            y, x = waiting.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            waiting += near
    return count


@pytest.mark.parametrize("tolerance", [np.nan, np.inf])
def test_a_tolerance_that_is_no_number_is_refused(tolerance):
    with pytest.raises(sam_edge.SamEdgeError, match="tolerance"):
        labelme_shapes(np.ones((5, 5), bool), tolerance)


def test_a_label_map_of_too_many_masks_is_refused():
    with pytest.raises(sam_edge.SamEdgeError, match="65535 masks, not 65536"):
        label_map([record(np.ones((1, 1), bool))] * 65536, (1, 1))


def test_a_label_map_of_another_photos_masks_is_refused():
    with pytest.raises(sam_edge.SamEdgeError, match="mask 0 has size"):
        label_map([record(np.ones((3, 4), bool))], (4, 3))


TRUTH = {
    "images": [{"id": 139, "file_name": "val/000000000139.jpg", "height": 256, "width": 256}],
    "categories": [
        {"id": 18, "name": "dog", "supercategory": "animal"},
        {"id": 62, "name": "chair", "supercategory": "furniture", "colour": "red"},
    ],
    "annotations": [
        {"id": 5, "image_id": 139, "category_id": 18, "bbox": [20.5, 30.25, 60, 50]},
        {"id": 9, "image_id": 139, "category_id": 62, "bbox": [120, 100, 90.75, 64]},
        {"id": 77, "image_id": 139, "category_id": 18, "bbox": [10, 180, 40, 40]},
    ],
}
for entry in TRUTH["annotations"]:
    entry.update(iscrowd=0, area=entry["bbox"][2] * entry["bbox"][3])


def found(offset=0.0):
    """Return a detector's results: every true box, some moved, and a box of nothing."""
    results = [
        {
            "image_id": 139,
            "category_id": entry["category_id"],
            "bbox": [entry["bbox"][0] + offset * number, *entry["bbox"][1:]],
            "score": 0.9 - 0.2 * number,
        }
        for number, entry in enumerate(TRUTH["annotations"])
    ]
    return [
        *results,
        {"image_id": 139, "category_id": 18, "bbox": [200, 5, 30, 30], "score": 0.6},
    ]


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    """Fill a disc in each box, and be the surer the smaller it is."""
    low, high = feeds["point_coords"][:, 0], feeds["point_coords"][:, 1]
    middle, radius = (low + high) / 2, (high - low).min(axis=1) / 2
    y, x = np.mgrid[:64, :64] * 4 + 2
    distance = np.hypot(y - middle[:, 1, None, None, None], x - middle[:, 0, None, None, None])
    masks = np.repeat((radius[:, None, None, None] - distance).astype(np.float32), 4, axis=1)
    scores = np.repeat(1 / (1 + radius[:, None]), 4, axis=1).astype(np.float32)
    return {"low_res_masks": masks, "iou_predictions": scores}


def segmented(path, photo="000000000139.jpg"):
    """Return the COCO document of what is segmented in the boxes of a file."""
    model = model_of(encode, decode)
    embedding = model.encode_image(np.zeros((256, 256, 3), np.uint8))
    masks = segment_boxes(model, embedding, read_detections(path, Path(photo)))
    document = coco_document(masks, file_name=photo, size=(256, 256))
    return json.loads(json.dumps(document))


def average_precision(results):
    with redirect_stdout(StringIO()):
        truth = COCO()
        truth.dataset = TRUTH
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.parametrize("form", ["results", "data set"])
@pytest.mark.parametrize("offset", [0.0, 6.0])
def test_cocos_evaluation_of_our_boxes_is_that_of_the_detectors(tmp_path, form, offset):
    detector = found(offset)
    content = detector if form == "results" else {**TRUTH, "annotations": detector}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    ours = segmented(path)["annotations"]
    expected = average_precision(detector)
    assert expected[1] > 0.5
    assert average_precision(ours) == expected


def test_what_the_detectors_file_says_is_kept(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(TRUTH))
    document = segmented(path)
    assert document["categories"] == TRUTH["categories"]
    assert document["images"][0]["id"] == 139
    for theirs, ours in zip(TRUTH["annotations"], document["annotations"], strict=True):
        for name in ("id", "image_id", "category_id", "bbox"):
            assert ours[name] == theirs[name]
        assert ours["score"] == ours["predicted_iou"]  # the file has no score


def test_numbers_that_a_detector_lacks_are_numbers_that_nothing_has(tmp_path):
    path = tmp_path / "boxes.json"
    annotations = [
        {**TRUTH["annotations"][0], "id": 7, "category_id": 3},
        {**TRUTH["annotations"][1], "id": 7},
        {"image_id": 139, "bbox": [1, 2, 30, 40]},
        {"image_id": 139, "bbox": [1, 2, 30, 40], "category_id": None, "id": None, "score": None},
    ]
    path.write_text(json.dumps({**TRUTH, "annotations": annotations}))
    document = segmented(path)
    assert [entry["id"] for entry in document["annotations"]] == [7, 8, 9, 10]
    assert [entry["category_id"] for entry in document["annotations"]] == [3, 62, 63, 63]
    assert {item["id"]: item["name"] for item in document["categories"]} == {
        3: "3",
        62: "chair",
        63: "object",
    }


def test_masks_of_points_are_numbered_from_one():
    mask = np.zeros(SIZE, bool)
    mask[3:9, 4:20] = True
    document = coco_document([record(mask)] * 2, file_name="a.jpg", size=SIZE)
    assert [entry["id"] for entry in document["annotations"]] == [1, 2]
    assert {entry["image_id"] for entry in document["annotations"]} == {1}
    assert document["annotations"][0]["bbox"] == [4, 3, 16, 6]
    assert document["annotations"][0]["score"] == 0.9
    assert document["categories"] == [{"id": 1, "name": "object", "supercategory": ""}]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=12))
def test_any_label_is_written_and_read_back(label):
    mask = [record(np.ones((3, 3), bool), label=label)]
    ElementTree.fromstring(svg_text(mask, size=(3, 3)).encode())
    document = coco_document(mask, file_name="a.jpg", size=(3, 3))
    assert json.loads(json.dumps(document))["categories"][0]["name"] == label
