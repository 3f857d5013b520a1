"""Where downloads, bundles made of them and measurements stay: the user's cache.

``checkpoints/SHA256/FILE`` is content-addressed: what lies there was checked before it was moved.
``bundles/NAME-PRECISION`` are bundles of named models, ``bundles/NAME-PRECISION-SIZE`` those of
another image size, ``bundles/NAME-fp32-of-SHA256`` those of checkpoints that
``sam_model_registry`` was given. ``compiled/KEY`` is what engines made of a graph, for this
machine.

A machine may have no place for a cache: a container's user may have no home. Whoever only looks
for something then finds nothing; only who must write there is told.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from sam_edge.bundle import MANIFEST_NAME
from sam_edge.cache import CacheError, cache_directory
from sam_edge.zoo.table import Checkpoint, named_models

logger = logging.getLogger("sam_edge")


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


def bundle_path(name: str, precision: str, image_size: int | None = None) -> Path:
    """Return where the bundle of a named model is kept. It may not exist yet.

    Args:
        name: of the table.
        precision: one of ``PRECISIONS``.
        image_size: None is what the model was trained at.

    Raises:
        CacheError: as for ``cache_directory``.
    """
    size = "" if image_size in (None, named_models()[name].image_size) else f"-{image_size}"
    return cache_directory() / "bundles" / f"{name}-{precision}{size}"


def bundle_of(name: str, digest: str) -> Path:
    """Return where the float32 bundle of a checkpoint of somebody's own is kept.

    Args:
        name: of the table, whose variant it is.
        digest: the checkpoint's sha256.

    Raises:
        CacheError: as for ``cache_directory``.
    """
    return bundle_path(name, f"fp32-of-{digest[:16]}")


def kept_bundle(name: str, precision: str, image_size: int | None = None) -> Path | None:
    """Return the bundle of a named model if it is in the cache; see ``bundle_path``."""
    try:
        path = bundle_path(name, precision, image_size)
    except CacheError:
        return None
    return path if os.path.isfile(path / MANIFEST_NAME) else None  # False where stat is refused
