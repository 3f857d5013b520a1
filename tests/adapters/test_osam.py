"""A model of ours among osam's, asked as osam's users ask."""

import json

import numpy as np
import pytest

pytest.importorskip("osam")
import osam

from sam_edge.adapters.osam import register
from sam_edge.detections import Detection, segment_boxes
from sam_edge.errors import ArgumentError, PromptError
from sam_edge.masks import decode_rle

NAME = "sam-edge:nano"


@pytest.fixture
def known(model):
    before = list(osam.apis.registered_model_types)
    kind = register(model, NAME)
    yield kind
    osam.apis.registered_model_types[:] = before


def ask(photo, points, labels, **given):
    prompt = osam.types.Prompt(points=points, point_labels=labels)
    request = osam.types.GenerateRequest(model=NAME, image=photo, prompt=prompt, **given)
    return osam.apis.generate(request)


def on_photo(annotation, size):
    mask, box = np.zeros(size, np.bool_), annotation.bounding_box
    mask[box.ymin : box.ymax + 1, box.xmin : box.xmax + 1] = annotation.mask
    return mask


def test_points_and_boxes_give_the_masks_that_sam_edge_gives(known, model, embedding, photo, masks):
    box = ask(photo, [[60, 20], [420, 280]], [2, 3]).annotations
    np.testing.assert_array_equal(
        on_photo(box[0], embedding.original_size), decode_rle(masks[0].rle)
    )
    assert box[0].score == masks[0].predicted_iou
    clicks = Detection(None, points=((230, 150), (30, 30)), point_labels=(1, 0))
    (mask,) = segment_boxes(model, embedding, [clicks])
    (clicked,) = ask(photo, [[230, 150], [30, 30]], [1, 0]).annotations
    np.testing.assert_array_equal(on_photo(clicked, embedding.original_size), decode_rle(mask.rle))


def test_an_embedding_that_went_through_json_needs_no_photo(known, photo):
    first = ask(photo, [[230, 150]], [1])
    text = json.loads(first.image_embedding.model_dump_json())
    again = ask(None, [[230, 150]], [1], image_embedding=osam.types.ImageEmbedding(**text))
    np.testing.assert_array_equal(first.annotations[0].mask, again.annotations[0].mask)


def test_a_name_that_is_registered_again_is_the_new_model(known, model, photo):
    ask(photo, [[230, 150]], [1])
    running = osam.apis.running_model
    register(model, NAME)
    assert [kind.name for kind in osam.apis.registered_model_types].count(NAME) == 1
    ask(photo, [[230, 150]], [1])
    assert osam.apis.running_model is not running


def test_osam_lists_it_as_here_and_neither_fetches_nor_removes_it(known, model):
    assert osam.apis.get_model_metadata(NAME).license_name == model.spec.source.licence
    assert known.get_size() > 1e6
    known.pull()
    with pytest.raises(ArgumentError, match="delete its folder"):
        known.remove()


def test_what_it_cannot_be_asked_is_said(known, photo, model):
    texts = osam.types.Prompt(texts=["cat"])
    request = osam.types.GenerateRequest(model=NAME, image=photo, prompt=texts)
    with pytest.raises(PromptError, match="points and boxes"):
        osam.apis.generate(request)
    with pytest.raises(PromptError, match="one box"):
        ask(photo, [[60, 20]], [2])
    with pytest.raises(PromptError, match="one box"):
        ask(photo, [[1, 2], [3, 4], [5, 6], [7, 8]], [2, 3, 2, 3])
    with pytest.raises(PromptError, match="image"):
        ask(None, [[60, 20]], [1])
    with pytest.raises(ArgumentError, match="family:variant"):
        register(model, "nano")
