"""Where sam-edge may keep files: the user's cache.

A machine may have no place for a cache: a container's user may have no home. Whoever only looks
for something then finds nothing; only who must write there is told.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from sam_edge.errors import SamEdgeError

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
