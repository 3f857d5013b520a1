"""What people said about photos: one file a photo, saved whole, and only over what was seen.

The file is read at every save, so that it, and not the server's memory, says who saved last: two
servers on one folder are told of each other, too.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from sam_edge.cache import CacheError, cache_directory
from sam_edge.errors import JsonFileError, SamEdgeError
from sam_edge.fields import photo_size
from sam_edge.files import json_text, read_json, unwritable, written
from sam_edge.server.imported import Imports
from sam_edge.server.library import Library, ServedPhoto
from sam_edge.server.objects import checked_objects
from sam_edge.server.refusals import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    TimedOutError,
)
from sam_edge.text import printable, shown
from sam_edge_runtimes.locks import try_lock

SCHEMA = 1
SUFFIX = ".sam-edge.json"

LARGEST_FILE = 512 * 2**20

LOCK_S = 10.0

_Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


class AnnotationsError(RefusedError):
    """A file of annotations that is not as it was saved."""

    status, code = 422, "bad_annotations"


@dataclass(frozen=True, slots=True)
class Summary:
    """What the list of photos says about a photo's annotations."""

    version: int = 0
    objects: int = 0
    done: bool = False
    labels: Counter[str] = field(default_factory=Counter)


class Annotations:
    """Loads and saves. May be used from several threads.

    Args:
        library: the photos.
        folder: where the files go; None puts each beside its photo.
        most_objects: on one photo.
    """

    def __init__(self, library: Library, folder: Path | None, most_objects: int) -> None:
        self._library = library
        self._folder = folder
        self._most_objects = most_objects
        self.imports = Imports(most_objects)
        self._lock = Lock()
        self._locks: dict[Path, Lock] = {}
        self._summaries: dict[Path, tuple[tuple[int, int], Summary]] = {}

    def path(self, photo: ServedPhoto) -> Path:
        """Return a photo's file."""
        if self._folder is None:
            return photo.path.with_name(photo.path.name + SUFFIX)
        return self._folder / f"{photo.path.name[:100]}-{photo.id}{SUFFIX}"

    def load(self, photo: ServedPhoto) -> dict[str, Any]:
        """Return a photo's document; before the first save, what other tools' files say.

        Raises:
            AnnotationsError: if the file is damaged.
        """
        size = self._library.size(photo)
        document = self._read(photo, size)
        imported = None
        if document is None:
            found = None if photo.upload else self.imports.objects(photo.path, size)
            document = {"version": 0, "done": False, "objects": []}
            if found is not None:
                document["objects"] = found.objects
                imported = {
                    "format": found.format,
                    "file": printable(found.file.name),
                    "skipped": found.skipped,
                }
        return {
            "schema": SCHEMA,
            "photo": {"name": photo.name, "size": list(size)},
            **document,
            "imported": imported,
        }

    def save(self, photo: ServedPhoto, base_version: object, done: object, change: _Change) -> int:
        """Save a photo's objects.

        Args:
            photo: whose.
            base_version: the version that the client has seen.
            done: whether the photo is done; None leaves it as it was.
            change: turns the objects that are there into those to save.

        Returns:
            The new version; it is on the disk.

        Raises:
            ConflictError: if somebody else saved since ``base_version``.
            BadRequestError: if it cannot be meant.
            UnwritableError: if it cannot be written.
        """
        if type(base_version) is not int or base_version < 0:
            raise BadRequestError(f"base_version is a whole number, got {shown(base_version)}")
        if done is not None and type(done) is not bool:
            raise BadRequestError(f"done is true or false, got {shown(done)}")
        path = self.path(photo)
        with self._alone(path):
            before = self.load(photo)
            if before["version"] != base_version:
                conflict = ConflictError(
                    f"{photo.name} was saved meanwhile, as version {before['version']}, and this "
                    f"was made from version {base_version}; load it and save again"
                )
                conflict.more = {"version": before["version"], "base_version": base_version}
                raise conflict
            size = self._library.size(photo)
            objects = checked_objects(change(before["objects"]), size, self._most_objects)
            document = {
                "schema": SCHEMA,
                "photo": before["photo"],
                "version": base_version + 1,
                "done": before["done"] if done is None else done,
                "objects": objects,
            }
            try:
                os.makedirs(path.parent, exist_ok=True)
            except OSError as error:
                raise unwritable(path.parent, error) from error
            with written(path) as partial, partial.open("w", encoding="utf-8") as file:
                file.write(json_text(document))
                file.flush()
                os.fsync(file.fileno())
        return base_version + 1

    def summary(self, photo: ServedPhoto) -> Summary:
        """Return what the list of photos says; a damaged file is one that says nothing."""
        path = self.path(photo)
        try:
            status = os.lstat(path)
        except OSError:
            return Summary()
        state = status.st_mtime_ns, status.st_size
        known = self._summaries.get(path)
        if known is None or known[0] != state:
            summary = Summary()
            with suppress(SamEdgeError, OSError):
                document = self._read(photo, None)
                if document is not None:
                    labels = Counter(entry["label"] for entry in document["objects"])
                    summary = Summary(document["version"], labels.total(), document["done"], labels)
            known = self._summaries[path] = state, summary
        return known[1]

    def remove(self, photo: ServedPhoto) -> None:
        """Remove an upload's annotations."""
        self.path(photo).unlink(missing_ok=True)

    def _read(self, photo: ServedPhoto, size: tuple[int, int] | None) -> dict[str, Any] | None:
        """Read a photo's file; None if there is none. Without ``size``, the file's own counts."""
        path = self.path(photo)
        if path.is_symlink():
            raise ForbiddenError(
                f"{printable(path.name)} is a link, which is neither read nor written"
            )
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise AnnotationsError(f"{path} has more than {LARGEST_FILE >> 20} MB")
            content = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except JsonFileError as error:
            raise AnnotationsError(f"{error}; move it away to begin anew") from error
        try:
            if content["schema"] != SCHEMA:
                raise AnnotationsError(
                    f"{path} has schema {shown(content['schema'])}, this sam-edge reads {SCHEMA}; "
                    "upgrade sam-edge"
                )
            version, done = content["version"], content["done"]
            if type(version) is not int or version < 1 or type(done) is not bool:
                raise AnnotationsError(f"{path} has no version, or says not whether it is done")
            stated = content["photo"]["size"]
            stated = photo_size(dict(zip(("height", "width"), stated, strict=True)))
            if size is not None and stated != size:
                raise AnnotationsError(
                    f"{path} is of a photo of {stated[1]} x {stated[0]} pixels, {photo.name} has "
                    f"{size[1]} x {size[0]}; move it away to begin anew"
                )
            objects = checked_objects(content["objects"], stated, self._most_objects)
        except (KeyError, TypeError, ValueError, BadRequestError) as error:
            raise AnnotationsError(
                f"{path} is not as it was saved: {printable(str(error))}; move it away"
            ) from error
        return {"version": version, "done": done, "objects": objects}

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """Hold a file against other threads, and against other servers of this user."""
        with self._lock:
            lock = self._locks.setdefault(path, Lock())
        with lock, _between_processes(path):
            yield


