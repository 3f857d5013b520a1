"""JSON lines: an object a line, or a photo a line with its ``objects``, as ``segment --json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sam_edge.detections import Detection, DetectionError
from sam_edge.errors import JsonFileError
from sam_edge.fields import Skip, field, is_number, items, numbers, skipping, text
from sam_edge.files import parse_json
from sam_edge.prompt_files.labels import Category, Rows, detection, numbered
from sam_edge.prompt_files.names import ByName, in_file
from sam_edge.prompts import Box
from sam_edge.text import shown

_Row = Mapping[str, Any]


def read_lines(path: Path, *, skip: Skip | None = None) -> Rows[_Row]:
    """Read a file of JSON lines.

    Each has ``image`` and either ``objects``, which may be empty, or is one object itself. An
    object has ``box`` (``[x0, y0, x1, y1]``), ``points`` and ``labels`` (1 on the object, 0 not),
    and may have ``label`` and ``score``.

    Args:
        path: of the file, UTF-8.
        skip: called with one line for each line that is bad and left out; None raises at the
            first.

    Raises:
        OSError: if it cannot be read.
    """
    photos: dict[str, list[tuple[int, Sequence[_Row]]]] = {}
    labels: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            with skipping(skip, DetectionError), in_file(path, "line", number):
                try:
                    content = parse_json(line, f"line {number}")
                except JsonFileError as error:
                    raise ValueError(str(error)) from error
                mine = photos.setdefault(text(content, "image"), [])
                for entry in _objects(content):
                    mine.append((number, [entry]))
                    if entry.get("label") is not None:
                        labels.add(text(entry, "label"))
    return Rows(path, numbered(labels), ByName.of(path, photos.items()), _object)


def _objects(content: _Row) -> Iterator[_Row]:
    if "objects" not in content:
        yield content
        return
    for entry in items(content, "objects"):
        if not isinstance(entry, dict):
            raise ValueError(f"expected an object, got {shown(entry)}")
        yield entry


def _object(rows: Sequence[_Row], categories: Mapping[str, Category]) -> Detection:
    (entry,) = rows
    box = None if entry.get("box") is None else Box(*numbers(entry, "box", 4))
    points = items(entry, "points") if entry.get("points") is not None else []
    if not all(isinstance(p, list) and len(p) == 2 and all(map(is_number, p)) for p in points):
        raise ValueError(f"points must be pairs of numbers, got {shown(points)}")
    labels = items(entry, "labels") if entry.get("labels") is not None else [1] * len(points)
    if len(labels) != len(points) or not all(type(label) is int for label in labels):
        raise ValueError(f"labels must be 1 or 0 for each point, got {shown(labels)}")
    score = entry.get("score")
    if score is not None and not is_number(score):
        raise ValueError(f"score must be a number, got {shown(score)}")
    if box is None and not points:
        field(entry, "box")  # says that there is neither
    return detection(
        box,
        [(float(x), float(y)) for x, y in points],
        labels,
        category=categories.get(entry.get("label") or ""),
        score=score,
    )
