"""Checkpoints in: whatever the file is, a ``Sam`` with its weights."""

from __future__ import annotations

from sam_edge_export.checkpoints.errors import CheckpointError
from sam_edge_export.checkpoints.load import load_checkpoint, source_sha256

__all__ = ["CheckpointError", "load_checkpoint", "source_sha256"]