@contextmanager
def _between_processes(path: Path) -> Iterator[None]:
    try:
        folder = cache_directory() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        # 256 files for all photos: two that share one wait for each other, and that is all.
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:2]
        descriptor = os.open(folder / name, os.O_CREAT | os.O_RDWR, 0o600)
    except (CacheError, OSError):  # without a cache there is this server alone
        yield
        return
    try:
        end = time.monotonic() + LOCK_S
        with suppress(OSError):  # no locks on this file system
            while not try_lock(descriptor):
                if time.monotonic() > end:
                    raise TimedOutError(f"another server holds {printable(path.name)}; try again")
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def replaced(content: object) -> _Change:
    """Return the change of a PUT: all objects are new."""
    return lambda _: content  # type: ignore[return-value]  # checked after it


def patched(set_objects: object, remove: object) -> _Change:
    """Return the change of a PATCH: some objects are replaced, added or removed."""
    given = [] if set_objects is None else set_objects
    gone = [] if remove is None else remove
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise BadRequestError(f"set is a list of objects, got {shown(given)}")
    if not isinstance(gone, list) or not all(isinstance(name, str) for name in gone):
        raise BadRequestError(f"remove is a list of ids, got {shown(gone)}")

    def change(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = {entry["id"]: entry for entry in objects}
        for name in gone:
            if kept.pop(name, None) is None:
                raise NotFoundError(f"there is no object {shown(name)}")
        for entry in given:
            name = entry.get("id")
            if not isinstance(name, str):
                raise BadRequestError(f"an object's id is a text, got {shown(name)}")
            kept[name] = entry
        return list(kept.values())

    return change
