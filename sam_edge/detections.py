"""Prompts with names: a detector's boxes, or anything else that says what is where in a photo.

SAM is then the mask stage of YOLO, Detectron2 and the like. ``sam_edge.prompt_files`` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import PromptError, SamEdgeError
from sam_edge.fields import Skip, skipping
from sam_edge.formats.records import CocoBox, LabelledMask
from sam_edge.masks import encode_rle
from sam_edge.masks.upsample import stability_scores
from sam_edge.prompts import Box, Prompt, sparse_prompts
from sam_edge.segmenter import MEMORY_LIMIT, PromptDecoder


class DetectionError(SamEdgeError, ValueError):
    """A file of detections that cannot be read, or that says nothing about the photo."""


class UnnamedPhotoError(DetectionError):
    """A file that says nothing of a photo, which may mean that there is nothing in it."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that a file names: its box, as of a detector, or points on it, or both.

    Attributes:
        box: the prompt's box; None if there are points alone, or only what COCO says of a box that
            has no area.
        label: its category's name.
        coco: what the file says of it, to be written out again; None if none does.
        points: ``(x, y)`` of each point of the prompt.
        point_labels: one a point: 1 on the object, 0 not on it.
        score: how sure the detector is; None if it does not say.
    """

    box: Box | None
    label: str = "object"
    coco: CocoBox | None = None
    points: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[int, ...] = ()
    score: float | None = None

    @property
    def prompt(self) -> Prompt:
        """What the decoder is asked."""
        return Prompt.of(self.points, self.point_labels, self.box)


@dataclass(frozen=True, slots=True)
class PhotoPrompts:
    """What a file says of one photo, before that photo is opened.

    Attributes:
        source: the file, for messages.
        detections: in the file's order.
        size: ``(H, W)`` that the photo has, as the file says; None if it does not.
        shares: whether coordinates are shares of the photo's sides, as YOLO's are.
    """

    source: str
    detections: tuple[Detection, ...] = ()
    size: tuple[int, int] | None = None
    shares: bool = False

    def at(
        self, size: tuple[int, int] | None, name: str, *, skip: Skip | None = None
    ) -> list[Detection]:
        """Return the objects in the photo's pixels.

        Args:
            size: ``(H, W)`` of the photo; None takes what the file says for true.
            name: of the photo, for messages.
            skip: called with one line for each share that is no place in the photo and is left
                out; None raises at the first.

        Raises:
            DetectionError: if the file is of a photo of another size.
            PromptError: if a share is no place in the photo.
        """
        if size is not None and self.size not in (None, size):
            height, width = self.size or size
            raise DetectionError(
                f"{self.source} has boxes for a {name} of {width} x {height} pixels, the photo has "
                f"{size[1]} x {size[0]}; give the detector's file of this photo"
            )
        if not self.shares:
            return list(self.detections)
        known = size or self.size
        if known is None:
            raise DetectionError(f"{self.source} has shares of a photo's sides, give its size")
        found = []
        for detection in self.detections:
            with skipping(skip, PromptError):
                found.append(_scaled(detection, known))
        return found


def _scaled(detection: Detection, size: tuple[int, int]) -> Detection:
    height, width = size
    box, coco = detection.box, detection.coco
    if box is not None:
        box = Box(box.x0 * width, box.y0 * height, box.x1 * width, box.y1 * height)
        if coco is not None:
            bbox = (box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0)
            coco = replace(coco, bbox=bbox)
    points = tuple((x * width, y * height) for x, y in detection.points)
    return replace(detection, box=box, coco=coco, points=points)


def segment_boxes(
    model: PromptDecoder,
    embedding: ImageEmbedding,
    detections: Sequence[Detection],
    *,
    memory_limit: int = MEMORY_LIMIT,
    skip: Skip | None = None,
) -> list[LabelledMask]:
    """Segment the object of each prompt; the masks come in the prompts' order.

    A lone point is answered by the best-scored of three candidates, everything else by the
    model's single mask. What ``skip`` lets pass, and a detector's box without an area, has an empty
    mask if COCO's evaluation of the boxes counts it; else it has none.

    Args:
        model: what segments.
        embedding: the photo's.
        detections: its boxes, or points.
        memory_limit: in bytes, for the decoder's work; what is kept of a mask is run lengths.
        skip: called with one line for each prompt that lies outside the photo; None raises at the
            first.

    Raises:
        PromptError: if a prompt lies outside the photo.
    """
    nothing = np.zeros(embedding.original_size, np.bool_)
    prompts: dict[int, Prompt] = {}
    for index, detection in enumerate(detections):
        if detection.box is None and not detection.points:
            continue
        with skipping(skip, PromptError):
            prompt = detection.prompt
            sparse_prompts(prompt, embedding.original_size, embedding.input_size)
            prompts[index] = prompt
    masks = {
        index: _labelled(replace(detection, points=()), nothing, 0.0, 0.0)
        for index, detection in enumerate(detections)
        if index not in prompts and detection.coco is not None and detection.coco.bbox is not None
    }
    for three in (False, True):
        mine = [index for index, prompt in prompts.items() if prompt.is_lone_point == three]
        for number, result in model.decode_each(
            embedding,
            [prompts[index] for index in mine],
            multimask=three,
            memory_limit=memory_limit,
        ):
            best = int(np.argmax(result.scores))
            (stability,) = stability_scores(
                result.low_res_logits[best : best + 1],
                input_size=embedding.input_size,
                image_size=embedding.image_size,
                original_size=embedding.original_size,
                threshold=model.spec.masks.threshold,
            )
            detection = detections[mine[number]]
            masks[mine[number]] = _labelled(
                detection, result.masks[best], float(result.scores[best]), float(stability)
            )
    return [mask for _, mask in sorted(masks.items())]


def _labelled(
    detection: Detection, mask: NDArray[np.bool_], score: float, stability: float
) -> LabelledMask:
    height, width = mask.shape
    return LabelledMask(
        rle=encode_rle(mask),
        predicted_iou=score,
        stability_score=stability,
        points=[list(point) for point in detection.points],
        crop_box=[0, 0, width, height],
        label=detection.label,
        coco=detection.coco,
        box_score=detection.score,
        prompt=detection.box,
    )
