"""YOLO's boxes: a ``.txt`` for each photo, with a class's number and shares of the photo's sides.

As Ultralytics' ``predict`` and ``val`` write them with ``save_txt``, as darknet's data sets have
them, and polygons, of which the box is taken.

Source: https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_edge.detections import Detection, DetectionError, PhotoPrompts
from sam_edge.fields import Skip, skipping
from sam_edge.prompt_files.labels import Category, detection
from sam_edge.prompt_files.names import ByName, in_file
from sam_edge.prompts import Box
from sam_edge.text import printable, shown

NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "obj.names")
"""Where the classes' names are looked for: beside the boxes, and up to two folders above."""


MOST_SHARE = 1.01
"""Of a photo's side: rounding, and no more, puts a corner outside."""


@dataclass(frozen=True, slots=True, eq=False)
class YoloFiles:
    """A folder of ``.txt`` files, each under its photo's name; or one of them.

    A photo without one has nothing in it, as Ultralytics writes none then.

    Attributes:
        path: of the folder.
        categories: by the class's number.
        files: by photo.
    """

    path: Path
    categories: Mapping[int | str, Category]
    files: ByName[Path]

    @classmethod
    def read(cls, path: Path, classes: Path | None = None) -> YoloFiles:
        """List a folder's files; each is read when its photo's turn comes.

        Args:
            path: the folder, nested or not, or one file.
            classes: names of the classes: a ``data.yaml``, or a line a name; None looks for
                ``NAMES``. Without any, a class is called by its number.

        Raises:
            OSError: if it cannot be read.
            DetectionError: if the names cannot be.
        """
        folder = path if path.is_dir() else path.parent
        paths = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
        known = classes or next(
            (place / name for place in _places(folder) for name in NAMES if _is_file(place / name)),
            None,
        )
        paths = [file for file in paths if file.name not in NAMES and file != known]
        names = _numbers_as_names(paths) if known is None else class_names(known)
        categories: dict[int | str, Category] = {
            number: {"id": number, "name": name, "supercategory": ""}
            for number, name in names.items()
        }
        named = [(str(file.relative_to(folder).with_suffix("")), file) for file in paths]
        return cls(path, categories, ByName.of(path, named, lambda photo: photo.stem))

    def prompts_of(
        self, photo: Path, image_id: int | str | None = None, *, skip: Skip | None = None
    ) -> PhotoPrompts:
        """See ``PromptFile``."""
        path = self.files.find(photo)[1]
        found = []
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DetectionError(f"{path} is no text in UTF-8") from error
        for number, line in enumerate(lines, start=1):
            if line.strip():
                with skipping(skip, DetectionError), in_file(path, "line", number):
                    found.append(self._detection(line.split()))
        return PhotoPrompts(str(path), tuple(found), shares=True)

    def check_apart(self, photos: Iterable[Path]) -> int:
        """See ``PromptFile``."""
        return self.files.check_apart(photos)

    def _detection(self, words: Sequence[str]) -> Detection:
        try:
            number = int(words[0])
            values = [float(word) for word in words[1:]]
        except ValueError:
            values = []
        if len(values) < 4 or not all(map(math.isfinite, values)):
            raise ValueError(
                f"expected CLASS X Y WIDTH HEIGHT [SCORE], got {shown(' '.join(words))}"
            )
        score = None
        if len(values) > 4 and len(values) % 2:
            score = values.pop()
        if len(values) == 4:
            x, y, width, height = values
            box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        else:  # a polygon, or the corners of a turned box
            if max(values) > MOST_SHARE:
                raise ValueError(
                    "the corners of a polygon are shares of the photo's sides, got "
                    f"{max(values):g}; a tracker's numbers are not read"
                )
            box = Box(min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
        if number not in self.categories:
            raise ValueError(f"class {number} is not among the {len(self.categories)} named ones")
        return detection(box, category=self.categories[number], score=score)


def _numbers_as_names(paths: Sequence[Path]) -> dict[int, str]:
    """Return every class's number for its name."""
    numbers = {
        line.split()[0]
        for path in paths
        for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        if line.strip()
    }
    return {number: str(number) for number in sorted(map(int, filter(str.isdecimal, numbers)))}


def class_names(path: Path) -> dict[int, str]:
    """Read the names of classes: YAML's ``names``, or a line a name.

    Raises:
        OSError: if it cannot be read.
        DetectionError: if there are none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DetectionError(f"{path} is no text in UTF-8") from error
    if path.suffix.lower() not in (".yaml", ".yml"):
        return {
            number: printable(line.strip())
            for number, line in enumerate(line for line in lines if line.strip())
        }
    names = _yaml_names(lines)
    if not names:
        raise DetectionError(f"{path} has no names: that Ultralytics would read; name another file")
    return names


def _yaml_names(lines: Sequence[str]) -> dict[int, str]:
    """Read the one key that matters here, in the three ways that Ultralytics' files write it."""
    starts = [index for index, line in enumerate(lines) if re.match(r"names\s*:", line)]
    if not starts:
        return {}
    inline = _uncommented(lines[starts[0]].partition(":")[2])
    following = lines[starts[0] + 1 :]
    if inline.startswith("["):
        # A list may go on over lines.
        text = inline + " " + " ".join(map(_uncommented, following))
        listed = text[1 : text.find("]")] if "]" in text else ""
        return {number: _unquoted(name) for number, name in enumerate(listed.split(","))}
    names: dict[int, str] = {}
    for line in following:
        entry = _uncommented(line)
        if not entry:
            continue
        keyed = re.match(r"(\d+)\s*:\s*(.+)", entry)
        if keyed and line[:1].isspace():
            names[int(keyed[1])] = _unquoted(keyed[2])
        elif entry.startswith("- "):
            names[len(names)] = _unquoted(entry[2:])
        else:
            break
    return names


def _uncommented(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line).strip()


def _unquoted(name: str) -> str:
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        try:
            name = str(json.loads(name))
        except ValueError:
            name = name[1:-1]
    elif len(name) > 1 and name[0] == name[-1] == "'":
        name = name[1:-1].replace("''", "'")
    return printable(name)


def _places(folder: Path) -> list[Path]:
    folder = folder.absolute()
    return [folder, *folder.parents[:2]]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
