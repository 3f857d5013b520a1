"""A detector's boxes as prompts: SAM as the mask stage of YOLO, Detectron2 and the like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import PromptError, SamEdgeError
from sam_edge.files import read_json
from sam_edge.formats.records import LabelledMask
from sam_edge.masks import encode_rle
from sam_edge.masks.upsample import stability_scores
from sam_edge.model import Segmenter
from sam_edge.prompts import Box, Prompt


class DetectionError(SamEdgeError, ValueError):
    """A file of detections that cannot be read, or that says nothing about the photo."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One box of a detector."""

    box: Box
    label: str = "object"


def read_detections(path: Path, photo: Path) -> list[Detection]:
    """Read the boxes of one photo from COCO JSON.

    Both of COCO's forms are read: a data set (``images``, ``annotations``, ``categories``), whose
    photo is found by its file name, and a list of results (``image_id``, ``category_id``,
    ``bbox``, ``score``), which names no files: there ``image_id`` must be the photo's name, with
    or without leading zeros and suffix, or be the same throughout.

    Raises:
        DetectionError: if it is neither, or holds no box of the photo.
    """
    content = read_json(path)
    names: dict[Any, str] = {}
    try:
        if isinstance(content, dict):
            names = {item["id"]: item["name"] for item in content.get("categories", [])}
            wanted = {
                image["id"]
                for image in content["images"]
                if Path(image["file_name"]).name == photo.name
            }
            if not wanted and len(content["images"]) == 1:
                wanted = {content["images"][0]["id"]}
            entries = content["annotations"]
        else:
            entries = content
            ids = {entry["image_id"] for entry in entries}
            wanted = {identity for identity in ids if _names(identity, photo)}
            if not wanted and len(ids) == 1:
                wanted = ids
        mine = [entry for entry in entries if entry["image_id"] in wanted]
        detections = [_detection(entry, names) for entry in mine]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DetectionError(
            f"{path} is no COCO JSON of boxes: {type(error).__name__} {error}; expected a data "
            "set with images and annotations, or a list of image_id, category_id and bbox"
        ) from error
    if not detections:
        raise DetectionError(f"{path} has no box of {photo.name}")
    return detections


def segment_boxes(
    model: Segmenter, embedding: ImageEmbedding, detections: Sequence[Detection]
) -> list[LabelledMask]:
    """Segment the object in each box; the masks come in the boxes' order.

    Raises:
        PromptError: if a box lies outside the photo.
    """
    height, width = embedding.original_size
    results = model.decode_batch(
        embedding, [Prompt.of(box=item.box) for item in detections], multimask=False
    )
    masks = []
    for detection, result in zip(detections, results, strict=True):
        (stability,) = stability_scores(
            result.low_res_logits,
            input_size=embedding.input_size,
            image_size=embedding.image_size,
            original_size=embedding.original_size,
            threshold=model.spec.mask_threshold,
        )
        masks.append(
            LabelledMask(
                rle=encode_rle(result.masks[0]),
                predicted_iou=float(result.scores[0]),
                stability_score=float(stability),
                points=[],
                crop_box=[0, 0, width, height],
                label=detection.label,
            )
        )
    return masks


def _names(identity: object, photo: Path) -> bool:
    text = str(identity)
    if text in (photo.name, photo.stem):
        return True
    digits = "".join(filter(str.isdecimal, photo.stem))
    return text.isdecimal() and bool(digits) and int(text) == int(digits)


def _detection(entry: dict[str, Any], names: dict[Any, str]) -> Detection:
    x, y, width, height = (float(number) for number in entry["bbox"])
    category = entry.get("category_id")
    label = names.get(category, "object" if category is None else str(category))
    try:
        return Detection(Box(x, y, x + width, y + height), label)
    except PromptError as error:
        raise ValueError(f"bbox {np.round([x, y, width, height], 2).tolist()}: {error}") from error
