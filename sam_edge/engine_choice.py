"""Which engine was measured to be the faster one here, for a bundle and a precision.

``sam-edge bench run`` writes what it found; ``runtime="auto"`` reads it. The file is a hint about
speed: masks are the same either way, so a file that is missing or damaged means "not known".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sam_edge.files import replacing
from sam_edge.spec import ModelSpec
from sam_edge.zoo.cache import cache_directory
from sam_edge_runtimes import ENGINES

FILE_NAME = "fastest_engine.json"


def fastest_engine(spec: ModelSpec) -> str | None:
    """Return the engine that was measured fastest here, or None if that is not known."""
    engine = _known().get(_key(spec))
    return engine if engine in ENGINES else None


def remember_fastest(spec: ModelSpec, seconds: Mapping[str, float]) -> str:
    """Remember which engine was faster for a bundle on this machine.

    Args:
        spec: the bundle's.
        seconds: engine -> time of the same work on it.

    Returns:
        The faster engine.

    Raises:
        OSError: if the cache cannot be written.
    """
    engine = min(seconds, key=lambda name: seconds[name])
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps({**_known(), _key(spec): engine}, indent=1) + "\n", "utf-8")
    return engine


def _path() -> Path:
    return cache_directory() / FILE_NAME


def _key(spec: ModelSpec) -> str:
    return f"{spec.source.sha256}-{spec.precision}-{spec.frame}"


def _known() -> dict[str, str]:
    try:
        content = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, str)}
