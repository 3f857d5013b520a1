"""What words name in a photo: a grounder's boxes, and the model's masks in them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from functools import partial
from typing import Any

from sam_edge.detections import Detection, segment_boxes
from sam_edge.fields import is_number
from sam_edge.formats.records import LabelledMask
from sam_edge.grounding.grounder import Candidates, Grounder
from sam_edge.grounding.phrases import checked_phrases
from sam_edge.grounding.selection import DUPLICATE_IOU, NMS_IOU, Selection, without_duplicates
from sam_edge.image import read_image
from sam_edge.masks import to_coco_rle
from sam_edge.model import Model
from sam_edge.server.answers import Emit
from sam_edge.server.body import flag
from sam_edge.server.encoding import Encoder, Target
from sam_edge.server.lane import Lane
from sam_edge.server.refusals import BadRequestError, NotFoundError
from sam_edge.text import shown

FIELDS = ("phrases", "exclude", "threshold", "top_k", "nms_iou", "best_phrase", "duplicate_iou")

MOST_PHRASES = 100
"""Of a request: each may cost a run of the text tower."""

KEPT = 16
"""Photos whose candidates are kept, 7.5 MB each of OWLv2's: words are then cheap."""

AT_ONCE = 8
"""Boxes after which somebody else's hover gets its turn at the decoder."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for.

    Attributes:
        phrases: what is wanted.
        exclude: what must not match.
        selection: which boxes are kept.
        duplicate_iou: masks that overlap by more are one object.
    """

    phrases: tuple[str, ...]
    exclude: tuple[str, ...]
    selection: Selection
    duplicate_iou: float


class Words:
    """Looks at photos in a lane of its own; encoding and decoding take their turns in theirs.

    Args:
        grounder: finds; None if the server was started without one.
        model: makes masks.
        encoder: of the model.
        lane: for the grounder.
        decodes: for the model's decodes.
    """

    def __init__(
        self, grounder: Grounder | None, model: Model, encoder: Encoder, lane: Lane, decodes: Lane
    ) -> None:
        self._grounder, self._model, self._encoder = grounder, model, encoder
        self._lane, self._decodes = lane, decodes
        self._seen: OrderedDict[Target, Candidates] = OrderedDict()

    def record(self) -> dict[str, Any] | None:
        """Return what ``/v1/models`` says of the grounder."""
        if self._grounder is None:
            return None
        spec = self._grounder.spec
        return {
            "variant": spec.variant,
            "precision": spec.precision,
            "engine": self._grounder.engine,
            "compute": self._grounder.compute.name,
            "threshold": spec.threshold,
            "tokens": spec.tokenizer.length,
            "source": asdict(spec.source),
        }

    def question(self, content: Mapping[str, Any]) -> Question:
        """Check what is asked.

        Raises:
            NotFoundError: if there is no grounder.
            PromptError, ArgumentError, BadRequestError: if it cannot be meant.
        """
        phrases = checked_phrases(_texts(content, "phrases"))
        exclude = _texts(content, "exclude") if content.get("exclude") else []
        numbers = {
            name: content[name]
            for name in ("threshold", "top_k", "nms_iou", "duplicate_iou")
            if content.get(name) is not None
        }
        for name, value in numbers.items():
            if not is_number(value) or (name == "top_k" and type(value) is not int):
                raise BadRequestError(f"{name} is a number, got {shown(value)}")
        selection = Selection(
            numbers.get("threshold", self._open().spec.threshold),
            numbers.get("top_k"),
            numbers.get("nms_iou", NMS_IOU),
            flag(dict(content), "best_phrase"),
        )
        duplicate_iou = numbers.get("duplicate_iou", DUPLICATE_IOU)
        without_duplicates([], [], duplicate_iou)  # says what is wrong with it
        return Question(tuple(phrases), tuple(exclude), selection, duplicate_iou)

    async def find(
        self, target: Target, question: Question, client: str | None, emit: Emit
    ) -> dict[str, Any]:
        """Find what words name. Cancelled, it stops before the next decoder call.

        Args:
            target: the photo.
            question: from ``question``.
            client: as for ``Encoder.encode``.
            emit: is told how far it is.
        """
        emit({"event": "queued", "position": self._lane.ahead})
        detections, size = await self._lane.run(lambda: self._detect(target, question))
        emit({"event": "found", "boxes": len(detections)})
        masks: list[LabelledMask] = []
        if detections:
            held = await self._encoder.encode(target, client, emit)
            for start in range(0, len(detections), AT_ONCE):
                group = detections[start : start + AT_ONCE]
                masks += await self._decodes.run(
                    partial(segment_boxes, self._model, held.embedding, group)
                )
        return await asyncio.to_thread(_answer, masks, size, question.duplicate_iou)

    def _open(self) -> Grounder:
        if self._grounder is None:
            raise NotFoundError(
                "this server finds no words; start it with: sam-edge serve --grounder NAME"
            )
        return self._grounder

    def _detect(
        self, target: Target, question: Question
    ) -> tuple[list[Detection], tuple[int, int]]:
        """Runs in the lane's thread, which alone touches what was seen."""
        grounder = self._open()
        grounder.encode_phrases([*question.phrases, *question.exclude])
        seen = self._seen.pop(target, None)
        if seen is None:
            seen = grounder.encode_image(read_image(target.path))
        self._seen[target] = seen
        if len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        found = grounder.ground(
            seen, question.phrases, exclude=question.exclude, **asdict(question.selection)
        )
        return found, seen.original_size


def _answer(
    masks: list[LabelledMask], size: tuple[int, int], duplicate_iou: float
) -> dict[str, Any]:
    scores = [mask.box_score or 0.0 for mask in masks]
    kept = without_duplicates([mask.rle for mask in masks], scores, duplicate_iou)
    return {"masks": [_record(masks[index]) for index in kept], "size": list(size)}


def _record(mask: LabelledMask) -> dict[str, Any]:
    return {
        "label": mask.label,
        "box_score": mask.box_score,
        "prompt": None if mask.prompt is None else list(astuple(mask.prompt)),
        "rle": to_coco_rle(mask.rle),
        "score": mask.predicted_iou,
        "stability": mask.stability_score,
        "area": mask.area,
        "box": list(mask.box),
    }


def _texts(content: Mapping[str, Any], name: str) -> list[str]:
    value = content.get(name)
    if not isinstance(value, list) or not 0 < len(value) <= MOST_PHRASES:
        raise BadRequestError(f"{name} is a list of 1 to {MOST_PHRASES} texts, got {shown(value)}")
    return value
