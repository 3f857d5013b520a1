"""What an engine made of a graph, kept so that it opens faster the next time.

An entry is a folder below the graph's own folder in the cache; its name says which engine, which
version, and a digest of the processor and of what was fixed at opening. Another machine, version or
shape never finds it. It is written beside its place and renamed, so that it is whole or not there,
and whoever comes second throws his own away.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

logger = logging.getLogger("sam_edge")

ENTRIES = 4
"""How many an engine may have of one graph: an encoder that takes any frame is kept by size."""


def entry_of(cache: Path, engine: str, version: str, fixed: Mapping[str, int]) -> Path:
    """Return the folder for what an engine makes of a graph. It may not exist yet.

    Args:
        cache: the graph's own folder; its name must change with the graph's bytes.
        engine: its name.
        version: the engine's.
        fixed: dynamic dimensions that are fixed while opening.
    """
    made_for = json.dumps([processor(), sorted(fixed.items())])
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


def keep(entry: Path, write: Callable[[Path], None]) -> None:
    """Write an entry whole; drop those of other versions and, of many, the oldest.

    A disk that refuses is no error.

    Args:
        entry: from ``entry_of``.
        write: puts files into the folder it is given.
    """
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".") as name:
            partial = Path(name) / "entry"
            partial.mkdir()
            write(partial)
            for file in partial.iterdir():
                # After a power cut a renamed file may otherwise be there and hold zeros.
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
            partial.rename(entry)
        engine = entry.name.partition("-")[0]
        version = entry.name.rpartition("-")[0]
        others = sorted(entry.parent.glob(f"{engine}-*"), key=lambda path: path.stat().st_mtime)
        same = [other for other in others if other.name.rpartition("-")[0] == version]
        for other in others:
            if other not in same[-ENTRIES:]:
                shutil.rmtree(other, ignore_errors=True)
    except Exception as error:  # a full disk reaches us as whatever the engine makes of it
        logger.debug("%s is not kept: %s", entry, error)


def drop(entry: Path, error: Exception) -> None:
    """Throw away an entry that the engine does not open."""
    logger.debug("%s is damaged: %s", entry, error)
    shutil.rmtree(entry, ignore_errors=True)
