"""Names and numbers of categories, for files that say names alone, and what rows have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sam_edge.detections import Detection, DetectionError, PhotoPrompts
from sam_edge.fields import Skip, skipping
from sam_edge.formats.records import CocoBox
from sam_edge.prompt_files.names import ByName, in_file
from sam_edge.prompts import Box

Category = Mapping[str, Any]
Row = TypeVar("Row")


def numbered(labels: Iterable[str]) -> dict[int | str, Category]:
    """Return categories for names, in their order, from 1."""
    return {
        number: {"id": number, "name": label, "supercategory": ""}
        for number, label in enumerate(sorted(set(labels)), start=1)
    }


def detection(
    box: Box | None,
    points: Sequence[tuple[float, float]] = (),
    point_labels: Sequence[int] = (),
    *,
    category: Category | None = None,
    score: float | None = None,
) -> Detection:
    """Return an object of a file that numbers neither photos nor objects.

    Raises:
        PromptError: if it is no prompt.
    """
    bbox = None if box is None else (box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0)
    coco = None
    if category is not None or score is not None:
        coco = CocoBox(None, bbox, category, None, score)
    label = "object" if category is None else category["name"]
    found = Detection(box, label, coco, tuple(points), tuple(point_labels), score)
    _ = found.prompt  # says now, with the line's number, what is wrong with it
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Generic[Row]):
    """A file with a row or more for each object.

    Attributes:
        path: of the file.
        categories: by ``id``.
        photos: the objects of each photo, each with the number of its line and its rows.
        parse: makes an object of its rows and the categories by name.
    """

    path: Path
    categories: Mapping[int | str, Category]
    photos: ByName[Sequence[tuple[int, Sequence[Row]]]]
    parse: Callable[[Sequence[Row], Mapping[str, Category]], Detection]

    def prompts_of(
        self, photo: Path, image_id: int | str | None = None, *, skip: Skip | None = None
    ) -> PhotoPrompts:
        """See ``PromptFile``."""
        by_name = {category["name"]: category for category in self.categories.values()}
        detections = []
        for number, rows in self.photos.find(photo)[1]:
            with skipping(skip, DetectionError), in_file(self.path, "line", number):
                detections.append(self.parse(rows, by_name))
        return PhotoPrompts(str(self.path), tuple(detections))

    def check_apart(self, photos: Iterable[Path]) -> int:
        """See ``PromptFile``."""
        return self.photos.check_apart(photos)
