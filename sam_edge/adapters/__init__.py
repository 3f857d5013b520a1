"""sam-edge inside other programs, a file a package; see ``docs/integrations.md``.

Each imports its package when it is called: whoever calls it has that package. Masks go out as
``LabelledMask``, which ``segment_boxes``, ``segment_text`` and ``labelled`` give; what a package
knows about where things are comes in as ``Detection``, which ``segment_boxes`` takes.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sam_edge.errors import MissingDependencyError


def imported(module: str, install: str) -> Any:  # noqa: ANN401 - another package's module
    """Return another package's module.

    Args:
        module: its dotted name.
        install: what ``pip install`` calls the package.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{module} cannot be imported ({error}); run: pip install {install}"
        ) from error
