"""Where downloads, bundles made of them and measurements stay: the user's cache.

``checkpoints/SHA256/FILE`` is content-addressed: what lies there was checked before it was moved.
``bundles/NAME-PRECISION`` are exports of named models. ``compiled/KEY`` is what engines made of a
graph, for this machine.

A machine may have no place for a cache: a container's user may have no home. Whoever only looks
for something then finds nothing; only who must write there is told.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from sam_edge.errors import SamEdgeError
from sam_edge.spec import MANIFEST_NAME
from sam_edge.zoo.table import Checkpoint

logger = logging.getLogger("sam_edge")


class CacheError(SamEdgeError, OSError):
    """A cache that has no place, or cannot be written."""


def cache_directory() -> Path:
    """Return ``SAM_EDGE_CACHE``, or the platform's own place for caches. It may not exist yet.

    As the XDG Base Directory Specification asks, an ``XDG_CACHE_HOME`` that is empty or relative
    is ignored.

    Raises:
        CacheError: if the user has no home.
    """
    if chosen := os.environ.get("SAM_EDGE_CACHE"):
        return _expanded(chosen)
    if sys.platform == "darwin":
        return _expanded("~") / "Library" / "Caches" / "sam-edge"
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", ""))
        return (local if local.is_absolute() else _expanded("~")) / "sam-edge" / "cache"
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else _expanded("~/.cache")) / "sam-edge"


def checkpoint_path(checkpoint: Checkpoint) -> Path:
    """Return where a checkpoint is kept. It may not exist yet.

    Raises:
        CacheError: as for ``cache_directory``.
    """
    return cache_directory() / "checkpoints" / (checkpoint.sha256 or "unknown") / checkpoint.file


def is_complete(checkpoint: Checkpoint, path: Path) -> bool:
    """Whether the file is there. Its bytes were checked when it was moved there."""
    try:
        return path.stat().st_size == checkpoint.size
    except OSError:
        return False


def kept_checkpoint(checkpoint: Checkpoint) -> Path | None:
    """Return a checkpoint's file if it is in the cache."""
    try:
        path = checkpoint_path(checkpoint)
    except CacheError:
        return None
    return path if is_complete(checkpoint, path) else None


def bundle_path(name: str, precision: str) -> Path:
    """Return where the export of a named model is kept. It may not exist yet.

    Raises:
        CacheError: as for ``cache_directory``.
    """
    return cache_directory() / "bundles" / f"{name}-{precision}"


def kept_bundle(name: str, precision: str) -> Path | None:
    """Return the export of a named model if it is in the cache."""
    try:
        path = bundle_path(name, precision)
    except CacheError:
        return None
    return path if os.path.isfile(path / MANIFEST_NAME) else None  # False where stat is refused


def compiled_directory(key: str) -> Path | None:
    """Return where what engines made of a graph is kept, None if there is no place for a cache.

    Args:
        key: hexadecimal digits that change with the graph's bytes.
    """
    try:
        return cache_directory() / "compiled" / key
    except CacheError as error:
        logger.debug("nothing is kept: %s", error)
        return None


def _expanded(path: str) -> Path:
    """Expand ``~``; without a home there is no cache, for a relative path would wander."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~") or (path.startswith("~") and not os.path.isabs(expanded)):
        raise CacheError(
            f"{path}: this user has no home to keep files in; name a folder in SAM_EDGE_CACHE"
        )
    return Path(expanded)
