"""Checkpoints in, with numpy alone: whatever the file is, its weights under official names."""

from __future__ import annotations

from sam_edge.checkpoints.errors import CheckpointError
from sam_edge.checkpoints.weights import (
    OpenCheckpoint,
    Weights,
    open_checkpoint,
    source_sha256,
    weights_of,
)

__all__ = [
    "CheckpointError",
    "OpenCheckpoint",
    "Weights",
    "open_checkpoint",
    "source_sha256",
    "weights_of",
]
