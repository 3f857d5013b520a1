"""The photos that a command was given: files, folders, patterns, and one from a pipe."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.errors import ImageError
from sam_edge.text import printable

if TYPE_CHECKING:
    from sam_edge.image import RgbImage
from sam_edge.picture_file import read_pipe

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")

PHOTOS_HELP = "a photo, a folder of photos, a quoted pattern ('shots/*.jpg'), or - for a pipe"


@dataclass(frozen=True, slots=True)
class Photo:
    """One photo of a command.

    Attributes:
        path: its file, or None for the photo that comes through stdin.
    """

    path: Path | None

    @property
    def name(self) -> str:
        """What messages and records call it: its path as it was given, or ``stdin``."""
        return "stdin" if self.path is None else printable(str(self.path))

    @property
    def file_name(self) -> str:
        """The last part of ``name``."""
        return "stdin" if self.path is None else printable(self.path.name)

    def read(self, *, stretch: bool = False) -> RgbImage:
        """Return the photo's pixels, see ``read_image``. A pipe can be read only once.

        Raises:
            ImageError: if it cannot be read as a photo.
        """
        from sam_edge.image import read_image

        if self.path is not None:
            return read_image(self.path, stretch=stretch)
        try:
            return read_image(_piped(), stretch=stretch)
        except ImageError as error:
            raise ImageError(f"stdin: {error}") from error


def _piped() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise ImageError("there is no photo; send one, as in: sam-edge segment - < photo.jpg")
    return read_pipe(sys.stdin.buffer)


def photos_of(words: Sequence[str]) -> list[Photo]:
    """Return the photos that a command line names, in its order, each once.

    Args:
        words: each a file, a folder (its photos, sorted, without hidden ones), a pattern that no
            shell has expanded, or ``-`` for stdin. A file need not be there: who reads it will
            say so.

    Raises:
        ImageError: if a folder holds no photos or a pattern matches none.
        OSError: if a folder cannot be read.
    """
    found: dict[str, Photo] = {}
    for word in words:
        for photo in _expanded(word):
            key = "-" if photo.path is None else os.path.abspath(photo.path)
            found.setdefault(key, photo)
    return list(found.values())


def photos_in(folder: Path | None) -> list[Path]:
    """Return a folder's photos, sorted and without hidden ones, or those in the box.

    Raises:
        ImageError: if it is no folder, or there are none.
        OSError: if it cannot be read.
    """
    where = folder or Path(str(files("sam_edge") / "assets" / "photos"))
    if not where.is_dir():
        raise ImageError(f"{where} is not a folder; name one with photos")
    found = sorted(
        path
        for path in where.iterdir()
        if path.suffix.lower() in PHOTO_SUFFIXES
        and not path.name.startswith(".")
        and not path.is_dir()
    )
    if not found:
        raise ImageError(f"{where} has no photos ({', '.join(PHOTO_SUFFIXES)})")
    return found


def distinct_labels(photos: Sequence[Photo]) -> list[str]:
    """Return a name for each photo's outputs, no two alike, even where case does not count.

    It is the file's name without its suffix. Photos for which that is the same take their whole
    file name, then as many of their folders as tell them apart.

    >>> distinct_labels([Photo(Path("a/cup.jpg")), Photo(Path("b/cup.jpg")), Photo(Path("d.png"))])
    ['a-cup.jpg', 'b-cup.jpg', 'd']
    """
    choices = [_labels(photo) for photo in photos]
    level = [0] * len(photos)
    while True:
        labels = [choice[at] for choice, at in zip(choices, level, strict=True)]
        groups: dict[str, list[int]] = {}
        for index, label in enumerate(labels):
            groups.setdefault(label.casefold(), []).append(index)
        alike = [index for group in groups.values() if len(group) > 1 for index in group]
        longer = [index for index in alike if level[index] + 1 < len(choices[index])]
        if not longer:
            break
        for index in longer:
            level[index] += 1
    # Whole paths can still be alike: in case alone, or as a-b/c and a/b-c.
    for index in alike:
        labels[index] = f"{labels[index]}-{index}"
    return labels


def _labels(photo: Photo) -> list[str]:
    """Return what a photo's outputs may be called, the shortest first."""
    if photo.path is None:
        return ["stdin", "stdin.pipe"]
    path = Path(os.path.abspath(photo.path))
    parts = path.relative_to(path.anchor).parts
    return [path.stem, *("-".join(parts[-count:]) for count in range(1, len(parts) + 1))]


def _expanded(word: str) -> Iterator[Photo]:
    if word == "-":
        yield Photo(None)
        return
    if not word:  # Path("") would be the current folder
        raise ImageError("a photo's name is empty; name a photo, a folder or a pattern")
    path = Path(word)
    if path.is_dir():
        yield from map(Photo, photos_in(path))
    elif glob.has_magic(word) and not os.path.lexists(word):
        matches = sorted(glob.glob(word, recursive=True))
        if not matches:
            raise ImageError(f"{word} matches no file")
        for match in matches:
            yield from map(Photo, photos_in(Path(match)) if os.path.isdir(match) else [Path(match)])
    else:
        yield Photo(path)
