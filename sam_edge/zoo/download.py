"""One file from the network into the cache: resumed, checked, moved into place whole.

The bytes go to ``FILE.partial`` beside the target, which survives a crash and is continued by the
next call. Nothing is believed but the size and the sha256 that were known before. Only http and
https are spoken, so that no address and no redirect opens a file of this machine. What an address
holds beside host and path (a password, a token) is sent and never shown.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import random
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from sam_edge._version import __version__
from sam_edge.errors import ChecksumError, DownloadError
from sam_edge.text import is_printable, printable
from sam_edge_runtimes.locks import try_lock

logger = logging.getLogger("sam_edge")

CHUNK = 1 << 18
FUTILE_ATTEMPTS = 5
"""How many in a row may bring too little before the server is given up."""

LEAST_RATE = 1000.0
"""Bytes a second, on average over ``RATE_SECONDS``; a slower answer is asked for again."""

RATE_SECONDS = 30.0
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
    least_rate: float = LEAST_RATE,
    rate_seconds: float = RATE_SECONDS,
) -> Path:
    """Fetch one file, or return it at once if it is there.

    Interrupt it at any byte: the next call goes on from there. Processes that want the same file
    take turns, so that it is fetched once.

    Args:
        url: where from, http or https; redirects to either are followed.
        target: where to. Its folder is made.
        size: of the file, in bytes.
        sha256: of the file; None accepts any content of that size.
        progress: called as ``progress(done, size)``, in bytes.
        timeout: how many seconds a server may be silent.
        back_off: seconds before the second attempt; doubled for each further one.
        least_rate: bytes a second below which an answer is broken off and asked for again. An
            attempt that brings less than that for ``rate_seconds`` is futile, and after
            ``FUTILE_ATTEMPTS`` of them in a row the server is given up.
        rate_seconds: over how many seconds the rate is taken.

    Returns:
        ``target``.

    Raises:
        ChecksumError: if the content is wrong; what was fetched is thrown away.
        DownloadError: if the server refuses, has another file, or stays away.
        OSError: if the disk is full or cannot be written.
    """
    request = _request(url)
    pace = _Pace(least_rate, rate_seconds)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.with_name(f"{target.name}.lock")):
        if target.is_file() and target.stat().st_size == size:
            return target  # it was there, or another process brought it while this one waited
        path = target.with_name(f"{target.name}.partial")
        with _Partial(path) as partial:
            _check_room(path.parent, size - partial.length)
            resumed = partial.length > 0
            _fetch_all(request, partial, size, progress, timeout, back_off, pace)
            if resumed and not partial.is_right(sha256):
                logger.warning("%s: what an earlier run left was wrong; again from 0", target.name)
                partial.restart()
                _fetch_all(request, partial, size, progress, timeout, back_off, pace)
            if not partial.is_right(sha256):
                partial.restart()
                raise ChecksumError(
                    f"{shown(url)}: the content is not what was promised (sha256 {sha256}); it was "
                    "thrown away. Try again, or name another source in SAM_EDGE_MIRROR"
                )
            partial.sync()
        os.replace(path, target)
    return target


def headers_of(url: str, timeout: float = 30.0) -> Message:
    """Return what a server says of a file without sending it, before it sends on to another host.

    Raises:
        DownloadError: if the address is none, or nobody answers there.
        urllib.error.HTTPError: if the server refuses.
    """
    request = _request(url)
    request.method = "HEAD"
    try:
        with _opener(_SameHost).open(request, timeout=timeout) as response:
            headers: Message = response.headers
            return headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (301, 302, 303, 307, 308):
            return error.headers
        raise
    except (OSError, HTTPException, ValueError, OverflowError) as error:
        raise DownloadError(f"{shown(url)}: {_passing(error)}; try again later") from error


def in_folder(folder: str, file: str) -> str:
    """Return the address of a file in a mirror's folder.

    Raises:
        DownloadError: if ``SAM_EDGE_MIRROR`` is no http or https address.

    >>> in_folder("https://box.example/sam/?token=1", "vit b.pth")
    'https://box.example/sam/vit%20b.pth?token=1'
    """
    try:
        parts = _parts(folder)
    except ValueError as error:
        raise DownloadError(
            f"SAM_EDGE_MIRROR: {error}; name a folder's http or https address, or leave it unset. "
            "A checkpoint on disk needs no mirror: sam-edge export FILE -o BUNDLE"
        ) from error
    path = f"{parts.path.rstrip('/')}/{quote(file)}"
    return urlunsplit(parts._replace(path=path, fragment=""))


def shown(url: str) -> str:
    """Return an address as messages show it: without user, password and query.

    >>> shown("https://me:secret@box.example:8443/a.pth?token=1")
    'https://box.example:8443/a.pth'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address"
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def _parts(url: str) -> SplitResult:
    """Take an address apart.

    Raises:
        ValueError: if it is not one that can be asked; the message does not quote it.
    """
    if not is_printable(url) or " " in url:
        raise ValueError("an address holds no blanks and no control characters")
    try:
        parts = urlsplit(url)
        named = parts.hostname is not None and parts.port != 0
    except ValueError:  # its words may quote a password
        named = False
    if not named or parts.scheme not in ("http", "https"):
        raise ValueError("this is not an http or https address")
    return parts


