"""What an engine made of a graph, kept so that it opens faster the next time.

An entry is a folder below the graph's own folder in the cache; its name says which engine, which
version, and a digest of the processor, of what was fixed at opening and of the format it computes
in. Another machine, version, shape or format never finds it. It is written beside its place and
renamed, so that it is whole or not there, and whoever comes second throws his own away. It holds
the sha256 of its files, which are compared before an engine sees them; what another user could have
written is not used. Nothing is removed but files of the names that are written here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sam_edge_runtimes.formats import FLOAT32
from sam_edge_runtimes.graph_file import sha256_file
from sam_edge_runtimes.locks import create_locked, remove_if_dead
from sam_edge_runtimes.ownership import is_ours

logger = logging.getLogger("sam_edge")

ENTRIES = 4
"""How many an engine may have of one graph: an encoder that takes any frame is kept by size."""

DIGESTS = "digests.json"

FILES = ("graph.onnx", "graph.data", "model.blob", "outputs.json", DIGESTS)
"""Every name that an adapter may write into an entry, and so all that is ever removed."""

_compared: dict[Path, dict[str, tuple[int, ...]]] = {}

_LOCK = re.compile(r"(\.partial-[0-9a-f]{8})\.lock")


def entry_of(
    cache: Path, engine: str, version: str, fixed: Mapping[str, int], compute: str = FLOAT32
) -> Path:
    """Return the folder for what an engine makes of a graph. It may not exist yet.

    Args:
        cache: the graph's own folder; its name must change with the graph's bytes.
        engine: its name.
        version: the engine's.
        fixed: dynamic dimensions that are fixed while opening.
        compute: the format of its products.
    """
    made_for = json.dumps([processor(), sorted(fixed.items()), compute])
    digest = hashlib.sha256(made_for.encode()).hexdigest()
    return cache / f"{engine}-{version.replace('/', '_')}-{digest[:16]}"


def processor() -> str:
    """Return what tells this processor, with its instruction sets, from another."""
    wanted = ("model name", "flags", "Features", "CPU part")
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in wanted:
                found.setdefault(name.strip(), value.strip())
    except OSError:
        found = {"processor": platform.processor()}
    return json.dumps([platform.system(), platform.machine(), found])


def is_whole(entry: Path) -> bool:
    """Whether an entry is there, is this user's, and holds the very bytes that were written.

    Files that were compared before in this process, and have not been touched since, are not read
    again: in low memory the encoder is opened for every photo.
    """
    if not os.path.isdir(entry):  # pathlib's raises where the name is too long
        return False
    if not (is_ours(entry) and is_ours(entry.parent)):
        logger.debug("%s is not used: another user could have written it", entry)
        return False
    try:
        state = _state(entry)
        if _compared.get(entry) == state:
            return True
        digests = json.loads((entry / DIGESTS).read_text(encoding="utf-8"))
        whole = {*digests, DIGESTS} == set(state) and all(
            sha256_file(entry / name) == digest for name, digest in digests.items()
        )
        if whole:
            _compared[entry] = state
    except (OSError, ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        drop(entry, "its bytes are not those that were written")
    return whole


def _state(entry: Path) -> dict[str, tuple[int, ...]]:
    """Return what of each file changes when it is written."""
    found = {file.name: file.stat() for file in entry.iterdir()}
    return {
        name: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        for name, stat in found.items()
    }


def keep(entry: Path, write: Callable[[Path], None]) -> None:
    """Write an entry whole; drop those of other versions and, of many, the oldest.

    A disk that refuses is no error.

    Args:
        entry: from ``entry_of``.
        write: puts files, named as in ``FILES``, into the folder it is given.
    """
    try:
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_ours(entry.parent):
            logger.debug("nothing is kept in %s: another user may write there", entry.parent)
            return
        with _partial(entry.parent) as partial:
            write(partial)
            digests = {file.name: sha256_file(file) for file in partial.iterdir()}
            (partial / DIGESTS).write_text(json.dumps(digests), encoding="utf-8")
            for name in (*digests, DIGESTS):
                # After a power cut a renamed file may otherwise be there and hold zeros.
                with (partial / name).open("rb+") as opened:
                    os.fsync(opened.fileno())
            partial.rename(entry)
        _make_room(entry)
    except Exception as error:  # a full disk reaches us as whatever the engine makes of it
        logger.debug("%s is not kept: %s", entry, error)


def drop(entry: Path, reason: object) -> None:
    """Throw away an entry that cannot be used."""
    logger.debug("%s is dropped: %s", entry, reason)
    _remove(entry)


@contextmanager
def _partial(folder: Path) -> Iterator[Path]:
    """Make a folder to write into; those that killed runs left are removed.

    A lock beside it says that its writer lives.
    """
    for left in folder.iterdir():
        if found := _LOCK.fullmatch(left.name):
            with suppress(OSError):
                if remove_if_dead(left):
                    _remove(folder / found[1])
    lock, descriptor = create_locked(folder / ".partial-", ".lock")
    partial = lock.with_suffix("")
    try:
        partial.mkdir(mode=0o700)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(descriptor)
        lock.unlink(missing_ok=True)


def _make_room(entry: Path) -> None:
    """Drop an engine's entries of other versions, and of this version all but the latest."""
    engine = entry.name.partition("-")[0]
    version = entry.name.rpartition("-")[0]
    name = re.compile(re.escape(engine) + r"-.+-[0-9a-f]{16}")
    found = [path for path in entry.parent.iterdir() if name.fullmatch(path.name)]
    found.sort(key=lambda path: path.stat().st_mtime)
    same = [path for path in found if path.name.rpartition("-")[0] == version]
    for path in found:
        if path not in same[-ENTRIES:]:
            _remove(path)


def _remove(folder: Path) -> None:
    """Remove what was written here from a folder, and the folder if nothing else is in it."""
    if folder.is_symlink():
        return
    for name in FILES:
        with suppress(OSError):
            (folder / name).unlink()
    with suppress(OSError):
        folder.rmdir()
