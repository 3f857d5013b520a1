"""Where downloads and measurements stay: the user's cache, never beside a bundle."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_directory() -> Path:
    """Return ``SAM_EDGE_CACHE``, or the platform's own place for caches. It may not exist yet."""
    if chosen := os.environ.get("SAM_EDGE_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sam-edge"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "sam-edge" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sam-edge"
