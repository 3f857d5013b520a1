"""Model names: the model in the box, and bundles on disk."""

from __future__ import annotations

from importlib.resources import files
from os import PathLike
from pathlib import Path

from sam_edge.errors import ModelNotFoundError


def resolve(model: str | PathLike[str] | None = None) -> Path:
    """Return the bundle's directory for a path, or for None the model in the box.

    Raises:
        ModelNotFoundError: if there is none.
    """
    if model is None:
        return Path(str(files("sam_edge") / "assets" / "nano"))
    path = Path(model)
    if not path.is_dir():
        raise ModelNotFoundError(
            f"{model} is not a bundle's folder; make one with: sam-edge export CHECKPOINT -o BUNDLE"
        )
    return path
