"""What the command line says: one line a message, text that a terminal can show, a progress bar."""

from __future__ import annotations

import os
import sys
import time
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


def status(what: str) -> None:
    """Show what is being done, in the line that the next message replaces; on a terminal only."""
    if _is_watched():
        _write_stderr(f"{ERASE_LINE}{printable(what)} ...")


class PhotoBar:
    """Draws photos, their rate, what is left and what failed, at most ten times a second."""

    @classmethod
    def if_watched(cls) -> PhotoBar | None:
        """Return a bar, or None where nobody watches."""
        return cls() if _is_watched() else None

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._drawn = 0.0

    def __call__(self, done: int, kept: int, total: int, errors: int) -> None:
        """Show that ``done`` of ``total`` photos are, ``kept`` of them since an earlier run."""
        now = time.monotonic()
        if done < total and now - self._drawn < 0.1:
            return
        self._drawn = now
        end = "\n" if done == total else ""
        _write_stderr(f"{ERASE_LINE}{self.text(done, kept, total, errors, now)}{end}")

    def text(self, done: int, kept: int, total: int, errors: int, now: float) -> str:
        """Return the bar as one line."""
        rate = (done - kept) / max(now - self._began, 1e-9)
        filled = 30 * done // max(total, 1)
        line = f"{'█' * filled:░<30} {done}/{total} photos"
        if rate > 0:
            line += f"  {rate:.3g} photos/s"
            if done < total:
                line += f"  {duration((total - done) / rate)} left"
        return line + (f"  {errors} errors" if errors else "")


def duration(seconds: float) -> str:
    """Say a time as people do.

    >>> duration(7.2), duration(754), duration(30_000), duration(1e6)
    ('7 s', '12:34', '8:20 h', '11 d 13 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    if whole < 86400:
        return f"{whole // 3600}:{whole % 3600 // 60:02} h"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


class TransferBar:
    """Draws bytes, rate and what is left, at most ten times a second."""

    @classmethod
    def if_watched(cls) -> TransferBar | None:
        """Return a bar, or None where nobody watches."""
        return cls() if _is_watched() else None

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None
        self._drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes are here."""
        now = time.monotonic()
        if self._first is None:
            self._first = done  # what an earlier run brought is not this run's speed
        if done < total and now - self._drawn < 0.1:
            return
        self._drawn = now
        end = "\n" if done == total else ""
        _write_stderr(f"{ERASE_LINE}{self.text(done, total, now)}{end}")

    def text(self, done: int, total: int, now: float) -> str:
        """Return the bar as one line."""
        rate = (done - (self._first or 0)) / max(now - self._began, 1e-9)
        filled = 30 * done // max(total, 1)
        line = f"{'█' * filled:░<30} {done / 1e6:.0f}/{total / 1e6:.0f} MB"
        if rate > 0:
            line += f"  {rate / 1e6:.1f} MB/s"
            if done < total:
                line += f"  {(total - done) / rate:.0f} s left"
        return line


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
