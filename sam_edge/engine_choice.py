"""How fast each engine was measured to be here, for a bundle, in each format it computes in.

``sam-edge bench run`` writes what it found; ``runtime="auto"`` and ``compute="auto"`` read it. The
file is a hint about speed: a file that is missing or damaged means "not known", and a cache that
cannot be written means that nothing is remembered.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from sam_edge.cache import cache_directory
from sam_edge.errors import JsonFileError
from sam_edge.files import json_text, read_json, write_text
from sam_edge.spec import BundleSpec

logger = logging.getLogger("sam_edge")

FILE_NAME = "engine_seconds.json"

Way: TypeAlias = tuple[str, str]
"""An engine and the format that it computes in."""


def measured_seconds(spec: BundleSpec) -> dict[Way, float]:
    """Return what a photo with one prompt took here, in seconds, by engine and format."""
    engines = _known().get(_key(spec))
    if not isinstance(engines, dict):
        return {}
    return {
        (engine, name): float(time)
        for engine, times in engines.items()
        if isinstance(times, dict)
        for name, time in times.items()
        if isinstance(time, int | float) and math.isfinite(time) and time > 0
    }


def remember_seconds(spec: BundleSpec, seconds: Mapping[Way, float]) -> None:
    """Remember what a bundle took on this machine, in place of what was known of it.

    Args:
        spec: the bundle's.
        seconds: of the same work; a time that is not finite is left out.
    """
    engines: dict[str, dict[str, float]] = {}
    for (engine, name), time in seconds.items():
        if math.isfinite(time):
            engines.setdefault(engine, {})[name] = time
    try:
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json_text({**_known(), _key(spec): engines}, indent=1))
    except OSError as error:
        logger.debug("%s is not remembered: %s", engines, error)


def _path() -> Path:
    return cache_directory() / FILE_NAME


def _key(spec: BundleSpec) -> str:
    return f"{spec.source.sha256}-{spec.precision}-{spec.image.size}-{spec.image.frame}"


def _known() -> dict[str, Any]:
    try:
        content = read_json(_path())
    except (OSError, JsonFileError):
        return {}
    return content if isinstance(content, dict) else {}
