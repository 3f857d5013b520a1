"""Fields of other tools' JSON, checked one by one, and what is bad skipped where it may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from sam_edge.errors import SamEdgeError
from sam_edge.image import MAX_PIXELS
from sam_edge.text import shown

Skip: TypeAlias = Callable[[str], None]
"""Takes one line that names what is bad and left out; ``list.append`` and ``print`` do."""


@contextmanager
def skipping(skip: Skip | None, *kinds: type[SamEdgeError]) -> Iterator[None]:
    """Hand errors of some kinds to ``skip`` and go on; without it, let them through."""
    try:
        yield
    except kinds as error:
        if skip is None:
            raise
        skip(str(error))


def field(entry: object, name: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Return a field of an object.

    Raises:
        ValueError: if it is no object, or has no such field.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, got {shown(entry)}")
    if name not in entry:
        raise ValueError(f"there is no {name!r}")
    return entry[name]


def items(entry: object, name: str) -> list[Any]:
    """Return a field that is a list."""
    value = field(entry, name)
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {shown(value)}")
    return value


def text(entry: object, name: str) -> str:
    """Return a field that is a text with something in it."""
    value = field(entry, name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{name} must be a text, got {shown(value)}")
    return value


def identity(entry: object, name: str) -> int | str:
    """Return a field that identifies something: a whole number or a text."""
    value = field(entry, name)
    if type(value) not in (int, str):
        raise ValueError(f"{name} must be a whole number or a text, got {shown(value)}")
    return value  # type: ignore[no-any-return]  # the type was checked


def numbers(entry: object, name: str, count: int) -> list[float]:
    """Return a field that is a list of that many finite numbers."""
    values = items(entry, name)
    if len(values) != count or not all(map(is_number, values)):
        raise ValueError(f"{name} must be {count} numbers, got {shown(values)}")
    return [float(value) for value in values]


def photo_size(entry: object) -> tuple[int, int]:
    """Return the fields ``height`` and ``width`` of a photo that can be opened."""
    size = (field(entry, "height"), field(entry, "width"))
    if not all(type(side) is int and 0 < side <= MAX_PIXELS for side in size):
        raise ValueError(f"height and width must be pixels, got {shown(list(size))}")
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"{size[1]} x {size[0]} are more than {MAX_PIXELS} pixels")
    return size


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
