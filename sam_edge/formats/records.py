"""What every writer takes: one mask, its run lengths and what is known about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_edge.automatic import MaskRecord
from sam_edge.masks import Rle, area, encode_rle, from_coco_rle, rle_to_box
from sam_edge.masks.spans import Spans, rle_to_spans
from sam_edge.prompts import Box


@dataclass(frozen=True, slots=True, eq=False)
class CocoBox:
    """What a detector's file says of a box, kept for the file that is written of its mask.

    Attributes:
        image_id: of the photo; None if the file has no numbers for photos.
        bbox: XYWH in pixels, the detector's own numbers; None if it gave points alone.
        category: with its ``id``, ``name`` and whatever else the file has; None if it has none.
        annotation_id: its ``id``; None if it has none, as results have none.
        score: the detector's; None if it has none.
    """

    image_id: int | str | None
    bbox: tuple[float, float, float, float] | None
    category: Mapping[str, Any] | None = None
    annotation_id: int | str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelledMask:
    """One mask of one photo.

    Attributes:
        rle: the mask.
        predicted_iou: the model's own estimate of its quality.
        stability_score: how little it changes when its threshold moves, in [0, 1].
        points: ``[[x, y], ...]``: the clicks that gave it; empty if a box did.
        crop_box: XYWH of the part of the photo it was found in.
        label: what it shows.
        coco: what the file of a detector says of its box; None if it came from points.
        box_score: how sure a detector is of its box; None if none was.
        prompt: the box that it is the mask of; None if it came from points.
    """

    rle: Rle
    predicted_iou: float
    stability_score: float
    points: list[list[float]]
    crop_box: list[int]
    label: str = "object"
    coco: CocoBox | None = None
    box_score: float | None = None
    prompt: Box | None = None

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the photo."""
        height, width = self.rle["size"]
        return height, width

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return area(self.rle)

    @property
    def spans(self) -> Spans:
        """The mask column by column."""
        return rle_to_spans(self.rle)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """XYXY of the outermost foreground pixels."""
        return rle_to_box(self.rle)


def labelled(records: Iterable[MaskRecord], label: str = "object") -> list[LabelledMask]:
    """Take over what ``SamAutomaticMaskGenerator.generate`` found, in any output mode."""
    masks = []
    for record in records:
        segmentation = record["segmentation"]
        if isinstance(segmentation, np.ndarray):
            rle = encode_rle(segmentation)
        elif isinstance(segmentation["counts"], str):
            rle = from_coco_rle({"size": segmentation["size"], "counts": segmentation["counts"]})
        else:
            rle = {"size": segmentation["size"], "counts": segmentation["counts"]}
        masks.append(
            LabelledMask(
                rle=rle,
                predicted_iou=record["predicted_iou"],
                stability_score=record["stability_score"],
                points=record["point_coords"],
                crop_box=record["crop_box"],
                label=label,
            )
        )
    return masks


def largest_first(masks: list[LabelledMask]) -> list[int]:
    """Return the masks' indices in the order to draw them: small ones end on top."""
    return sorted(range(len(masks)), key=lambda index: -masks[index].area)
