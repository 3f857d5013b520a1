"""Which engine was measured to be the faster one here, for a bundle and a precision.

``sam-edge bench run`` writes what it found; ``runtime="auto"`` reads it. The file is a hint about
speed: masks are the same either way, so a file that is missing or damaged means "not known", and a
cache that cannot be written means that nothing is remembered.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from sam_edge.cache import cache_directory
from sam_edge.errors import JsonFileError
from sam_edge.files import json_text, read_json, write_text
from sam_edge.spec import BundleSpec
from sam_edge_runtimes import ENGINES

logger = logging.getLogger("sam_edge")

FILE_NAME = "fastest_engine.json"


def fastest_engine(spec: BundleSpec) -> str | None:
    """Return the engine that was measured fastest here, or None if that is not known."""
    engine = _known().get(_key(spec))
    return engine if engine in ENGINES else None


def remember_fastest(spec: BundleSpec, seconds: Mapping[str, float]) -> str:
    """Remember which engine was faster for a bundle on this machine.

    Args:
        spec: the bundle's.
        seconds: engine -> time of the same work on it; one that is not finite counts as no time.

    Returns:
        The faster engine.

    Raises:
        ValueError: if no engine has a time.
    """
    times = {time: name for name, time in seconds.items() if math.isfinite(time)}
    if not times:
        raise ValueError(f"no engine has a time: {dict(seconds)}")
    engine = times[min(times)]
    try:
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json_text({**_known(), _key(spec): engine}, indent=1))
    except OSError as error:
        logger.debug("%s is not remembered: %s", engine, error)
    return engine


def _path() -> Path:
    return cache_directory() / FILE_NAME


def _key(spec: BundleSpec) -> str:
    return f"{spec.source.sha256}-{spec.precision}-{spec.image.frame}"


def _known() -> dict[str, str]:
    try:
        content = read_json(_path())
    except (OSError, JsonFileError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if isinstance(value, str)}