def _request(url: str) -> urllib.request.Request:
    """Turn an address into a request; its user and password become a header for that host alone."""
    try:
        parts = _parts(url)
    except ValueError as error:
        raise DownloadError(f"{shown(url)}: {error}") from error
    login, _, host = parts.netloc.rpartition("@")
    path, query = (quote(part, safe="/%:=&?+,;~@!$'()*") for part in (parts.path, parts.query))
    request = urllib.request.Request(
        urlunsplit((parts.scheme, host, path, query, "")),
        headers={"User-Agent": f"sam-edge/{__version__}", "Accept-Encoding": "identity"},
    )
    if login:
        token = base64.b64encode(unquote(login).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https; urllib's own goes to ftp, too."""

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
    ) -> HTTPResponse | None:
        fp.close()  # or urllib would read all of a body that nobody needs, however long
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _parts(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _SameHost(_HttpOnly):
    """Follows redirects within a host, with the request's own method."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if _parts(newurl).netloc != _parts(req.full_url).netloc:
            return None
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            request.method = req.get_method()
        return request


def _opener(redirects: type[_HttpOnly] = _HttpOnly) -> urllib.request.OpenerDirector:
    """An opener that knows no scheme but http and https."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        redirects,
    ):
        opener.add_handler(handler())
    return opener


class _Pace:
    """The least rate, in bytes a second over some seconds, at which an answer may come."""

    def __init__(self, least_rate: float, seconds: float) -> None:
        self.least_bytes = least_rate * seconds
        self._seconds = seconds
        self.start(0)

    def start(self, length: int) -> None:
        """Begin to count at ``length`` bytes."""
        self._since, self._length = time.monotonic(), length

    def check(self, length: int) -> None:
        """Raise if too little came since the count began; begin anew when its time is over."""
        elapsed = time.monotonic() - self._since
        if elapsed < self._seconds:
            return
        came = length - self._length
        if came < self.least_bytes:
            raise _RetryableError(f"only {came} bytes came in {elapsed:.0f} s")
        self.start(length)


class _Partial:
    """A file that grows, and the hash of what is in it."""

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(_open_own(path, 0o666), "r+b")
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
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.length = 0

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def is_right(self, sha256: str | None) -> bool:
        return sha256 is None or self._digest.hexdigest() == sha256


def _fetch_all(
    request: urllib.request.Request,
    partial: _Partial,
    size: int,
    progress: Progress | None,
    timeout: float,
    back_off: float,
    pace: _Pace,
) -> None:
    """Append to ``partial`` until it has ``size`` bytes, with as many requests as that takes."""
    failures = 0
    while partial.length != size:
        before = partial.length
        try:
            _fetch(request, partial, size, progress, timeout, pace)
        except _RetryableError as error:
            # A byte an attempt would go on for ever, too.
            failures = 1 if partial.length - before >= pace.least_bytes else failures + 1
            if failures >= FUTILE_ATTEMPTS:
                raise DownloadError(
                    f"{shown(request.full_url)}: {error}; gave up after {failures} attempts. Run "
                    f"it again: {partial.length} of {size} bytes are kept"
                ) from error
            pause = max(error.after, back_off * 2 ** (failures - 1) * random.uniform(0.75, 1.25))
            pause = min(pause, LONGEST_WAIT)
            logger.warning("%s; trying again in %.1f s", error, pause)
            time.sleep(pause)


