"""Files that say what is where in photos: each is read once, and asked photo by photo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sam_edge.detections import DetectionError, PhotoPrompts
from sam_edge.fields import Skip

PROMPTS_HELP = (
    "what is where: COCO JSON (a detector's results, Detectron2's, too), CSV, JSONL, a folder of "
    "YOLO's .txt or of LabelMe's .json"
)


class PromptFile(Protocol):
    """What any of the files answers."""

    @property
    def categories(self) -> Mapping[int | str, Mapping[str, Any]]:
        """The file's categories by their ``id``, as COCO has them; none where it has no names."""
        ...

    def prompts_of(
        self, photo: Path, image_id: int | str | None = None, *, skip: Skip | None = None
    ) -> PhotoPrompts:
        """Return what the file says of one photo.

        Args:
            photo: its file.
            image_id: its number, where the photo's data set says one.
            skip: called with one line for each part that is bad and left out; None raises at the
                first.

        Raises:
            UnnamedPhotoError: if it says nothing of the photo, and need not.
            DetectionError: if it should, or cannot tell the photo from another.
        """
        ...

    def check_apart(self, photos: Iterable[Path]) -> int:
        """Refuse photos that would get the same prompts; say how many it names.

        Raises:
            DetectionError: naming two of them.
        """
        ...


def read_prompt_file(
    path: Path, *, classes: Path | None = None, skip: Skip | None = None
) -> PromptFile:
    """Open a file or folder of prompts, whichever kind it is.

    Args:
        path: ``.json`` is COCO's or LabelMe's, ``.csv`` or ``.tsv`` a table, ``.jsonl`` a line an
            object or photo, ``.txt`` YOLO's; a folder holds YOLO's or LabelMe's files.
        classes: the names of YOLO's classes, see ``sam_edge.prompt_files.yolo``.
        skip: called with one line for each part that is bad and left out; None raises at the
            first.

    Raises:
        OSError: if it cannot be read.
        JsonFileError: if it should be JSON, and is not.
        DetectionError: if it is of no known kind.
    """
    from sam_edge.prompt_files import labelme, lines, table, yolo
    from sam_edge.prompt_files.coco import DetectionFile

    suffix = path.suffix.lower()
    is_yolo = suffix == ".txt" or (path.is_dir() and next(path.rglob("*.txt"), None) is not None)
    if classes is not None and not is_yolo:
        raise DetectionError(f"{path} is not YOLO's: its classes need no file of names")
    if is_yolo:
        return yolo.YoloFiles.read(path, classes)
    if path.is_dir():
        return labelme.LabelMeFiles.read(path, skip=skip)
    if suffix in (".csv", ".tsv"):
        return table.read_table(path, skip=skip)
    if suffix in (".jsonl", ".ndjson"):
        return lines.read_lines(path, skip=skip)
    if labelme.is_labelme(path):
        return labelme.LabelMeFiles.read(path, skip=skip)
    return DetectionFile.read(path, skip=skip)
