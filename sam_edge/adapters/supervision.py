"""supervision: masks as its ``Detections``, and a detector's ``Detections`` as prompts.

::

    boxes = from_supervision(detections)
    masks = segment_boxes(model, model.encode_image(photo), boxes)
    supervision.MaskAnnotator().annotate(photo, to_supervision(masks))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sam_edge.adapters import imported
from sam_edge.detections import Detection
from sam_edge.formats.records import LabelledMask
from sam_edge.masks import decode_rle
from sam_edge.prompts import Box

if TYPE_CHECKING:
    import supervision

CLASS_NAME = "class_name"
"""Where supervision looks for names, ``supervision.config.CLASS_NAME_DATA_FIELD``."""


def to_supervision(masks: Sequence[LabelledMask]) -> supervision.Detections:
    """Return a photo's masks as ``supervision.Detections``, in their order.

    ``xyxy`` is of the outermost foreground pixels, last column and row included, as supervision's
    own ``mask_to_xyxy`` has it. ``confidence`` is the detector's score, or the model's estimate of
    the mask where no detector was. Each label is a class, numbered by the labels' alphabet;
    ``data`` holds ``class_name``, ``predicted_iou`` and ``stability_score``.

    Args:
        masks: of one photo. Each takes a byte a pixel of the photo here.

    Raises:
        MissingDependencyError: without supervision.
    """
    sv = imported("supervision", "supervision")
    if not masks:
        return sv.Detections.empty()
    names = sorted({mask.label for mask in masks})
    scores = [m.predicted_iou if m.box_score is None else m.box_score for m in masks]
    return sv.Detections(
        xyxy=np.array([mask.box for mask in masks], np.float32),
        mask=np.stack([decode_rle(mask.rle) for mask in masks]),
        confidence=np.array(scores, np.float32),
        class_id=np.array([names.index(mask.label) for mask in masks]),
        data={
            CLASS_NAME: np.array([mask.label for mask in masks]),
            "predicted_iou": np.array([mask.predicted_iou for mask in masks], np.float32),
            "stability_score": np.array([mask.stability_score for mask in masks], np.float32),
        },
    )


def from_supervision(detections: supervision.Detections) -> list[Detection]:
    """Return the boxes of ``supervision.Detections`` as prompts, in their order.

    A label is the class's name, its number where there are no names, or ``object``.

    Args:
        detections: of one photo, of any detector that supervision reads; masks are ignored.

    Raises:
        PromptError: if a box has no area, or a corner that is no finite number.
    """
    names = detections.data.get(CLASS_NAME, detections.class_id)
    labels = ["object"] * len(detections) if names is None else [str(name) for name in names]
    scores = [None] * len(detections)
    if detections.confidence is not None:
        scores = detections.confidence.tolist()
    return [
        Detection(Box(*box), label, score=score)
        for box, label, score in zip(detections.xyxy.tolist(), labels, scores, strict=True)
    ]
