"""osam: a model of ours among its models, for whatever runs on osam; see ``labelme``.

::

    register(sam_edge.load_model(), "sam-edge:nano")
    prompt = osam.types.Prompt(points=[[230, 150]], point_labels=[1])
    request = osam.types.GenerateRequest(model="sam-edge:nano", image=photo, prompt=prompt)
    osam.apis.generate(request).annotations[0].mask
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sam_edge.adapters import imported
from sam_edge.detections import Detection, segment_boxes
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ArgumentError, EmbeddingError, PromptError
from sam_edge.formats.records import LabelledMask
from sam_edge.image import input_shape
from sam_edge.masks.spans import spans_to_window
from sam_edge.model import Model
from sam_edge.prompts import Box, PointLabel

if TYPE_CHECKING:
    import osam

BOX = (PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT)


def register(model: Model, name: str) -> type[osam.types.Model]:
    """Let osam know a model, in this process.

    The model stays the caller's: osam downloads nothing for it and cannot remove it. Registering
    a name again replaces the model.

    Args:
        model: from ``load_model``.
        name: what ``GenerateRequest(model=...)`` calls it, of the form ``family:variant``.

    Returns:
        The class that osam makes an object of when the name is asked for.

    Raises:
        MissingDependencyError: without osam.
        ArgumentError: if the name has another form.
    """
    types, apis = imported("osam.types", "osam"), imported("osam.apis", "osam")
    if len([part for part in name.split(":") if part]) != 2 or name.count(":") != 1:
        raise ArgumentError(f"osam's names are of the form family:variant, got {name!r}")
    given, spec = model, model.spec

    class Registered(types.Model):  # type: ignore[misc, name-defined]  # imported above
        metadata = types.ModelMetadata(
            license_name=spec.source.licence, license_url="", source_url=""
        )
        _blobs: ClassVar[dict[str, osam.types.Blob]] = {}

        def __init__(self) -> None:
            """Open nothing: the model is open."""

        @classmethod
        def pull(cls, *_: object, **__: object) -> None:
            """Fetch nothing: the model is here."""

        @classmethod
        def remove(cls) -> None:
            raise ArgumentError(f"{name} is a bundle of sam-edge's; delete its folder instead")

        @classmethod
        def get_id(cls) -> str:
            return spec.source.sha256[:12]

        @classmethod
        def get_size(cls) -> int:
            return sum(graph.size_bytes for graph in spec.graphs)

        def encode_image(self, image: NDArray[np.uint8]) -> osam.types.ImageEmbedding:
            embedding = given.encode_image(image)
            first, *others = (embedding.features[tensor.name][0] for tensor in spec.embeddings)
            height, width = embedding.original_size
            return types.ImageEmbedding(
                original_height=height,
                original_width=width,
                embedding=first,
                extra_features=others,
            )

        def generate(self, request: osam.types.GenerateRequest) -> osam.types.GenerateResponse:
            encoded = request.image_embedding
            if encoded is None:
                if request.image is None:
                    raise PromptError("give osam an image, or its image_embedding")
                encoded = self.encode_image(request.image)
            masks = segment_boxes(
                given, _embedding(encoded, given), [_detection(request.prompt, name)]
            )
            annotations = [_annotation(mask, types) for mask in masks if mask.area]
            return types.GenerateResponse(
                model=name, image_embedding=encoded, annotations=annotations
            )

    Registered.name = name
    others = [kind for kind in apis.registered_model_types if kind.name != name]
    apis.registered_model_types[:] = [*others, Registered]
    apis.running_model = None  # osam asks its last model again if that has the name
    return Registered


def _embedding(encoded: osam.types.ImageEmbedding, model: Model) -> ImageEmbedding:
    """Return what ``encode_image`` above gave to osam as an embedding of the model."""
    tensors = [encoded.embedding, *encoded.extra_features]
    spec, size = model.spec, (encoded.original_height, encoded.original_width)
    if len(tensors) != len(spec.embeddings):
        raise EmbeddingError(
            f"osam's embedding has {len(tensors)} tensors, the model takes {len(spec.embeddings)}; "
            "encode the photo with this model"
        )
    return ImageEmbedding(
        features={
            entry.name: np.ascontiguousarray(tensor[None])
            for entry, tensor in zip(spec.embeddings, tensors, strict=True)
        },
        original_size=size,
        input_size=input_shape(*size, spec.image),
        photo_sha256="",  # osam keeps no such thing, and decoding does not look at it
        source_sha256=spec.source.sha256,
        image_size=spec.image_size,
        engine=model.engine,
        precision=spec.precision,
        frame=spec.image.frame,
    )


def _detection(prompt: osam.types.Prompt | None, name: str) -> Detection:
    """Return what osam was asked: points, and a box as two points with labels of their own."""
    if prompt is None or prompt.points is None:
        raise PromptError(f"{name} takes points and boxes; osam was asked with neither")
    points, labels = prompt.points.tolist(), prompt.point_labels.tolist()
    corners = {label: point for point, label in zip(points, labels, strict=True) if label in BOX}
    if len(corners) == 1 or sum(label in BOX for label in labels) > len(BOX):
        raise PromptError(f"{name} takes one box at most, whose corners have labels 2 and 3")
    rest = [index for index, label in enumerate(labels) if label not in BOX]
    return Detection(
        box=Box(*corners[BOX[0]], *corners[BOX[1]]) if corners else None,
        points=tuple((points[index][0], points[index][1]) for index in rest),
        point_labels=tuple(labels[index] for index in rest),
    )


def _annotation(mask: LabelledMask, types: Any) -> osam.types.Annotation:  # noqa: ANN401
    window, _, _ = spans_to_window(mask.spans)
    x0, y0, x1, y1 = mask.box
    return types.Annotation(
        bounding_box=types.BoundingBox(xmin=x0, ymin=y0, xmax=x1, ymax=y1),
        mask=window,
        score=mask.predicted_iou,
    )
