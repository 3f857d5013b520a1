"""Every error that sam-edge raises on purpose descends from ``SamEdgeError``.

It lives at the bottom of the house so that engines may raise it; users import it from ``sam_edge``.
Messages are built where the error happens and are the only argument: an exception with two
arguments cannot be unpickled, which breaks pools of worker processes.
"""

from __future__ import annotations


class SamEdgeError(Exception):
    """Base of every error that sam-edge raises on purpose. One line, with the next step."""


class ArgumentError(SamEdgeError, ValueError):
    """An argument that has no meaning, or does not go with another: exit code 2."""


class EngineError(SamEdgeError, RuntimeError):
    """An engine that cannot open or run a graph. It never becomes another engine by itself."""


class RunStoppedError(SamEdgeError, RuntimeError):
    """A run that was stopped from another thread; see ``sam_edge_runtimes.stopping``."""


class MissingDependencyError(SamEdgeError, ImportError):
    """A package of an extra that is not installed. The message holds the exact pip command."""
