"""Masks through supervision's own code, and its boxes through ours."""

import numpy as np
import pytest

pytest.importorskip("supervision")
import supervision as sv

from sam_edge.adapters.supervision import CLASS_NAME, from_supervision, to_supervision
from sam_edge.detections import segment_boxes
from sam_edge.errors import PromptError
from sam_edge.masks import decode_rle


def test_masks_boxes_names_and_scores_are_what_they_were(masks):
    detections = to_supervision(masks)
    assert len(detections) == 2
    for seen, mask in zip(detections.mask, masks, strict=True):
        np.testing.assert_array_equal(seen, decode_rle(mask.rle))
    np.testing.assert_array_equal(detections.xyxy, sv.mask_to_xyxy(detections.mask))
    assert detections.data[CLASS_NAME].tolist() == ["cat", "eye"]
    assert detections.class_id.tolist() == [0, 1]
    scores = [0.75, masks[1].predicted_iou]  # no detector found the eye
    np.testing.assert_allclose(detections.confidence, scores, rtol=1e-6)
    assert CLASS_NAME == sv.config.CLASS_NAME_DATA_FIELD


def test_supervision_filters_and_draws_them(masks, photo):
    detections = to_supervision(masks)
    (name,) = detections[detections.confidence == detections.confidence.max()].data[CLASS_NAME]
    assert name == ("cat" if masks[1].predicted_iou < 0.75 else "eye")
    before = np.ascontiguousarray(photo)
    drawn = sv.MaskAnnotator(color_lookup=sv.ColorLookup.INDEX).annotate(before.copy(), detections)
    changed = (drawn != before).any(axis=2)
    assert changed.any()
    assert not changed[~detections.mask.any(axis=0)].any()


def test_no_masks_are_no_detections():
    assert len(to_supervision([])) == 0
    assert from_supervision(sv.Detections.empty()) == []


def test_a_detectors_boxes_become_masks_of_the_same_names(model, embedding, masks):
    found = sv.Detections(
        xyxy=np.array([[60, 20, 420, 280], [150, 60, 260, 160]], np.float32),
        confidence=np.array([0.75, 0.5], np.float32),
        class_id=np.array([7, 9]),
        data={CLASS_NAME: np.array(["cat", "eye"])},
    )
    boxes = from_supervision(found)
    assert [(box.label, box.score) for box in boxes] == [("cat", 0.75), ("eye", 0.5)]
    again = segment_boxes(model, embedding, boxes)
    assert [mask.rle for mask in again] == [mask.rle for mask in masks]


def test_without_names_or_scores_there_is_something_to_show():
    box = np.array([[1, 2, 3, 4]], np.float32)
    (bare,) = from_supervision(sv.Detections(xyxy=box))
    assert (bare.label, bare.score) == ("object", None)
    (numbered,) = from_supervision(sv.Detections(xyxy=box, class_id=np.array([7])))
    assert numbered.label == "7"


def test_a_box_without_an_area_is_refused():
    with pytest.raises(PromptError, match="x0 < x1"):
        from_supervision(sv.Detections(xyxy=np.array([[3, 2, 3, 4]], np.float32)))
