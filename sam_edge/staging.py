"""A folder's place while it is made: written beside its name, moved there whole or not at all."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sam_edge.bundle import MANIFEST_NAME
from sam_edge.errors import JsonFileError, SamEdgeError
from sam_edge.files import PARTIAL, read_json
from sam_edge.text import printable
from sam_edge_runtimes.locks import try_lock

logger = logging.getLogger("sam_edge")

BUNDLE, SCRATCH, PREVIOUS = "bundle", "scratch", "previous"
"""What is in the folder of an export that is under way: nothing else is ever removed with it."""

OF_THE_SYSTEM = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""What file managers put into any folder that they show."""


def bundle_stranger(place: Path) -> str:
    """Say why a folder is not to be replaced; empty if a bundle is all that it holds.

    Web pages and browser extensions have a ``manifest.json``, too.
    """
    known = {MANIFEST_NAME, *OF_THE_SYSTEM}
    try:
        manifest = read_json(place / MANIFEST_NAME)
        for graph in manifest["graphs"]:
            known |= {graph["file"], *graph["external_data"]}
        if "tokenizer" in manifest:
            known.add(manifest["tokenizer"]["file"])
        found = {name for name in os.listdir(place) if not name.endswith(PARTIAL)}
        others = sorted(found - known)
    except (OSError, JsonFileError, LookupError, TypeError):
        return "is not a bundle"
    return f"holds {printable(others[0])}, which is no part of a bundle" if others else ""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is written to a place.

    Attributes:
        name: what messages call it.
        flag: the word of the command line that names the place.
        stranger: says why what is there is not to be replaced; empty if it is one of these.
    """

    name: str
    flag: str
    stranger: Callable[[Path], str]


A_BUNDLE = Kind("bundle", "-o", bundle_stranger)


def check_output(output: Path, inputs: Sequence[Path], force: bool, kind: Kind = A_BUNDLE) -> Path:
    """Return where a folder goes, links followed, once it is sure that nothing will be lost there.

    Args:
        output: what the command line says.
        inputs: files and folders that are read.
        force: whether one that is there is to be replaced.
        kind: what it is.

    Raises:
        SamEdgeError: if it holds an input or the current folder, is none of its kind, or is one and
            there is no ``force``.
    """
    place = Path(os.path.realpath(output))
    for path in (*inputs, Path.cwd()):
        if Path(os.path.realpath(path)).is_relative_to(place):
            what = "the folder you are in" if path == Path.cwd() else f"{path}, which is read"
            raise SamEdgeError(f"{kind.flag} {output} holds {what}; name another {kind.flag}")
    refuse_existing(place, force, kind)
    return place


def refuse_existing(place: Path, force: bool, kind: Kind = A_BUNDLE) -> None:
    """Refuse to replace what is not of a kind and no more, and what is unless told to.

    Raises:
        SamEdgeError: saying what is there.
    """
    if not os.path.lexists(place):
        return
    stranger = kind.stranger(place)
    if stranger:
        raise SamEdgeError(f"{place} exists and {stranger}; name another {kind.flag}")
    if not force:
        raise SamEdgeError(f"{place} exists; replace it with --force, or name another {kind.flag}")


@contextmanager
def staging(place: Path, kind: Kind = A_BUNDLE) -> Iterator[Path]:
    """Give an empty folder beside a place, for one export at a time.

    It is removed at the end. What a killed export left there is removed by the next to the same
    place: a lock, which the system drops with its holder, tells the one from the other.

    Args:
        place: from ``check_output``.
        kind: what goes there.

    Raises:
        SamEdgeError: if another export to that place is running, or nothing can be written there.
    """
    work = place.with_name(f".{place.name}.export")
    lock = place.with_name(f".{place.name}.export.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, held = _lock(lock, place, kind)
    except OSError as error:
        raise SamEdgeError(
            f"{place.parent}: nothing can be written there: {error.strerror}; "
            f"name another {kind.flag}"
        ) from error
    try:
        if held:
            _clear(work, place)
        try:
            work.mkdir()
        except FileExistsError:
            raise SamEdgeError(
                f"{work} is there: another export to {place} is running; if it was killed, remove "
                "that folder"
            ) from None
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(descriptor)
            lock.unlink(missing_ok=True)
        else:
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _lock(lock: Path, place: Path, kind: Kind) -> tuple[int, bool]:
    """Return an open descriptor, and whether it holds the lock: some disks have none."""
    while True:
        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(lock, flags, 0o666)
        if not try_lock(descriptor):
            if not _has_locks(lock.parent):
                return descriptor, False
            os.close(descriptor)
            raise SamEdgeError(
                f"another export to {place} is running; wait for it, or name another {kind.flag}"
            )
        if os.fstat(descriptor).st_nlink:
            return descriptor, True
        os.close(descriptor)  # its last holder had removed it by then


def _has_locks(folder: Path) -> bool:
    """Whether files there can be locked: some network disks refuse it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return try_lock(file.fileno())


def _clear(work: Path, place: Path) -> None:
    """Remove what a killed export left. The caller holds the lock."""
    if not os.path.lexists(work):
        return
    if work.is_symlink() or not set(os.listdir(work)) <= {BUNDLE, SCRATCH, PREVIOUS}:
        raise SamEdgeError(f"{work} is in the way, and not from an export; move it")
    previous = work / PREVIOUS
    if previous.exists() and not os.path.lexists(place):
        os.rename(previous, place)  # it was killed between two renames
        logger.warning("%s is back: an export that would have replaced it was killed", place)
    shutil.rmtree(work)


def install(work: Path, place: Path, force: bool, kind: Kind = A_BUNDLE) -> None:
    """Move what was made in a staging folder, as ``BUNDLE``, to its place.

    At no moment is there half of it. What is in its place is looked at once more: an export
    takes minutes.

    Raises:
        SamEdgeError: if something came up there that is not to be replaced, or it cannot be moved;
            what was there is there again.
    """
    refuse_existing(place, force, kind)
    previous = work / PREVIOUS
    replaces = os.path.lexists(place)
    try:
        if replaces:
            os.rename(place, previous)
        try:
            _move(work / BUNDLE, place)
        except BaseException:
            if replaces:
                _put_back(previous, place)
            raise
    except OSError as error:
        came_up = error.errno in (errno.EEXIST, errno.ENOTEMPTY)
        reason = "something else came up there" if came_up else error.strerror
        raise SamEdgeError(
            f"{place}: the {kind.name} cannot be moved there: {reason}; nothing there was changed, "
            f"name another {kind.flag}"
        ) from error


def _move(bundle: Path, place: Path) -> None:
    """Rename a folder to a name that nothing has."""
    if sys.platform == "win32":
        os.rename(bundle, place)
        return
    # Elsewhere a rename replaces an empty folder without a word; making one does not.
    place.mkdir()
    try:
        os.rename(bundle, place)
    except BaseException:
        with suppress(OSError):
            place.rmdir()
        raise


def _put_back(previous: Path, place: Path) -> None:
    if os.path.lexists(place):
        kept = place.with_name(f"{place.name}.previous-{secrets.token_hex(4)}")
        logger.warning("%s, which was to be replaced, is now %s", place, kept)
        place = kept
    os.rename(previous, place)
