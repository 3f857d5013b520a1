"""Where downloads, bundles made of them and measurements stay: the user's cache.

``checkpoints/SHA256/FILE`` is content-addressed: what lies there was checked before it was moved.
``bundles/NAME-PRECISION`` are exports of named models. ``compiled/SHA256`` is what engines made of
a graph, for this machine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sam_edge.zoo.table import Checkpoint


def cache_directory() -> Path:
    """Return ``SAM_EDGE_CACHE``, or the platform's own place for caches. It may not exist yet."""
    if chosen := os.environ.get("SAM_EDGE_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sam-edge"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "sam-edge" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sam-edge"


def checkpoint_path(checkpoint: Checkpoint) -> Path:
    """Return where a checkpoint is kept. It may not exist yet."""
    return cache_directory() / "checkpoints" / (checkpoint.sha256 or "unknown") / checkpoint.file


def is_complete(checkpoint: Checkpoint, path: Path) -> bool:
    """Whether the file is there. Its bytes were checked when it was moved there."""
    try:
        return path.stat().st_size == checkpoint.size
    except OSError:
        return False


def bundle_path(name: str, precision: str) -> Path:
    """Return where the export of a named model is kept. It may not exist yet."""
    return cache_directory() / "bundles" / f"{name}-{precision}"


def compiled_directory(sha256: str) -> Path:
    """Return where what engines made of a graph is kept, by the graph's hash."""
    return cache_directory() / "compiled" / sha256[:16]
