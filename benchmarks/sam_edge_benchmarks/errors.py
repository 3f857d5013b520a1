"""What can go wrong while measuring, each with one message so that it crosses process borders."""

from __future__ import annotations

from sam_edge.errors import SamEdgeError


class BenchmarkError(SamEdgeError, RuntimeError):
    """A measurement that could not be taken."""


class RecordError(SamEdgeError, ValueError):
    """A file that is no benchmark record, or one that nobody should trust."""


class DifferentWorkError(SamEdgeError, ValueError):
    """Two records that did not measure the same work."""