def _fetch(
    request: urllib.request.Request,
    partial: _Partial,
    size: int,
    progress: Progress | None,
    timeout: float,
    pace: _Pace,
) -> None:
    """Append what one request brings."""
    if partial.length > size:
        partial.restart()
    request.remove_header("Range")
    if partial.length:
        request.add_header("Range", f"bytes={partial.length}-")
    url = shown(request.full_url)
    try:
        response = _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is here is not the beginning of what is there
            partial.restart()
        raise _explained(url, error) from error
    except (OSError, HTTPException) as error:
        raise _passing(error) from error
    except (ValueError, OverflowError) as error:  # a redirect to what is no address
        raise DownloadError(f"{url}: the server sends on to another address: {error}") from error
    with response:
        if _start_of(response, url, partial.length, size) == 0:
            partial.restart()
        pace.start(partial.length)
        while block := _read(response):
            if partial.length + len(block) > size:
                raise DownloadError(
                    f"{url}: more than the {size} bytes expected; it is another file"
                )
            partial.write(block)
            if progress is not None:
                progress(partial.length, size)
            if partial.length < size:
                pace.check(partial.length)
    if partial.length < size:
        raise _RetryableError(f"the connection was closed at byte {partial.length} of {size}")


def _read(response: HTTPResponse) -> bytes:
    """Return what has arrived, at once: the bar moves on a slow line, and a cut keeps it."""
    try:
        return response.read1(CHUNK)
    except (OSError, HTTPException) as error:
        raise _passing(error) from error


def _passing(error: Exception) -> _RetryableError:
    reason = getattr(error, "reason", None) or error
    return _RetryableError(printable(f"{type(reason).__name__}: {reason}"))


def _start_of(response: HTTPResponse, url: str, have: int, size: int) -> int:
    """Return where in the file this answer begins; refuse an answer that is another file."""
    start, total = 0, response.headers.get("Content-Length")
    if response.status == 206:
        # "bytes 100-499/500": anything else is not the range that was asked for
        _, _, span = response.headers.get("Content-Range", "").partition(" ")
        first, _, total = span.replace("-", "/").replace("//", "/").partition("/")
        total = total.rpartition("/")[2]
        if _count(first) != have:
            raise _RetryableError("the server answered with another part of the file")
        start = have
    if total is not None and _count(total) not in (None, size):
        raise DownloadError(
            f"{url}: the server has {total} bytes, expected {size}; it is another file"
        )
    return start


def _count(text: str) -> int | None:
    """Read a number of a header; other digits than 0 to 9, and absurdly many, are none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _explained(url: str, error: urllib.error.HTTPError) -> _RetryableError | DownloadError:
    """Tell a fault that may pass from one that will not."""
    error.close()  # its body, which may be a page of any length, is not read
    reason = f"HTTP {error.code} {printable(str(error.reason))[:200]}"
    if error.code == 416 or error.code in PASSING_STATUS:
        return _RetryableError(reason, float(_count(error.headers.get("Retry-After", "")) or 0))
    return DownloadError(
        f"{url}: {reason}; if a firewall is in the way, name a mirror in SAM_EDGE_MIRROR"
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
    with os.fdopen(_open_own(lock, 0o600), "r+b") as file:
        told = False
        while not try_lock(file.fileno()):
            if not told:
                logger.warning("another process is fetching it; waiting")
                told = True
            time.sleep(0.1)
        yield


def _open_own(path: Path, mode: int) -> int:
    """Open a file of the cache to read and write, made if it is missing.

    Never through a link, which could lead to any of the user's files.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DownloadError(f"{path} is no file but something that leads elsewhere; remove it")
    return os.open(path, flags, mode)  # O_NOFOLLOW, for a link that was made in between
