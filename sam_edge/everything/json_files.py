"""JSON from outside, with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sam_edge.errors import SamEdgeError


class JsonFileError(SamEdgeError, ValueError):
    """A file that holds no JSON."""


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is anything
    """Read a JSON file.

    Raises:
        OSError: if it cannot be read.
        JsonFileError: if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise JsonFileError(f"{path} is not JSON: {error}") from error
