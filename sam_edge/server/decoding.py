"""Prompts in, masks or logits out; the same masks as ``sam-edge segment``."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.fields import is_number
from sam_edge.masks import (
    Mask,
    area,
    decode_rle,
    from_coco_rle,
    rle_to_box,
    to_coco_rle,
    upsample_masks,
)
from sam_edge.masks.boxes import boxed_rle
from sam_edge.model import Model
from sam_edge.prompts import Prompt, check_mask_size, mask_logits, sparse_prompts
from sam_edge.server.body import flag, only, word
from sam_edge.server.embeddings import Held
from sam_edge.server.refusals import BadRequestError
from sam_edge.text import shown

PROMPT_FIELDS = ("points", "labels", "box", "mask")
DTYPES = ("float16", "float32")


@dataclass(frozen=True, slots=True, eq=False)
class Decode:
    """One question to the decoder.

    Attributes:
        prompt: in the pixels of the part that was encoded.
        three: whether the candidates are asked for, or the single answer.
        only_best: whether one mask is enough.
    """

    prompt: Prompt
    three: bool
    only_best: bool

    @classmethod
    def of(
        cls, content: Mapping[str, Any], held: Held, multimask: bool | None, only_best: bool
    ) -> Decode:
        """Read the fields of a prompt.

        Raises:
            BadRequestError, PromptError: if it cannot be meant for the photo.
        """
        prompt = _prompt(content, held)
        three = prompt.is_lone_point if multimask is None else multimask
        return cls(prompt, three, only_best)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What the decoder answered.

    Attributes:
        logits: ``(M, L, L)`` float32.
        scores: ``(M,)`` float32.
        outputs: which of the decoder's outputs these are.
        decode_ms: what the decoder took.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    outputs: list[int]
    decode_ms: float

    def facts(self) -> dict[str, Any]:
        """Return what every answer says beside its masks."""
        return {
            "best": int(np.argmax(self.scores)),
            "candidates": self.outputs,
            "decode_ms": round(self.decode_ms, 2),
        }


def multimask_of(content: Mapping[str, Any]) -> bool | None:
    """Return the field ``multimask``."""
    value = content.get("multimask")
    if value is not None and type(value) is not bool:
        raise BadRequestError(f"multimask is true, false or null, got {shown(value)}")
    return value


def decode_logits(model: Model, held: Held, question: Decode) -> Decoded:
    """Ask the decoder; as ``Model.decode`` does, without bringing masks to the photo's size."""
    embedding, prompt = held.embedding, question.prompt
    coords, labels = sparse_prompts(prompt, embedding.original_size, embedding.input_size)
    dense = None
    if prompt.mask is not None:
        dense = mask_logits(
            prompt.mask, embedding.original_size, embedding.input_size, model.spec.image_size
        )[None, None]
    start = time.perf_counter()
    logits, scores = model.decode_tensors(embedding, coords[None], labels[None], dense)
    took = 1000 * (time.perf_counter() - start)
    masks = model.spec.masks
    outputs = list(masks.candidates if question.three else (masks.single,))
    if question.only_best:
        outputs = [outputs[int(np.argmax(scores[0, outputs]))]]
    return Decoded(logits[0, outputs], scores[0, outputs], outputs, took)


def decode_masks(model: Model, held: Held, question: Decode) -> dict[str, Any]:
    """Ask the decoder, and return the answer with masks at the photo's size."""
    decoded = decode_logits(model, held, question)
    masks = upsample_masks(
        decoded.logits,
        input_size=held.embedding.input_size,
        image_size=model.spec.image_size,
        original_size=held.embedding.original_size,
        threshold=model.spec.masks.threshold,
    )
    return {"masks": mask_records(masks, decoded.scores, held), **decoded.facts()}


