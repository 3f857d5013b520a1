"""Masks in FiftyOne's samples and back out of its own drawing. No database is needed for that."""

import numpy as np
import pytest

pytest.importorskip("fiftyone")
import fiftyone as fo

from sam_edge.adapters.fiftyone import from_fiftyone, to_fiftyone
from sam_edge.detections import segment_boxes
from sam_edge.masks import decode_rle


def test_fiftyone_draws_the_same_pixels(masks, path):
    sample = fo.Sample(filepath=str(path))
    sample["sam_edge"] = to_fiftyone(masks)
    height, width = masks[0].size
    for detection, mask in zip(sample["sam_edge"].detections, masks, strict=True):
        drawn = detection.to_segmentation(frame_size=(width, height)).mask
        np.testing.assert_array_equal(drawn == 255, decode_rle(mask.rle))


def test_a_mask_has_the_box_that_fiftyone_gives_it(masks):
    for detection, mask in zip(to_fiftyone(masks).detections, masks, strict=True):
        theirs = fo.Detection.from_mask(decode_rle(mask.rle))
        np.testing.assert_allclose(detection.bounding_box, theirs.bounding_box)
        np.testing.assert_array_equal(detection.mask, theirs.mask)


def test_names_and_scores_are_kept(masks):
    cat, eye = to_fiftyone(masks).detections
    assert (cat.label, cat.confidence) == ("cat", 0.75)
    assert (eye.label, eye.confidence) == ("eye", masks[1].predicted_iou)
    assert cat.predicted_iou == masks[0].predicted_iou
    assert cat.stability_score == masks[0].stability_score


def test_a_samples_boxes_become_masks(model, embedding, masks):
    height, width = embedding.original_size
    box = [60 / width, 20 / height, 360 / width, 260 / height]
    boxes = fo.Detections(
        detections=[
            fo.Detection(label="cat", bounding_box=box, confidence=0.75),
            fo.Detection(bounding_box=[0.1, 0.1, 0.2, 0.2]),
        ]
    )
    cat, bare = from_fiftyone(boxes, embedding.original_size)
    assert (cat.label, cat.score, bare.label, bare.score) == ("cat", 0.75, "object", None)
    (again,) = segment_boxes(model, embedding, [cat])
    assert again.rle == masks[0].rle
