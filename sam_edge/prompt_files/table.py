"""A table of boxes or points: CSV with a header, as pandas and spreadsheets write it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from sam_edge.detections import Detection, DetectionError
from sam_edge.fields import Skip, skipping
from sam_edge.prompt_files.labels import Category, Rows, detection, numbered
from sam_edge.prompt_files.names import ByName, in_file
from sam_edge.prompts import Box
from sam_edge.text import shown

IMAGE = ("image", "file_name", "filename", "photo", "path")
LABEL = ("label", "name", "category", "class")
SCORE = ("score", "confidence", "conf")
CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
SIDES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
POINT = (("point_x", "point_y"), ("x", "y"))

_Row = Mapping[str, str]


def read_table(path: Path, *, skip: Skip | None = None) -> Rows[_Row]:
    """Read a table with a row for each box or point.

    Columns: ``image``; a box as ``x0,y0,x1,y1`` or ``x,y,width,height``, or a point as ``x,y`` or
    ``point_x,point_y`` with ``point_label``; ``label`` and ``score``. Rows of one photo with the
    same ``object`` are one object. Other columns are left alone; ``IMAGE``, ``CORNERS`` and so on
    are the names that columns may have.

    Args:
        path: of the file, UTF-8; separated by tabs if it ends with ``.tsv``.
        skip: called with one line for each row that is bad and left out; None raises at the first.

    Raises:
        OSError: if it cannot be read.
        DetectionError: if it has no such columns.
    """
    photos: dict[str, dict[str, tuple[int, list[_Row]]]] = {}
    labels: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            header = [name.strip().lower() for name in next(reader, [])]
            image = _check_header(path, header)
            for cells in reader:
                number = reader.line_num
                with skipping(skip, DetectionError), in_file(path, "line", number):
                    if not any(cells):
                        continue
                    if len(cells) != len(header):
                        raise ValueError(f"it has {len(cells)} cells, the header {len(header)}")
                    row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                    if not row[image]:
                        raise ValueError(f"its {image} is empty")
                    same = row.get("object") or f"line {number}"
                    mine = photos.setdefault(row[image], {})
                    mine.setdefault(same, (number, []))[1].append(row)
                    labels.add(_first(row, LABEL))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DetectionError(f"{path} is no CSV in UTF-8: {error}") from error
    named = ((name, list(objects.values())) for name, objects in photos.items())
    return Rows(path, numbered(labels - {""}), ByName.of(path, named), _object)


def _check_header(path: Path, header: Sequence[str]) -> str:
    """Return which column names the photo."""
    images = [name for name in IMAGE if name in header]
    places = [names for names in (*CORNERS, *SIDES, *POINT) if set(names) <= set(header)]
    if not images or not places:
        raise DetectionError(
            f"{path} begins with {shown(','.join(header))}; its first line must name the columns: "
            "image,x0,y0,x1,y1 and, if there are any, label,score,point_x,point_y,point_label"
        )
    return images[0]


def _object(rows: Sequence[_Row], categories: Mapping[str, Category]) -> Detection:
    boxes, points, point_labels = [], [], []
    for row in rows:
        box = _box(row)
        boxes += [] if box is None else [box]
        place = None if box is not None and "point_x" not in row else _filled(row, POINT)
        if place is not None:
            x, y = place
            points.append((x, y))
            point_labels.append(int(_number(row, "point_label")) if row.get("point_label") else 1)
    if len(boxes) > 1:
        raise ValueError("its object has more than one box")
    label, score = _first(rows[0], LABEL), _first(rows[0], SCORE)
    return detection(
        boxes[0] if boxes else None,
        points,
        point_labels,
        category=categories.get(label),
        score=_real(score, "score") if score else None,
    )


def _box(row: _Row) -> Box | None:
    corners = _filled(row, CORNERS)
    if corners is not None:
        return Box(*corners)
    sides = _filled(row, SIDES)
    if sides is None:
        return None
    x, y, width, height = sides
    return Box(x, y, x + width, y + height)


def _filled(row: _Row, choices: Sequence[Sequence[str]]) -> list[float] | None:
    """Return the numbers of the first columns that are there and have something in them."""
    for names in choices:
        if all(row.get(name) for name in names):
            return [_number(row, name) for name in names]
    return None


def _first(row: _Row, names: Sequence[str]) -> str:
    return next((row[name] for name in names if row.get(name)), "")


def _number(row: _Row, name: str) -> float:
    return _real(row[name], name)


def _real(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a number, got {shown(text)}")
    return number
