"""COCO: a data set of instances, as pycocotools and most training code read it."""

from __future__ import annotations

from typing import Any

from sam_edge.formats.records import LabelledMask
from sam_edge.masks import to_coco_rle


def coco_document(
    masks: list[LabelledMask], *, file_name: str, size: tuple[int, int], image_id: int = 1
) -> dict[str, Any]:
    """Return a photo's masks as a COCO data set of one photo.

    Masks are run lengths, which COCO allows for any instance: its polygons cannot say a hole.
    Boxes are XYWH and hold the mask's last column and row, as pycocotools' ``toBbox`` does.

    Args:
        masks: of one photo; their labels become the categories.
        file_name: of the photo.
        size: ``(H, W)`` of the photo.
        image_id: the photo's number.

    Source: https://cocodataset.org/#format-data
    """
    height, width = size
    names = sorted({mask.label for mask in masks})
    category_ids = {name: number for number, name in enumerate(names, start=1)}
    annotations = []
    for number, mask in enumerate(masks, start=1):
        x0, y0, x1, y1 = mask.box
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_ids[mask.label],
                "segmentation": to_coco_rle(mask.rle),
                "area": mask.area,
                "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1] if mask.area else [0, 0, 0, 0],
                "iscrowd": 0,
                "score": mask.predicted_iou,
            }
        )
    return {
        "info": {"description": "masks by sam-edge"},
        "licenses": [],
        "images": [{"id": image_id, "width": width, "height": height, "file_name": file_name}],
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": ""}
            for name, number in category_ids.items()
        ],
    }
