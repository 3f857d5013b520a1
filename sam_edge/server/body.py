"""What requests bring: bodies of bounded size and time, and JSON whose every field is known."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from sam_edge.files import parse_json
from sam_edge.server.refusals import (
    BadRequestError,
    SlowBodyError,
    TooLargeError,
    TooMuchWorkError,
    WrongTypeError,
)
from sam_edge.text import shown

LARGE = 1 << 16
"""Bytes of JSON that take long enough to read for others to notice."""


class Budget:
    """How many bytes of bodies are held, by all requests together.

    Args:
        most: of them.
    """

    _KEY = "sam_edge.body_bytes"

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self, scope: Scope, count: int) -> None:
        """Count bytes that a request brought, until ``release``.

        Raises:
            TooMuchWorkError: if there is no room.
        """
        if count > self._free:
            raise TooMuchWorkError(
                "too much is being sent here at once; try again in a few seconds"
            )
        self._free -= count
        scope[self._KEY] = scope.get(self._KEY, 0) + count

    def release(self, scope: Scope) -> None:
        """Forget what a request brought: it has been answered."""
        self._free += scope.pop(self._KEY, 0)


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """Read a body.

    Args:
        request: whose.
        most: bytes.
        seconds: until all of it must be here.

    Raises:
        TooLargeError: if it has more bytes.
        SlowBodyError: if it takes longer.
        TooMuchWorkError: if all bodies that are held have too many.
    """
    budget: Budget = request.app.state.budget
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > most:
        raise TooLargeError(f"the body has {stated[:20]} bytes, more than {most}")
    parts = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                budget.take(request.scope, len(part))
                parts += part
                if len(parts) > most:
                    raise TooLargeError(f"the body has more than {most} bytes")
    except TimeoutError:
        raise SlowBodyError(f"the body was not here after {seconds:g} s") from None
    except ClientDisconnect:
        raise BadRequestError("the connection ended in the middle of the body") from None
    return bytes(parts)


async def read_object(
    request: Request, known: Collection[str], most: int, seconds: float
) -> dict[str, Any]:
    """Read a JSON object that has no unknown fields.

    Raises:
        WrongTypeError: if the body is said to be something else.
        BadRequestError: if it is no such object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise WrongTypeError(f"expected Content-Type application/json, got {shown(kind)}")
    data = await read_body(request, most, seconds)
    if len(data) > LARGE:
        content = await asyncio.to_thread(parse_json, data, "the body")
    else:
        content = parse_json(data, "the body")
    return only(content, known, "the body")


def only(content: object, known: Collection[str], name: str) -> dict[str, Any]:
    """Return an object once it is one, and has only known fields.

    Raises:
        BadRequestError: naming what is unknown.
    """
    if not isinstance(content, dict):
        raise BadRequestError(f"{name} must be a JSON object, got {shown(content)}")
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise BadRequestError(
            f"{name} has an unknown field {shown(unknown[0])}; known are {', '.join(sorted(known))}"
        )
    return content


def flag(content: dict[str, Any], name: str) -> bool:
    """Return a field that is true or false, false without it."""
    value = content.get(name, False)
    if type(value) is not bool:
        raise BadRequestError(f"{name} is true or false, got {shown(value)}")
    return value


def word(content: dict[str, Any], name: str, choices: Collection[str], default: str) -> str:
    """Return a field that is one of some words."""
    value = content.get(name, default)
    if not isinstance(value, str) or value not in choices:
        raise BadRequestError(f"{name} is one of {', '.join(sorted(choices))}, got {shown(value)}")
    return value


def whole_box(value: object, name: str) -> tuple[int, int, int, int] | None:
    """Return ``[x0, y0, x1, y1]`` of whole numbers; None of null."""
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(type(number) is int for number in value)
    ):
        raise BadRequestError(f"{name} is [x0, y0, x1, y1] in whole pixels, got {shown(value)}")
    x0, y0, x1, y1 = value
    return x0, y0, x1, y1
