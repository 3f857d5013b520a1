"""Files: written whole or not at all, and JSON from outside read once, at the door."""

from __future__ import annotations

import json
import os
import platform
import re
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from sam_edge.errors import JsonFileError, UnwritableError
from sam_edge.text import printable
from sam_edge_runtimes.locks import create_locked, remove_if_dead

PARTIAL = ".sam-edge-partial"
"""No other program's files end like this: those that nobody holds a lock on may be removed."""

OLD_S = 3600
"""After so many seconds a file is a killed run's where no lock can tell: on Windows, and where
another machine wrote it, as not every network's file system carries locks from one to another."""

_LONG_NUMBER = re.compile(r"\d{19}|[eE]\+?\d{3}")
"""What every JSON text with a number beyond 64 bits holds; run-length strings may hold it, too."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to be written, and move it there when it is done.

    A crash, an error or ``kill -9`` leaves what was at ``path`` before; what a killed run left
    beside it is removed by the next one. Threads and processes may do this at once: each has a
    file of its own, and the last one wins. A link is followed: what it points to is replaced.
    What is no regular file (``/dev/stdout``, a pipe) is written to directly.

    The file that is given has a suffix of its own: writers that look at the suffix must be told.

    Raises:
        OSError: if the folder is not there or cannot be written.
    """
    # Asked before links are followed: a pipe behind /dev/stdout has no name to follow.
    if os.path.exists(path) and not os.path.isfile(path):
        yield path
        return
    with suppress(OSError):
        path = path.resolve() if path.is_symlink() else path
    _remove_leftovers(str(path.absolute().parent))
    # A name may have 255 bytes, and a character up to four of them.
    prefix = f".{path.name[:50]}."
    partial, descriptor = create_locked(path.with_name(prefix), f".{_here()}{PARTIAL}")
    try:
        if sys.platform == "win32":  # an open file could be neither written again nor replaced
            os.close(descriptor)
        yield partial
        with suppress(OSError):
            partial.chmod(stat.S_IMODE(path.stat().st_mode))
        partial.replace(path)
    finally:
        if sys.platform != "win32":
            os.close(descriptor)
        partial.unlink(missing_ok=True)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Write a file through ``replacing``; an error names the file, not its partial.

    Raises:
        UnwritableError: if it cannot be written: the disk is full, or the folder went away.
    """
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> UnwritableError:
    """Return an error that names a file as the user knows it."""
    return UnwritableError(f"{path} cannot be written: {error.strerror or error}")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file through ``replacing``."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def json_text(content: object, indent: int | None = None) -> str:
    """Return content as strict JSON text: a NaN or an infinity in it is a bug and raises."""
    return json.dumps(content, indent=indent, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is anything
    """Read a JSON file: UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Raises:
        OSError: if it cannot be read.
        JsonFileError: as for ``parse_json``.
    """
    return parse_json(path.read_bytes(), str(path))


def parse_json(data: bytes | str, name: str) -> Any:  # noqa: ANN401 - JSON is anything
    r"""Parse JSON whose every number is finite and fits float64 and, if whole, 64 bits.

    Args:
        data: the text, or its bytes in any of JSON's encodings.
        name: of the file, for messages.

    Raises:
        JsonFileError: if it is not JSON, is nested too deeply, or holds another number.

    >>> parse_json(b'\xef\xbb\xbf{"a": 1}', "a.json")
    {'a': 1}
    >>> parse_json("[1e999]", "a")
    Traceback (most recent call last):
    sam_edge.errors.JsonFileError: a is not JSON that can be read: the number 1e999 is too large
    """
    try:
        text = data if isinstance(data, str) else data.decode(json.detect_encoding(data))
        # Python functions a number would double the time of a large data set's file.
        if _LONG_NUMBER.search(text) is None:
            return json.loads(text, parse_constant=_constant)
        return json.loads(text, parse_constant=_constant, parse_int=_whole, parse_float=_real)
    except RecursionError:
        raise JsonFileError(f"{name} is not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        reason = printable(str(error))
        raise JsonFileError(f"{name} is not JSON that can be read: {reason}") from error


def _whole(digits: str) -> int:
    number = int(digits) if len(digits) <= 20 else 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"the number {digits[:20]}... is too large")
    return number


def _real(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


@cache
def _here() -> str:
    """Return what tells this machine's files from another's."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


@lru_cache(maxsize=1024)
def _remove_leftovers(folder: str) -> None:
    """Remove what killed runs left in a folder, once per process: it may hold many files."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if not entry.name.endswith(PARTIAL):
                continue
            lock_tells = sys.platform != "win32" and f".{_here()}{PARTIAL}" in entry.name
            if lock_tells or time.time() - entry.stat().st_mtime > OLD_S:
                with suppress(OSError):
                    remove_if_dead(Path(entry.path))
