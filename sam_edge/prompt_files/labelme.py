"""LabelMe's shapes as prompts: a rectangle is a box, points are points, an outline its box."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Any

from sam_edge.detections import Detection, DetectionError, PhotoPrompts
from sam_edge.errors import JsonFileError
from sam_edge.fields import Skip, is_number, items, skipping, text
from sam_edge.fields import photo_size as stated_size
from sam_edge.files import read_json
from sam_edge.prompt_files.labels import Category, detection, numbered
from sam_edge.prompt_files.names import ByName, in_file
from sam_edge.prompts import Box
from sam_edge.text import shown

_HEAD_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class LabelMeFiles:
    """A folder of LabelMe's files, one a photo; or one of them.

    Attributes:
        path: of the folder.
        categories: the labels of all files, numbered from 1 in their order.
        files: by photo, as ``imagePath`` names it.
    """

    path: Path
    categories: Mapping[int | str, Category]
    files: ByName[Path]

    @classmethod
    def read(cls, path: Path, *, skip: Skip | None = None) -> LabelMeFiles:
        """Read which photos and labels there are; shapes are read when their photo's turn comes.

        Args:
            path: the folder, nested or not, or one file.
            skip: called with one line for each file that is bad and left out; None raises at the
                first.

        Raises:
            OSError: if it cannot be read.
            DetectionError: if it holds no file of LabelMe's.
        """
        labels: set[str] = set()
        named: list[tuple[str, Path]] = []
        for file in sorted(path.rglob("*.json")) if path.is_dir() else [path]:
            with skipping(skip, DetectionError, JsonFileError), in_file(file, "key", "shapes"):
                if path.is_dir() and not is_labelme(file):
                    continue
                content = read_json(file)
                named.append((photo_named(file, content), file))
                labels |= {
                    shape["label"]
                    for shape in items(content, "shapes")
                    if isinstance(shape, dict) and isinstance(shape.get("label"), str)
                }
        if not named:
            raise DetectionError(
                f"{path} holds no prompts: no .txt of YOLO's, no .json of LabelMe's"
            )
        return cls(path, numbered(labels), ByName.of(path, named))

    def prompts_of(
        self, photo: Path, image_id: int | str | None = None, *, skip: Skip | None = None
    ) -> PhotoPrompts:
        """See ``PromptFile``. Points with the same group and label are of one object."""
        file = self.files.find(photo)[1]
        by_name = {category["name"]: category for category in self.categories.values()}
        found: list[Detection] = []
        with in_file(file, "key", "shapes"):
            content = read_json(file)
            groups: dict[object, list[Mapping[str, Any]]] = {}
            for number, shape in enumerate(items(content, "shapes")):
                with skipping(skip, DetectionError), in_file(file, "shape", number):
                    label = text(shape, "label")
                    group = shape.get("group_id")
                    key = number if group is None else (str(group), label)
                    groups.setdefault(key, []).append(shape)
        for number, shapes in enumerate(groups.values()):
            with skipping(skip, DetectionError), in_file(file, "object", number):
                found.append(_object(shapes, by_name))
        return PhotoPrompts(str(file), tuple(found), _size(content))

    def check_apart(self, photos: Iterable[Path]) -> int:
        """See ``PromptFile``."""
        return self.files.check_apart(photos)


def is_labelme(path: Path) -> bool:
    """Whether a JSON file is LabelMe's, from its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return b'"shapes"' in head


def photo_named(file: Path, content: object) -> str:
    """Return the path of a file's photo.

    Raises:
        ValueError: if it names none.
    """
    name = text(content, "imagePath").replace("\\", "/")
    return str(file.parent / name)


def _size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        return stated_size(
            {"height": content.get("imageHeight"), "width": content.get("imageWidth")}
        )
    except ValueError:
        return None


def _object(shapes: Sequence[Mapping[str, Any]], categories: Mapping[str, Category]) -> Detection:
    points: list[tuple[float, float]] = []
    corners: list[tuple[float, float]] = []
    for shape in shapes:
        places = items(shape, "points")
        if not all(isinstance(p, list) and len(p) == 2 and all(map(is_number, p)) for p in places):
            raise ValueError(f"points must be pairs of numbers, got {shown(places)}")
        pairs = [(float(x), float(y)) for x, y in places]
        kind = shape.get("shape_type", "polygon")
        if kind in ("point", "points"):
            points += pairs
        elif kind == "circle" and len(pairs) == 2:
            (x, y), edge = pairs
            radius = hypot(edge[0] - x, edge[1] - y)
            corners += [(x - radius, y - radius), (x + radius, y + radius)]
        else:
            corners += pairs
    box = None
    if corners:
        xs, ys = zip(*corners, strict=True)
        box = Box(min(xs), min(ys), max(xs), max(ys))
    return detection(box, points, [1] * len(points), category=categories.get(shapes[0]["label"]))
