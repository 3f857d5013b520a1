import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as coco

import sam_edge
from sam_edge.evaluation.scores import evaluate
from sam_edge.evaluation.truth import TruthError, read_coco, read_sa1b, segmentation_mask
from sam_edge.masks import encode_rle, to_coco_rle
from sam_edge.masks.quality import innermost_point
from tests.sam_edge.known import model_of


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    """Fill the box, or, of a click, a square around it: too small, right, and too large."""
    count = len(feeds["point_labels"])
    y, x = np.mgrid[:64, :64] * 4 + 2
    masks = np.empty((count, 4, 64, 64), np.float32)
    for row, (coords, labels) in enumerate(
        zip(feeds["point_coords"], feeds["point_labels"], strict=True)
    ):
        if 2 in labels:
            (x0, y0), (x1, y1) = coords[-2:]
            corners = [(x0, y0, x1, y1)] * 4
        else:
            (px, py) = coords[0]
            corners = [(px - r, py - r, px + r, py + r) for r in (32, 16, 32, 48)]
        for output, (x0, y0, x1, y1) in enumerate(corners):
            inside = np.minimum(np.minimum(x - x0, x1 - x), np.minimum(y - y0, y1 - y))
            masks[row, output] = inside
    scores = np.tile(np.array([0.5, 0.9, 0.4, 0.3], np.float32), (count, 1))
    return {"low_res_masks": masks, "iou_predictions": scores}


@pytest.fixture
def model():
    return model_of(encode, decode)


@pytest.fixture
def squares():
    """Two squares of 64 pixels."""
    masks = np.zeros((2, 256, 256), bool)
    masks[0, 32:96, 32:96] = True
    masks[1, 128:192, 96:160] = True
    return masks


def polygon(mask):
    rows, columns = np.nonzero(mask)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return [float(number) for number in (x0, y0, x1, y0, x1, y1, x0, y1)]


def box(mask):
    x0, y0, *_, x1, y1 = polygon(mask)[:6]
    return [x0, y0, x1 - x0, y1 - y0]


@pytest.fixture
def coco_folder(tmp_path, squares):
    (tmp_path / "val2017").mkdir()
    Image.new("RGB", (256, 256)).save(tmp_path / "val2017" / "000000000139.jpg")
    (tmp_path / "annotations").mkdir()
    entry = {"image_id": 139, "category_id": 1, "iscrowd": 0}
    annotations = [
        {**entry, "id": 1, "bbox": box(squares[0]), "segmentation": [polygon(squares[0])]},
        {
            **entry,
            "id": 2,
            "bbox": box(squares[1]),
            "segmentation": encode_rle(squares[1]),
        },
        {**entry, "id": 3, "bbox": [0, 0, 256, 256], "segmentation": [], "iscrowd": 1},
    ]
    images = [{"id": 139, "file_name": "000000000139.jpg", "height": 256, "width": 256}]
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    (tmp_path / "annotations" / "captions_val2017.json").write_text("{}")
    return tmp_path


@pytest.fixture
def sa1b_folder(tmp_path, squares):
    Image.new("RGB", (256, 256)).save(tmp_path / "sa_1.jpg")
    annotations = [
        {"id": number, "bbox": box(mask), "segmentation": to_coco_rle(encode_rle(mask))}
        for number, mask in enumerate(squares)
    ]
    image = {"image_id": 1, "file_name": "sa_1.jpg", "height": 256, "width": 256}
    (tmp_path / "sa_1.json").write_text(json.dumps({"image": image, "annotations": annotations}))
    return tmp_path


def check(scores):
    assert len(scores) == 2  # the crowd is left out
    for score in scores:
        assert score.area == 64 * 64
        assert score.box == pytest.approx(1, abs=0.05)
        assert score.click == pytest.approx(0.25, abs=0.05)  # the model prefers the small square
        assert score.click_best == pytest.approx(1, abs=0.05)


def test_coco_truth_scores_what_the_masks_are_worth(model, coco_folder):
    check(evaluate(model, read_coco(coco_folder)))


def test_sa1b_truth_scores_what_the_masks_are_worth(model, sa1b_folder):
    seen = []
    scores = evaluate(model, read_sa1b(sa1b_folder), progress=lambda *done: seen.append(done))
    check(scores)
    assert seen == [(1, 1)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is no COCO JSON"),
        ('{"images": [], "annotations": []}', "lists no photos"),
        (
            '{"images": [{"id": 1, "file_name": "no.jpg", "height": 1, "width": 1}],'
            ' "annotations": []}',
            "--images",
        ),
    ],
)
def test_a_folder_that_is_not_coco_is_refused(tmp_path, content, message):
    (tmp_path / "instances.json").write_text(content)
    with pytest.raises(TruthError, match=message):
        read_coco(tmp_path)


def test_two_annotation_files_want_a_choice(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(TruthError, match="2 annotation files; name one with --annotations"):
        read_coco(tmp_path)


def test_a_folder_that_is_not_sa1b_is_refused(tmp_path):
    with pytest.raises(TruthError, match=r"no \.json files"):
        read_sa1b(tmp_path)
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(TruthError, match="is no SA-1B JSON"):
        read_sa1b(tmp_path)


def test_a_photo_of_another_size_is_refused(model, sa1b_folder):
    Image.new("RGB", (250, 256)).save(sa1b_folder / "sa_1.jpg")
    with pytest.raises(sam_edge.SamEdgeError, match="250 x 256, its annotations are for 256 x 256"):
        evaluate(model, read_sa1b(sa1b_folder))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_every_spelling_of_a_mask_is_read_as_pycocotools_reads_it(squares):
    polygons = [polygon(squares[0]), [10, 10, 60.5, 20, 30, 70.25]]
    merged = coco.merge(coco.frPyObjects(polygons, 256, 256))
    assert np.array_equal(segmentation_mask(polygons, (256, 256)), coco.decode(merged).astype(bool))
    for spelling in (encode_rle(squares[0]), to_coco_rle(encode_rle(squares[0]))):
        assert np.array_equal(segmentation_mask(spelling, (256, 256)), squares[0])
    with pytest.raises(ValueError, match=r"\[256, 256\], the photo \[256, 255\]"):
        segmentation_mask(encode_rle(squares[0]), (256, 255))


@given(arrays.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))).filter(np.any))
def test_the_innermost_point_is_farthest_from_the_background(mask):
    x, y = innermost_point(mask)
    rows, columns = np.nonzero(~np.pad(mask, 1))

    def distance(row, column):
        return (np.abs(rows - 1 - row) + np.abs(columns - 1 - column)).min()

    farthest = max(distance(row, column) for row, column in zip(*np.nonzero(mask), strict=True))
    assert mask[int(y), int(x)]
    assert distance(int(y), int(x)) == farthest
