"""Layers of napari's own, without its window."""

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel
from napari.layers import Image, Points, Shapes

from sam_edge.adapters.napari import from_napari, to_napari
from sam_edge.detections import segment_boxes
from sam_edge.errors import PromptError
from sam_edge.formats import label_map


@pytest.fixture
def viewer():
    return ViewerModel()


def rectangle(x0, y0, x1, y1):
    """A rectangle as napari draws it: rows first, counted from the middle of the first pixel."""
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]]) - 0.5


def test_masks_lie_on_their_photo_and_the_status_bar_names_them(viewer, photo, masks):
    layer = viewer.add_image(photo, rgb=True, scale=(0.5, 0.5), translate=(7, 3))
    labels = viewer.add_layer(to_napari(layer, masks))
    np.testing.assert_array_equal(labels.data, label_map(masks, masks[0].size))
    np.testing.assert_array_equal(labels.extent.world, layer.extent.world)
    assert labels.features["label"].tolist() == ["cat", "eye"]
    row, column = np.argwhere(labels.data == 2)[0]
    status = labels.get_status(layer.data_to_world((row, column)), world=True)
    assert "eye" in status["coordinates"]


def test_what_is_drawn_becomes_the_masks_of_the_same_boxes(viewer, model, embedding, photo, masks):
    layer = viewer.add_image(photo, rgb=True)
    drawn = viewer.add_shapes(
        [rectangle(60, 20, 420, 280), rectangle(150, 60, 260, 160)], shape_type="rectangle"
    )
    again = segment_boxes(model, embedding, from_napari(layer, shapes=drawn))
    assert [mask.rle for mask in again] == [mask.rle for mask in masks]


def test_a_click_on_a_pixel_is_its_middle_and_all_clicks_are_one_object(photo):
    layer = Image(photo, rgb=True)
    (all_on,) = from_napari(layer, Points([[0, 0], [10, 20]]))
    assert all_on.points == ((0.5, 0.5), (20.5, 10.5))
    assert all_on.point_labels == (1, 1)
    told = Points([[0, 0], [10, 20]], features={"label": [1, 0]})
    assert from_napari(layer, told)[0].point_labels == (1, 0)
    assert from_napari(layer, Points(None, ndim=2)) == []


def test_places_count_where_they_lie_on_a_photo_that_was_moved(photo):
    layer = Image(photo, rgb=True, scale=(0.5, 0.25), translate=(100, 50))
    (point,) = from_napari(layer, Points([[105, 55]]))
    assert point.points == ((20.5, 10.5),)
    same = Shapes([rectangle(60, 20, 420, 280)], scale=(0.5, 0.25), translate=(100, 50))
    (box,) = from_napari(layer, shapes=same)
    assert str(box.box) == "60,20,420,280"


@pytest.mark.parametrize("shape", ["ellipse", "polygon"])
def test_a_shape_that_is_no_rectangle_is_refused(photo, shape):
    drawn = Shapes([rectangle(10, 10, 50, 50)], shape_type=shape)
    with pytest.raises(PromptError, match=shape):
        from_napari(Image(photo, rgb=True), shapes=drawn)


def test_stacks_are_refused(photo, masks):
    stack = Image(np.zeros((3, 30, 40), np.uint8))
    with pytest.raises(PromptError, match="3 axes"):
        to_napari(stack, masks)
    with pytest.raises(PromptError, match="3 axes"):
        from_napari(Image(photo, rgb=True), Points([[1, 2, 3]]))
