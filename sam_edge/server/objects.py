"""The objects of a photo, as a client sends them and as they are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sam_edge.fields import is_number
from sam_edge.formats import LabelledMask
from sam_edge.masks import CocoRle, area, from_coco_rle
from sam_edge.server.body import only, whole_box
from sam_edge.server.refusals import BadRequestError
from sam_edge.text import is_printable, printable, shown

OBJECT_FIELDS = ("id", "label", "rle", "score", "stability", "prompt", "extra")
PROMPT_FIELDS = ("points", "labels", "box", "part")

LONGEST_ID, LONGEST_LABEL, LARGEST_EXTRA = 64, 200, 16 * 2**10
MOST_POINTS = 500


def checked_objects(content: object, size: tuple[int, int], most: int) -> list[dict[str, Any]]:
    """Return objects once they are ones that can be kept and exported.

    Args:
        content: the JSON value.
        size: ``(H, W)`` of the photo.
        most: how many there may be.

    Raises:
        BadRequestError, MaskError: naming what is wrong.
    """
    if not isinstance(content, list) or len(content) > most:
        raise BadRequestError(f"objects is a list of up to {most}, got {shown(content)}")
    objects = [_checked(entry, size, f"objects[{at}]") for at, entry in enumerate(content)]
    names = [entry["id"] for entry in objects]
    if len(set(names)) < len(names):
        raise BadRequestError("two objects have the same id")
    return objects


def new_object(name: str, label: str, rle: CocoRle, score: float | None) -> dict[str, Any]:
    """Return an object that no client has seen yet."""
    return {
        "id": name,
        "label": printable(label)[:LONGEST_LABEL] or "object",
        "rle": dict(rle),
        "score": score,
        "stability": None,
        "prompt": None,
        "extra": {},
    }


def labelled_objects(
    objects: Sequence[dict[str, Any]], size: tuple[int, int]
) -> list[LabelledMask]:
    """Return objects as the formats take them. What a person drew scores 1: nobody doubts it."""
    height, width = size
    masks = []
    for entry in objects:
        prompt = entry["prompt"] or {}
        x0, y0, x1, y1 = prompt.get("part") or (0, 0, width, height)
        masks.append(
            LabelledMask(
                rle=from_coco_rle(entry["rle"]),
                predicted_iou=_or_one(entry["score"]),
                stability_score=_or_one(entry["stability"]),
                points=prompt.get("points") or [],
                crop_box=[x0, y0, x1 - x0, y1 - y0],
                label=entry["label"],
            )
        )
    return masks


def _or_one(score: float | None) -> float:
    return 1.0 if score is None else score


def _checked(content: object, size: tuple[int, int], name: str) -> dict[str, Any]:
    entry = only(content, OBJECT_FIELDS, name)
    rle = only(entry.get("rle"), ("size", "counts"), f"{name}.rle")
    if rle.get("size") != list(size):
        raise BadRequestError(
            f"{name}: the mask has size {shown(rle.get('size'))}, the photo {list(size)}"
        )
    mask = {"size": list(size), "counts": rle.get("counts", "")}
    area(from_coco_rle(mask))  # type: ignore[arg-type]  # it checks
    extra = entry.get("extra", {})
    if not isinstance(extra, dict) or len(json.dumps(extra)) > LARGEST_EXTRA:
        raise BadRequestError(f"{name}.extra is an object of up to {LARGEST_EXTRA} bytes")
    return {
        "id": _text(entry.get("id"), f"{name}.id", LONGEST_ID),
        "label": _text(entry.get("label", "object"), f"{name}.label", LONGEST_LABEL),
        "rle": mask,
        "score": _number(entry.get("score"), f"{name}.score"),
        "stability": _number(entry.get("stability"), f"{name}.stability"),
        "prompt": _prompt(entry.get("prompt"), f"{name}.prompt"),
        "extra": extra,
    }


def _prompt(content: object, name: str) -> dict[str, Any] | None:
    if content is None:
        return None
    prompt = only(content, PROMPT_FIELDS, name)
    points, labels = prompt.get("points") or [], prompt.get("labels")
    box = prompt.get("box")
    pairs = isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point))
        for point in points
    )
    if not pairs or len(points) > MOST_POINTS:
        raise BadRequestError(f"{name}.points is a list of up to {MOST_POINTS} [x, y]")
    labels = [1] * len(points) if labels is None else labels
    if (
        not isinstance(labels, list)
        or len(labels) != len(points)
        or any(type(label) is not int or label not in (0, 1) for label in labels)
    ):
        raise BadRequestError(f"{name}.labels is one 0 or 1 a point, got {shown(labels)}")
    if box is not None and not (
        isinstance(box, list) and len(box) == 4 and all(map(is_number, box))
    ):
        raise BadRequestError(f"{name}.box is [x0, y0, x1, y1], got {shown(box)}")
    part = whole_box(prompt.get("part"), f"{name}.part")
    if part is not None and not (0 <= part[0] < part[2] and 0 <= part[1] < part[3]):
        raise BadRequestError(f"{name}.part is [x0, y0, x1, y1] in the photo, got {list(part)}")
    return {"points": points, "labels": labels, "box": box, "part": part and list(part)}


def _text(value: object, name: str, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not is_printable(value):
        raise BadRequestError(f"{name} is a text of 1 to {longest} characters, got {shown(value)}")
    return value


def _number(value: object, name: str) -> float | None:
    if value is not None and not is_number(value):
        raise BadRequestError(f"{name} is a number or null, got {shown(value)}")
    return value  # type: ignore[return-value]  # the type was checked
