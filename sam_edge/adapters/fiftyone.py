"""FiftyOne: masks as a sample's ``Detections``, and its boxes as prompts.

::

    embedding = model.encode_image(sample.filepath)
    boxes = from_fiftyone(sample["detector"], embedding.original_size)
    sample["sam_edge"] = to_fiftyone(segment_boxes(model, embedding, boxes))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sam_edge.adapters import imported
from sam_edge.detections import Detection
from sam_edge.formats.records import LabelledMask
from sam_edge.masks.spans import spans_to_window
from sam_edge.prompts import Box

if TYPE_CHECKING:
    import fiftyone


def to_fiftyone(masks: Sequence[LabelledMask]) -> fiftyone.Detections:
    """Return a photo's masks as ``fiftyone.Detections``, in their order.

    A mask is cut to its box, whose corners lie on the edges of pixels, so that FiftyOne draws the
    same pixels. ``confidence`` is the detector's score, or the model's estimate of the mask where
    no detector was; ``predicted_iou`` and ``stability_score`` are attributes.

    Args:
        masks: of one photo; those that are empty are left out.

    Raises:
        MissingDependencyError: without FiftyOne.
    """
    fo = imported("fiftyone", "fiftyone")
    found = []
    for mask in masks:
        if not mask.area:
            continue
        height, width = mask.size
        window, top, left = spans_to_window(mask.spans)
        rows, columns = window.shape
        found.append(
            fo.Detection(
                label=mask.label,
                bounding_box=[left / width, top / height, columns / width, rows / height],
                mask=window,
                confidence=mask.predicted_iou if mask.box_score is None else mask.box_score,
                predicted_iou=mask.predicted_iou,
                stability_score=mask.stability_score,
            )
        )
    return fo.Detections(detections=found)


def from_fiftyone(detections: fiftyone.Detections, size: tuple[int, int]) -> list[Detection]:
    """Return the boxes of ``fiftyone.Detections`` as prompts, in their order.

    Args:
        detections: of one photo; masks are ignored.
        size: ``(H, W)`` of the photo, as ``ImageEmbedding.original_size`` has it: FiftyOne's boxes
            are shares of it.

    Raises:
        PromptError: if a box has no area, or a corner that is no finite number.
    """
    height, width = size
    found = []
    for entry in detections.detections:
        x, y, w, h = entry.bounding_box
        box = Box(x * width, y * height, (x + w) * width, (y + h) * height)
        found.append(Detection(box, entry.label or "object", score=entry.confidence))
    return found
