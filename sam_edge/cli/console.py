"""What the command line says: one line a message, text that a terminal can show, a progress bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from sam_edge.text import printable

ERASE_LINE = "\r\033[K"


def say(line: str) -> None:
    """Write one line to stderr, over the progress bar if there is one.

    A terminal that went away is no reason to stop the work that the line tells about.
    """
    _write_stderr((ERASE_LINE if _is_watched() else "") + printable(line) + "\n")


def show(text: str) -> None:
    """Write what was asked for to stdout. Control characters in it are replaced.

    Raises:
        OSError: if stdout is closed, full, or a pipe whose reader has left.
    """
    if sys.stdout is None:  # the shell's >&-
        raise OSError("stdout is closed; name a file, or leave stdout open")
    lines = text.expandtabs().removesuffix("\n").split("\n")
    safe = "".join(printable(line) + "\n" for line in lines)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(safe.encode(encoding, "backslashreplace").decode(encoding))


def progress_bar(unit: str) -> Callable[[int, int], None] | None:
    """Return a callback ``(done, total)`` that draws a bar, or None where nobody watches."""
    if not _is_watched():
        return None

    def draw(done: int, total: int) -> None:
        filled = 30 * done // max(total, 1)
        end = "\n" if done >= total else ""
        _write_stderr(f"{ERASE_LINE}{'█' * filled:░<30} {done}/{total} {unit}{end}")

    return draw


def discard(stream: TextIO) -> None:
    """Send what a stream still holds, and whatever follows, nowhere.

    Python flushes its streams once more when it ends, and would complain.
    """
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _write_stderr(text: str) -> None:
    if sys.stderr is None:
        return
    encoding = sys.stderr.encoding or "utf-8"
    try:
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)
