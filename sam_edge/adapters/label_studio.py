"""Label Studio: an ML backend that answers smart clicks and boxes with a mask or polygons.

::

    from label_studio_ml.api import init_app
    app = init_app(model_class=backend(sam_edge.load_model()))
    app.run(port=9090)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from inspect import signature
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from sam_edge.adapters import imported
from sam_edge.detections import Detection, segment_boxes
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ArgumentError, PromptError
from sam_edge.formats.labelme import labelme_document
from sam_edge.formats.records import LabelledMask
from sam_edge.masks import Mask, decode_rle
from sam_edge.model import Model
from sam_edge.prompts import Box

if TYPE_CHECKING:
    from label_studio_ml.model import LabelStudioMLBase

ANSWERS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
"""The tags that a mask can be, and what a result calls its labels."""

PHOTOS = 8
"""Embeddings that are kept, so that a photo is encoded at its first click alone."""


def backend(model: Model) -> type[LabelStudioMLBase]:
    """Return the class that ``label_studio_ml`` serves.

    What a person sends while a smart tool is on (a ``KeyPoint``, several of them, a ``Rectangle``)
    is one prompt. The answer is of the first ``BrushLabels`` or ``PolygonLabels`` tag that the
    labelling interface has for that photo, under the label that the prompt has. Tasks without a
    prompt are answered by nothing.

    Args:
        model: from ``load_model``.

    Raises:
        MissingDependencyError: without ``label_studio_ml``.
    """
    base = imported("label_studio_ml.model", "label-studio-ml redis rq").LabelStudioMLBase
    takes_task = "task_id" in signature(base.get_local_path).parameters  # from its version 2 on

    @lru_cache(PHOTOS)
    def encoded(path: str, changed: int) -> ImageEmbedding:
        return model.encode_image(path)

    class Backend(base):  # type: ignore[misc, valid-type]  # imported above
        def predict(
            self,
            tasks: Sequence[Mapping[str, Any]],
            context: Mapping[str, Any] | None = None,
            **_: object,
        ) -> list[dict[str, Any]]:
            given = (context or {}).get("result")
            if not given:
                return []
            tag, kind, value = answering_tag(self.parsed_label_config, given[0]["to_name"])
            task = tasks[0]
            place = {"task_id": task.get("id")} if takes_task else {}
            path = self.get_local_path(task["data"][value], **place)
            embedding = encoded(path, os.stat(path).st_mtime_ns)
            detection = prompted(given, embedding.original_size)
            (mask,) = segment_boxes(model, embedding, [detection])
            regions = results(mask, tag, given[0]["to_name"], kind)
            return [
                {
                    "result": regions,
                    "score": mask.predicted_iou,
                    "model_version": f"sam-edge {model.spec.variant}",
                }
            ]

    return Backend


def answering_tag(config: Mapping[str, Any], photo: str) -> tuple[str, str, str]:
    """Find the tag that a mask is an answer of.

    Args:
        config: a labelling interface, as Label Studio's ``parse_config`` gives it.
        photo: the name of the ``Image`` tag that the prompt is on.

    Returns:
        The tag's name, one of ``ANSWERS``, and the key of a task's data that names the photo.

    Raises:
        ArgumentError: if there is none.
    """
    for name, tag in config.items():
        if tag["type"] in ANSWERS and photo in tag["to_name"]:
            return name, tag["type"], tag["inputs"][0]["value"]
    raise ArgumentError(
        f"the labelling interface has no BrushLabels or PolygonLabels for the image {photo!r}; "
        "add one: a mask needs a tag that it can be an answer of"
    )


def prompted(given: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Detection:
    """Return the regions that a person has drawn with smart tools as one prompt.

    Args:
        given: ``context["result"]``; places are percentages of the photo.
        size: ``(H, W)`` of the photo.

    Raises:
        PromptError: if one is neither a point nor a rectangle, or there are two rectangles.
    """
    height, width = size
    points, labels, box, label = [], [], None, "object"
    for region in given:
        value, kind = region["value"], region["type"]
        named = value.get(kind) or value.get("labels") or []
        label = named[0] if named else label
        x, y = value["x"] * width / 100, value["y"] * height / 100
        if kind.startswith("keypoint"):
            points.append((x, y))
            labels.append(int(region.get("is_positive", True)))
        elif kind.startswith("rectangle") and box is None and not value.get("rotation"):
            box = Box(x, y, x + value["width"] * width / 100, y + value["height"] * height / 100)
        else:
            raise PromptError(f"a prompt is points and one upright rectangle, got a {kind} more")
    return Detection(box, label, points=tuple(points), point_labels=tuple(labels))


def results(mask: LabelledMask, tag: str, photo: str, kind: str) -> list[dict[str, Any]]:
    """Return a mask as regions of Label Studio: one of the brush, or a polygon a part.

    Polygons are those of ``labelme_document``: holes are joined to the outline by a slit.

    Args:
        mask: the mask.
        tag: the name of the tag that it is an answer of.
        photo: the name of the photo's tag.
        kind: one of ``ANSWERS``.
    """
    height, width = mask.size
    values: list[dict[str, Any]] = []
    if kind == "BrushLabels":
        values.append({"format": "rle", "rle": brush_rle(decode_rle(mask.rle))})
    elif mask.area:
        shapes = labelme_document([mask], file_name="", size=mask.size)["shapes"]
        share = np.array([width, height]) / 100
        values += [{"points": (np.array(s["points"]) / share).tolist()} for s in shapes]
    labels = ANSWERS[kind]
    return [
        {
            "id": uuid4().hex[:10],
            "from_name": tag,
            "to_name": photo,
            "type": labels,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": mask.predicted_iou,
            "value": {**value, labels: [mask.label]},
        }
        for value in values
    ]


def brush_rle(mask: Mask) -> list[int]:
    """Spell a mask as Label Studio's brush does: run lengths of RGBA bytes, bit by bit.

    A head of 32 bits (how many bytes), 5 (a byte has 8 bits) and four times 4 (run lengths take
    3, 4, 8 or 16 bits) is followed by the runs: a bit for "run", two for "of 16 bits", the length
    less one, and the byte.

    Source: https://github.com/thi-ng/umbrella/blob/develop/packages/rle-pack/src/index.ts

    >>> len(brush_rle(np.zeros((2, 2), np.bool_)))
    10
    """
    pixels = mask.ravel()
    ends = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1, pixels.size)
    lengths = 4 * np.diff(ends, prepend=0)
    pieces = (lengths + _LONGEST_RUN - 1) // _LONGEST_RUN
    run = np.repeat(np.arange(len(lengths)), pieces)
    number = np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    length = np.minimum(lengths[run] - number * _LONGEST_RUN, _LONGEST_RUN)
    words = (0b111 << 24) | ((length - 1) << 8) | np.where(pixels[ends[run] - 1], 255, 0)
    bits = np.unpackbits(words.astype(">u4").view(np.uint8)).reshape(-1, 32)[:, 5:]
    head = f"{4 * pixels.size:032b}{8 - 1:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    spelled: list[int] = np.packbits(np.append([*map(int, head)], bits.ravel())).tolist()
    return spelled


_LONGEST_RUN = 2**16
