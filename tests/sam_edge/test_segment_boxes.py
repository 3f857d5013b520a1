"""Masks of a detector's boxes: each box's own, with what is known of it."""

import json

import numpy as np
import pytest
from PIL import Image

from sam_edge.cli import everything, main
from sam_edge.detections import Detection, segment_boxes
from sam_edge.formats import coco_document
from sam_edge.formats.records import CocoBox
from sam_edge.prompts import Box, PromptError
from tests.sam_edge.known import model_of

SIZE = (128, 256)


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    """The box itself, with a slope of one logit a pixel; scored by its left edge."""
    corners = feeds["point_coords"].reshape(-1, 4)[:, :, None, None]
    y, x = np.mgrid[:64, :64] * 4 + 2
    sides = [x - corners[:, 0], y - corners[:, 1], corners[:, 2] - x, corners[:, 3] - y]
    inside = np.minimum.reduce(sides).astype(np.float32)
    scores = np.tile(corners[:, :1, 0, 0] / 1000, 4).astype(np.float32)
    scores[:, 1:] = 2  # the candidates are not asked for
    return {"low_res_masks": inside[:, None].repeat(4, 1), "iou_predictions": scores}


@pytest.fixture
def model():
    return model_of(encode, decode)


BOXES = [(40, 20, 120, 100), (0, 0, 60, 60), (200, 50, 256, 128), (100, 10, 180, 90)]


def test_each_box_gets_its_own_mask_and_keeps_what_its_file_said(model):
    embedding = model.encode_image(np.zeros((*SIZE, 3), np.uint8))
    coco = CocoBox(7, (1.0, 2.0, 3.0, 4.0))
    detections = [Detection(Box(*box), f"thing {box[0]}", coco) for box in BOXES]
    found = segment_boxes(model, embedding, detections)
    for box, mask in zip(BOXES, found, strict=True):
        assert np.abs(np.subtract(mask.box, (box[0], box[1], box[2] - 1, box[3] - 1))).max() <= 1
        assert mask.predicted_iou == pytest.approx(box[0] / 1000)
        assert (mask.label, mask.coco, mask.points) == (f"thing {box[0]}", coco, [])
        assert mask.crop_box == [0, 0, 256, 128]
    # Cut one logit higher and lower, a box of 80 x 80 is one pixel smaller and larger all round.
    assert found[0].stability_score == pytest.approx((78 / 82) ** 2, abs=0.01)


def test_a_box_outside_of_the_photo_is_left_out_and_the_order_stays(model):
    embedding = model.encode_image(np.zeros((*SIZE, 3), np.uint8))
    outside = Detection(Box(300, 10, 400, 90), "outside")
    detections = [Detection(Box(*BOXES[0]), "a"), outside, Detection(Box(*BOXES[3]), "b")]
    with pytest.raises(PromptError, match="300,10,400,90"):
        segment_boxes(model, embedding, detections)
    skipped = []
    found = segment_boxes(model, embedding, detections, skip=skipped.append)
    assert [mask.label for mask in found] == ["a", "b"]
    assert len(skipped) == 1
    assert segment_boxes(model, embedding, []) == []


def test_a_detectors_box_in_which_nothing_can_be_segmented_has_an_empty_mask(model):
    embedding = model.encode_image(np.zeros((*SIZE, 3), np.uint8))
    outside = Detection(Box(300, 10, 400, 90), "outside", CocoBox(7, (300, 10, 100, 80)), score=0.9)
    flat = Detection(None, "flat", CocoBox(7, (30, 10, 0, 80)))
    detections = [outside, Detection(Box(*BOXES[0]), "a", CocoBox(7, (40, 20, 80, 80))), flat]
    found = segment_boxes(model, embedding, detections, skip=lambda _: None)
    assert [(mask.label, mask.area > 0) for mask in found] == [
        ("outside", False),
        ("a", True),
        ("flat", False),
    ]
    entries = coco_document(found, file_name="a.jpg", size=SIZE)["annotations"]
    assert [entry["bbox"] for entry in entries] == [list(each.coco.bbox) for each in detections]


def test_boxes_of_a_photo_of_another_size_are_refused(model, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(everything, "load_from", lambda _: model)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save("a.png")
    image = {"id": 1, "file_name": "a.png", "width": 256, "height": 128}
    entry = {"image_id": 1, "bbox": [40, 20, 80, 80]}
    words = ["everything", "a.png", "--prompts", "boxes.json", "-o", "out.json"]
    for height, code in ((128, 0), (129, 1)):
        document = {"images": [image | {"height": height}], "annotations": [entry]}
        (tmp_path / "boxes.json").write_text(json.dumps(document))
        assert main(words) == code
    assert "256 x 129" in capsys.readouterr().err
    (annotation,) = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert annotation["predicted_iou"] == pytest.approx(0.04)