def decode_many(
    model: Model, held: Held, questions: Sequence[Decode]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Decode many prompts, those that are alike together, as the command line does.

    Yields:
        A prompt's index and its answer, in no order.
    """
    masks = model.spec.masks
    for three in (True, False):
        mine = [index for index, question in enumerate(questions) if question.three is three]
        prompts = [questions[index].prompt for index in mine]
        outputs = list(masks.candidates if three else (masks.single,))
        for number, found in model.decode_each(held.embedding, prompts, multimask=three):
            index = mine[number]
            kept = [*range(len(outputs))]
            if questions[index].only_best:
                kept = [int(np.argmax(found.scores))]
            scores = found.scores[kept]
            yield (
                index,
                {
                    "masks": mask_records(found.masks[kept], scores, held),
                    "best": int(np.argmax(scores)),
                    "candidates": [outputs[position] for position in kept],
                },
            )


def mask_records(
    masks: NDArray[np.bool_], scores: NDArray[np.float32], held: Held
) -> list[dict[str, Any]]:
    """Describe masks of a part as masks of the photo."""
    x0, y0, _, _ = held.part
    records = []
    for mask, score in zip(masks, scores.tolist(), strict=True):
        rle = boxed_rle(mask, top=y0, left=x0, size=held.photo_size)
        records.append(
            {
                "rle": to_coco_rle(rle),
                "score": score,
                "area": area(rle),
                "box": list(rle_to_box(rle)),
            }
        )
    return records


def _prompt(content: Mapping[str, Any], held: Held) -> Prompt:
    x0, y0, x1, y1 = held.part
    points, box = content.get("points") or [], content.get("box")
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point))
        for point in points
    ):
        raise BadRequestError(f"points is a list of [x, y], got {shown(points)}")
    if box is not None and not (
        isinstance(box, list) and len(box) == 4 and all(map(is_number, box))
    ):
        raise BadRequestError(f"box is [x0, y0, x1, y1], got {shown(box)}")
    if (x0, y0, x1, y1) != (0, 0, held.photo_size[1], held.photo_size[0]):
        for x, y in points:
            if not (x0 <= x <= x1 and y0 <= y <= y1):
                raise BadRequestError(
                    f"point {x:g},{y:g} is outside the encoded part {[*held.part]}"
                )
        points = [[x - x0, y - y0] for x, y in points]
        box = box and [box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0]
    mask = None if content.get("mask") is None else _mask_prompt(content["mask"], held)
    prompt = Prompt.of(points, content.get("labels"), box, mask)
    embedding = held.embedding
    # Also what else cannot be meant is refused before it waits for its turn.
    sparse_prompts(prompt, embedding.original_size, embedding.input_size)
    if prompt.mask is not None:
        check_mask_size(prompt.mask, embedding.original_size, embedding.image_size)
    return prompt


def _mask_prompt(content: object, held: Held) -> NDArray[Any]:
    fields = only(content, ("rle", "logits", "dtype"), "mask")
    if "rle" in fields:
        x0, y0, x1, y1 = held.part
        return photo_mask(fields["rle"], held.photo_size)[y0:y1, x0:x1]
    dtype = np.dtype(word(fields, "dtype", DTYPES, "float16")).newbyteorder("<")
    try:
        data = base64.b64decode(fields["logits"], validate=True)
        values = np.frombuffer(data, dtype)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise BadRequestError("mask is {rle} or {logits, dtype}, logits in base64") from None
    side = int(len(values) ** 0.5)
    if side * side != len(values):
        raise BadRequestError(f"the mask prompt's logits are no square: {len(values)} values")
    return values.astype(np.float32).reshape(side, side)


def photo_mask(rle: object, size: tuple[int, int]) -> Mask:
    """Decode a mask of a photo.

    Raises:
        BadRequestError, MaskError: if it is no mask, or of another size.
    """
    fields = only(rle, ("size", "counts"), "rle")
    if fields.get("size") != list(size):
        raise BadRequestError(
            f"the mask has size {shown(fields.get('size'))}, the photo {list(size)}"
        )
    return decode_rle(from_coco_rle({"size": fields["size"], "counts": fields.get("counts", "")}))


def answer_of(content: Mapping[str, Any]) -> tuple[str, str, bool, bool]:
    """Return the fields ``answer``, ``dtype``, ``only_best`` and ``hover`` of a decode."""
    fields = dict(content)
    return (
        word(fields, "answer", ("rle", "logits"), "rle"),
        word(fields, "dtype", DTYPES, "float16"),
        flag(fields, "only_best"),
        flag(fields, "hover"),
    )
