"""The JSON of the SA-1B release: one file a photo."""

from __future__ import annotations

from typing import Any

from sam_edge.formats.records import LabelledMask
from sam_edge.masks import to_coco_rle


def sa1b_document(
    masks: list[LabelledMask], *, file_name: str, size: tuple[int, int], image_id: int = 0
) -> dict[str, Any]:
    """Return a photo's masks with exactly the fields of the SA-1B release.

    Boxes are XYWH and reach from the first to the last column and row, as in the release.

    Args:
        masks: of one photo.
        file_name: of the photo.
        size: ``(H, W)`` of the photo.
        image_id: the photo's number.

    Source: the format section of the ``segment-anything`` README.
    """
    height, width = size
    annotations = []
    for number, mask in enumerate(masks):
        x0, y0, x1, y1 = mask.box
        annotations.append(
            {
                "id": number,
                "segmentation": to_coco_rle(mask.rle),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": mask.area,
                "predicted_iou": mask.predicted_iou,
                "stability_score": mask.stability_score,
                "crop_box": mask.crop_box,
                "point_coords": mask.points,
            }
        )
    return {
        "image": {"image_id": image_id, "width": width, "height": height, "file_name": file_name},
        "annotations": annotations,
    }
