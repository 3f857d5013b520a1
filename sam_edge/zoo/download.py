"""One file from the network into the cache: resumed, checked, moved into place whole.

The bytes go to ``FILE.partial`` beside the target, which survives a crash and is continued by the
next call. Nothing is believed but the size and the sha256 that were known before.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Self

from sam_edge import __version__
from sam_edge.errors import ChecksumError, DownloadError

logger = logging.getLogger("sam_edge")

CHUNK = 1 << 18
ATTEMPTS_WITHOUT_A_BYTE = 5
LONGEST_WAIT = 60.0
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int], None]


class _RetryableError(Exception):
    """A fault that may pass; ``after``: for how many seconds the server wants to be left alone."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def download(
    url: str,
    target: Path,
    *,
    size: int,
    sha256: str | None,
    progress: Progress | None = None,
    timeout: float = 30.0,
    back_off: float = 0.5,
) -> Path:
    """Fetch one file, or return it at once if it is there.

    Interrupt it at any byte: the next call goes on from there. Processes that want the same file
    take turns, so that it is fetched once.

    Args:
        url: where from; redirects are followed.
        target: where to. Its folder is made.
        size: of the file, in bytes.
        sha256: of the file; None accepts any content of that size.
        progress: called as ``progress(done, size)``, in bytes.
        timeout: how many seconds a server may be silent.
        back_off: seconds before the second attempt; doubled for each further one.

    Returns:
        ``target``.

    Raises:
        ChecksumError: if the content is wrong; what was fetched is thrown away.
        DownloadError: if the server refuses, has another file, or stays away.
        OSError: if the disk is full or cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.with_name(f"{target.name}.lock")):
        if target.is_file() and target.stat().st_size == size:
            return target  # it was there, or another process brought it while this one waited
        path = target.with_name(f"{target.name}.partial")
        with _Partial(path) as partial:
            _check_room(path.parent, size - partial.length)
            resumed = partial.length > 0
            _fetch_all(url, partial, size, progress, timeout, back_off)
            if resumed and not partial.is_right(sha256):
                logger.warning("%s: what an earlier run left was wrong; again from 0", target.name)
                partial.restart()
                _fetch_all(url, partial, size, progress, timeout, back_off)
            if not partial.is_right(sha256):
                partial.restart()
                raise ChecksumError(
                    f"{url}: the content is not what was promised (sha256 {sha256}); it was thrown "
                    "away. Try again, or name another source in SAM_EDGE_MIRROR"
                )
            partial.sync()
        os.replace(path, target)
    return target


class _Partial:
    """A file that grows, and the hash of what is in it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._file.seek(0)
        self._digest = hashlib.sha256()
        self.length = 0
        while block := self._file.read(CHUNK):
            self._digest.update(block)
            self.length += len(block)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, block: bytes) -> None:
        self._file.write(block)
        self._digest.update(block)
        self.length += len(block)

    def restart(self) -> None:
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.length = 0

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def is_right(self, sha256: str | None) -> bool:
        return sha256 is None or self._digest.hexdigest() == sha256


def _fetch_all(
    url: str,
    partial: _Partial,
    size: int,
    progress: Progress | None,
    timeout: float,
    back_off: float,
) -> None:
    """Append to ``partial`` until it has ``size`` bytes, with as many requests as that takes."""
    failures = 0
    while partial.length != size:
        before = partial.length
        try:
            _fetch(url, partial, size, progress, timeout)
        except _RetryableError as error:
            failures = 1 if partial.length > before else failures + 1
            if failures >= ATTEMPTS_WITHOUT_A_BYTE:
                raise DownloadError(
                    f"{url}: {error}; gave up after {failures} attempts. Run it again: "
                    f"{partial.length} of {size} bytes are kept"
                ) from error
            pause = max(error.after, back_off * 2 ** (failures - 1) * random.uniform(0.75, 1.25))
            pause = min(pause, LONGEST_WAIT)
            logger.warning("%s; trying again in %.1f s", error, pause)
            time.sleep(pause)


def _fetch(
    url: str, partial: _Partial, size: int, progress: Progress | None, timeout: float
) -> None:
    """Append what one request brings."""
    if partial.length > size:
        partial.restart()
    headers = {"User-Agent": f"sam-edge/{__version__}", "Accept-Encoding": "identity"}
    if partial.length:
        headers["Range"] = f"bytes={partial.length}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            if _start_of(response, url, partial.length, size) == 0:
                partial.restart()
            # read1 hands over what has arrived: the bar moves on a slow line, and a cut keeps it
            while block := response.read1(CHUNK):
                if partial.length + len(block) > size:
                    raise DownloadError(
                        f"{url}: more than the {size} bytes expected; it is another file"
                    )
                partial.write(block)
                if progress is not None:
                    progress(partial.length, size)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is here is not the beginning of what is there
            partial.restart()
        raise _explained(url, error) from error
    except (
        urllib.error.URLError,
        HTTPException,
        TimeoutError,
        ConnectionError,
        ssl.SSLError,
    ) as error:
        reason = getattr(error, "reason", None) or error
        raise _RetryableError(f"{type(reason).__name__}: {reason}") from error
    if partial.length < size:
        raise _RetryableError(f"the connection was closed at byte {partial.length} of {size}")


def _start_of(response: HTTPResponse, url: str, have: int, size: int) -> int:
    """Return where in the file this answer begins; refuse an answer that is another file."""
    start, total = 0, response.headers.get("Content-Length")
    if response.status == 206:
        # "bytes 100-499/500": anything else is not the range that was asked for
        _, _, span = response.headers.get("Content-Range", "").partition(" ")
        first, _, total = span.replace("-", "/").replace("//", "/").partition("/")
        total = total.rpartition("/")[2]
        if not first.isdigit() or int(first) != have:
            raise _RetryableError("the server answered with another part of the file")
        start = have
    if total is not None and total.isdigit() and int(total) != size:
        raise DownloadError(
            f"{url}: the server has {total} bytes, expected {size}; it is another file"
        )
    return start


def _explained(url: str, error: urllib.error.HTTPError) -> _RetryableError | DownloadError:
    """Tell a fault that may pass from one that will not."""
    with error:
        if error.code == 416 or error.code in PASSING_STATUS:
            after = error.headers.get("Retry-After", "")
            return _RetryableError(
                f"HTTP {error.code} {error.reason}", float(after) if after.isdigit() else 0.0
            )
        return DownloadError(
            f"{url}: HTTP {error.code} {error.reason}; if a firewall is in the way, name a mirror "
            "in SAM_EDGE_MIRROR"
        )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"{folder}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free; "
            "name a folder on a larger disk in SAM_EDGE_CACHE"
        )


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a file lock, which the operating system drops even if this process is killed."""
    with lock.open("w") as file:
        told = False
        while not _try_lock(file.fileno()):
            if not told:
                logger.warning("another process is fetching it; waiting")
                told = True
            time.sleep(0.1)
        yield


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
