"""COCO: a data set of instances, as pycocotools and most training code read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from sam_edge.formats.records import LabelledMask
from sam_edge.masks import to_coco_rle


def coco_document(
    masks: list[LabelledMask],
    *,
    file_name: str,
    size: tuple[int, int],
    image_id: int | str | None = None,
) -> dict[str, Any]:
    """Return a photo's masks as a COCO data set of one photo.

    Masks are run lengths, which COCO allows for any instance: its polygons cannot say a hole.

    A mask that came from a detector's box keeps what the detector's file says: its photo's
    ``image_id``, its category, its own ``id``, its ``score`` and its ``bbox``, so that COCO's
    evaluation of the boxes gives what it gives for the detector. Other masks have the box of their
    pixels, XYWH with the last column and row as pycocotools' ``toBbox`` has it, and are scored by
    ``box_score``, or ``predicted_iou`` where no detector was; numbers that they need are those that
    no other mask has.

    Args:
        masks: of one photo; their labels become the categories.
        file_name: of the photo.
        size: ``(H, W)`` of the photo.
        image_id: the photo's number; None takes the detector's, or 1.

    Source: https://cocodataset.org/#format-data
    """
    height, width = size
    boxes = [mask.coco for mask in masks if mask.coco is not None]
    if image_id is None:
        image_id = next((box.image_id for box in boxes if box.image_id is not None), 1)
    categories = _categories(masks)
    numbers = _unused([box.annotation_id for box in boxes])
    taken: set[int | str] = set()
    annotations = []
    for mask in masks:
        x0, y0, x1, y1 = mask.box
        number, score = None, mask.box_score
        bbox: list[float] = [x0, y0, x1 - x0 + 1, y1 - y0 + 1] if mask.area else [0, 0, 0, 0]
        if mask.coco is not None:
            number, score = mask.coco.annotation_id, mask.coco.score
            bbox = bbox if mask.coco.bbox is None else list(mask.coco.bbox)
        if number is None or number in taken:
            number = next(numbers)
        taken.add(number)
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": _category(mask, categories)["id"],
                "segmentation": to_coco_rle(mask.rle),
                "area": mask.area,
                "bbox": bbox,
                "iscrowd": 0,
                "score": mask.predicted_iou if score is None else score,
                "predicted_iou": mask.predicted_iou,
                "stability_score": mask.stability_score,
            }
        )
    return {
        "info": {"description": "masks by sam-edge"},
        "licenses": [],
        "images": [{"id": image_id, "width": width, "height": height, "file_name": file_name}],
        "annotations": annotations,
        "categories": list(categories.values()),
    }


def _categories(masks: list[LabelledMask]) -> dict[int | str, Mapping[str, Any]]:
    """Return the masks' categories by id: the detector's own, and one for each other label."""
    kept = [mask.coco.category for mask in masks if mask.coco and mask.coco.category]
    categories = {category["id"]: category for category in kept}
    names = {category["name"] for category in kept}
    labels = {mask.label for mask in masks if not (mask.coco and mask.coco.category)}
    numbers = _unused(list(categories))
    for label in sorted(labels - names):
        number = next(numbers)
        categories[number] = {"id": number, "name": label, "supercategory": ""}
    return categories


def _category(
    mask: LabelledMask, categories: Mapping[int | str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    if mask.coco and mask.coco.category:
        return mask.coco.category
    return next(item for item in categories.values() if item["name"] == mask.label)


def _unused(taken: list[int | str | None]) -> Iterator[int]:
    """Count on from the largest number taken, from 1 if there is none."""
    return count(max([0, *(number for number in taken if isinstance(number, int))]) + 1)
