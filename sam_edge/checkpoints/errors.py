"""What is wrong with a checkpoint."""

from __future__ import annotations

from sam_edge.errors import SamEdgeError


class CheckpointError(SamEdgeError, ValueError):
    """A file that is no checkpoint of a known model: what was expected, what was found."""
