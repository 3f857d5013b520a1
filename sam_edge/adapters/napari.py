"""napari: masks as a Labels layer; what is drawn in Points and Shapes layers as prompts.

::

    photo = viewer.add_image(pixels)
    prompts = from_napari(photo, viewer.layers["Points"], viewer.layers["Shapes"])
    masks = segment_boxes(model, model.encode_image(pixels), prompts)
    viewer.add_layer(to_napari(photo, masks))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.adapters import imported
from sam_edge.detections import Detection
from sam_edge.errors import PromptError
from sam_edge.formats.label_map import label_map
from sam_edge.formats.records import LabelledMask
from sam_edge.prompts import Box

if TYPE_CHECKING:
    import napari

CORNER = 0.5
"""napari counts pixels from the middle of the first, sam-edge from its corner."""


def to_napari(photo: napari.layers.Image, masks: Sequence[LabelledMask]) -> napari.layers.Labels:
    """Return a photo's masks as a Labels layer that lies on the photo's layer.

    Label ``n`` is the mask ``n - 1``; where masks overlap, the smaller one is seen. ``features``
    has a row a mask: ``index`` (its label), ``label``, ``predicted_iou``, ``stability_score`` and
    ``area`` in pixels.

    Args:
        photo: the layer of the photo, two-dimensional, of one scale.
        masks: of that photo.

    Raises:
        MissingDependencyError: without napari.
        MaskError: if a mask has another size than the photo, or there are more than 65,535.
        PromptError: if the photo's layer is a stack or a pyramid.
    """
    layers = imported("napari.layers", "napari")
    return layers.Labels(
        label_map(list(masks), _size(photo)),
        name="sam-edge",
        affine=photo.affine,
        rotate=photo.rotate,
        scale=photo.scale,
        shear=photo.shear,
        translate=photo.translate,
        features={
            "index": range(1, len(masks) + 1),
            "label": [mask.label for mask in masks],
            "predicted_iou": [mask.predicted_iou for mask in masks],
            "stability_score": [mask.stability_score for mask in masks],
            "area": [mask.area for mask in masks],
        },
    )


def from_napari(
    photo: napari.layers.Image,
    points: napari.layers.Points | None = None,
    shapes: napari.layers.Shapes | None = None,
) -> list[Detection]:
    """Return what is drawn on a photo as prompts: all points one object, each rectangle another.

    Layers may have scales and places of their own: what counts is where they lie on the photo.

    Args:
        photo: the layer of the photo, two-dimensional, of one scale.
        points: on one object, or beside it where ``features["label"]`` is 0.
        shapes: rectangles; one that is rotated is taken for the box around it.

    Returns:
        The points' object first, then the rectangles' in their order.

    Raises:
        PromptError: if a shape is no rectangle, a layer has other axes than the photo, or the
            photo's layer is a stack or a pyramid.
    """
    _size(photo)
    found = []
    if points is not None and len(points.data):
        labels = points.features.get("label", np.ones(len(points.data)))
        found.append(
            Detection(
                box=None,
                points=tuple((x, y) for x, y in _on(photo, points, points.data).tolist()),
                point_labels=tuple(int(label) for label in labels),
            )
        )
    if shapes is not None:
        for kind, corners in zip(shapes.shape_type, shapes.data, strict=True):
            if kind != "rectangle":
                raise PromptError(f"a box prompt is a rectangle, the layer {shapes} has a {kind}")
            placed = _on(photo, shapes, corners)
            found.append(Detection(Box(*placed.min(axis=0), *placed.max(axis=0))))
    return found


def _size(photo: napari.layers.Image) -> tuple[int, int]:
    """Return a photo's ``(H, W)``, once its layer is one that a mask can lie on."""
    if photo.multiscale or photo.ndim != 2:
        raise PromptError(
            f"the layer {photo} has {photo.ndim} axes{' and scales' * bool(photo.multiscale)}; "
            "give a photo of two axes and one scale, such as a slice of a stack"
        )
    height, width = photo.data.shape[:2]
    return height, width


def _on(photo: napari.layers.Image, layer: Any, places: Any) -> NDArray[np.float64]:  # noqa: ANN401
    """Return places of a layer, row and column, as x and y in the photo's pixels."""
    if layer.ndim != photo.ndim:
        raise PromptError(f"the layer {layer} has {layer.ndim} axes, its photo has {photo.ndim}")
    moved = [photo.world_to_data(layer.data_to_world(place)) for place in places]
    return np.array(moved, np.float64)[:, ::-1] + CORNER
