"""Checkpoints in: whatever the file is, a ``Sam`` with its weights."""

from __future__ import annotations

from sam_edge_export.checkpoints.load import CheckpointError, load_checkpoint

__all__ = ["CheckpointError", "load_checkpoint"]
