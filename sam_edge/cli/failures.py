"""Many things in one call: what is bad is named and counted, and the others are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sam_edge.cli.console import progress_bar, say
from sam_edge.cli.frame import one_line
from sam_edge.errors import ImageError, PromptError, SamEdgeError
from sam_edge.photos import Photo


@dataclass(frozen=True, slots=True)
class Failures:
    """What was left out of a call that went on: a command that has some exits 1.

    Attributes:
        entries: as ``--json`` shows them: each has an ``error``, and an ``image`` if it is one's.
    """

    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, photo: Photo | None, reason: str, **where: int) -> None:
        """Name what is bad on stderr, and remember it.

        Args:
            photo: whose it is, if it is a photo's.
            reason: one line.
            where: further fields of the entry.
        """
        image = {} if photo is None else {"image": photo.name}
        prefix = "" if photo is None or photo.name in reason else f"{photo.name}: "
        say(f"sam-edge: {prefix}{reason}")
        self.entries.append({**image, **where, "error": reason})

    def skip(self, photo: Photo | None = None) -> Callable[[str], None]:
        """Return what takes the reason for each part that is left out."""
        return lambda reason: self.add(photo, f"{reason}; skipped")

    def record(self) -> dict[str, Any]:
        """Return what ``--json`` says of them: nothing if there are none."""
        return {"failed": self.entries} if self.entries else {}


def for_each_photo(
    photos: Sequence[Photo],
    work: Callable[[int, Photo], None],
    failures: Failures,
    *kinds: type[SamEdgeError],
) -> None:
    """Do the work for each photo; where one of several fails, go on with the next.

    Args:
        photos: in their order.
        work: called as ``work(index, photo)``.
        failures: is given those that failed.
        kinds: errors that are a photo's own, beside ``ImageError`` and ``PromptError``. Any other
            would meet the next photo, too.

    Raises:
        SamEdgeError: what the only photo fails of, or what is not one photo's fault.
    """
    own: tuple[type[Exception], ...] = (ImageError, PromptError, MemoryError, *kinds)
    show_progress = progress_bar("photos") if len(photos) > 1 else None
    bad = 0
    for index, photo in enumerate(photos):
        try:
            work(index, photo)
        except own as error:
            if len(photos) == 1:
                raise
            bad += 1
            failures.add(photo, one_line(error))
        if show_progress is not None:
            show_progress(index + 1, len(photos))
    if len(photos) > 1:
        say(f"{len(photos) - bad} photos done, {bad} failed")
