"""Which entry of a file is a photo's: the one whose name ends most like the photo's path."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from sam_edge.detections import DetectionError, UnnamedPhotoError
from sam_edge.text import printable, shown

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True, eq=False)
class ByName(Generic[Entry]):
    """Entries of photos under the names that a file has for them.

    Attributes:
        path: of the file or folder, for messages.
        entries: by the last part of the name, each with its whole name.
        last_part: of a photo's path, as ``entries`` is keyed.
    """

    path: Path
    entries: Mapping[str, Sequence[tuple[str, Entry]]]
    last_part: Callable[[Path], str]

    @classmethod
    def of(
        cls,
        path: Path,
        named: Iterable[tuple[str, Entry]],
        last_part: Callable[[Path], str] = lambda photo: photo.name,
    ) -> ByName[Entry]:
        """Sort entries by the last parts of their names."""
        entries: dict[str, list[tuple[str, Entry]]] = {}
        for name, entry in named:
            entries.setdefault(parts(name)[-1], []).append((name, entry))
        return cls(path, entries, last_part)

    def find(self, photo: Path) -> tuple[str, Entry]:
        """Return a photo's entry and its name.

        Raises:
            UnnamedPhotoError: if there is none.
            DetectionError: if more than one may be the photo's.
        """
        key = self.last_part(photo)
        same = self.entries.get(key, ())
        wanted = [*parts(os.path.abspath(photo))[:-1], key]
        best = longest_tails(same, lambda entry: entry[0], wanted)
        if not best:
            listed = (name for entries in self.entries.values() for name, _ in entries)
            raise UnnamedPhotoError(
                f"{self.path} has nothing of {printable(photo.name)} (it has {first_of(listed)})"
            )
        if len(best) > 1:
            raise DetectionError(
                f"{self.path} has more than one entry that may be {photo}'s: "
                f"{first_of(name for name, _ in best)}; name the photo by a path that ends like one"
            )
        return best[0]

    def check_apart(self, photos: Iterable[Path]) -> int:
        """Refuse photos that would get the same prompts; say how many have some.

        Raises:
            DetectionError: naming two of them.
        """
        owners: dict[str, Path] = {}
        for photo in photos:
            try:
                name, _ = self.find(photo)
            except DetectionError:
                continue  # it is named when its turn comes
            claim(self.path, owners, name, photo)
        return len(owners)


Key = TypeVar("Key", int, str, int | str)


def claim(path: Path, owners: dict[Key, Path], entry: Key, photo: Path) -> None:
    """Note whose an entry of a file is.

    Raises:
        DetectionError: if it is another photo's.
    """
    owner = owners.setdefault(entry, photo)
    if owner != photo:
        raise DetectionError(
            f"{path} cannot tell {owner} from {photo}: both may be its image {shown(entry)}; "
            "write the photos' folders into its names"
        )


def parts(name: str) -> list[str]:
    r"""Split a path of any system into its parts.

    >>> parts("val\\2017/./7.jpg")
    ['val', '2017', '7.jpg']
    """
    return [part for part in re.split(r"[\\/]", name) if part not in ("", ".")] or [name]


def longest_tails(
    entries: Sequence[Entry], name_of: Callable[[Entry], str], wanted: Sequence[str]
) -> list[Entry]:
    """Return the entries whose names have the most last parts in common with a path's parts."""
    tails = [_common_tail(parts(name_of(entry)), wanted) for entry in entries]
    return [entry for entry, tail in zip(entries, tails, strict=True) if tail == max(tails)]


def _common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    length = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        length += 1
    return length


def first_of(names: Iterable[object]) -> str:
    """Spell the first few names for a message."""
    few = [printable(str(name))[:60] for name in islice(names, 4)]
    return ", ".join(few[:3]) + (", ..." if len(few) > 3 else "") if few else "none"


@contextmanager
def in_file(path: Path, kind: str, number: int | str) -> Iterator[None]:
    """Say in errors which part of a file is meant."""
    try:
        yield
    except ValueError as error:
        raise DetectionError(f"{path}, {kind} {shown(number)}: {error}") from error
