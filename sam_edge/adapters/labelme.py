"""labelme: a model of ours in the menu of its AI tools, AI-Points and AI-Box.

::

    python -m sam_edge.adapters.labelme --model mobile_sam photos/

``--model`` is a name or a bundle's folder, the model in the box if it is left out; everything else
is labelme's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from sam_edge.adapters import imported
from sam_edge.adapters.osam import register
from sam_edge.errors import SamEdgeError
from sam_edge.loading import load_model
from sam_edge.model import Model


def add_to_labelme(model: Model) -> str:
    """Put a model first in the menu of labelme's AI tools, before its window is made.

    labelme has no place for models of others: its own list is changed, where 7.3 to 7.9 have it.
    Versions before 7.3 have another, and hand their models photos with red and blue exchanged.

    Returns:
        What the menu calls it.

    Raises:
        MissingDependencyError: without labelme, or with one whose list lies elsewhere.
    """
    name, title = f"sam-edge:{model.spec.variant}", f"sam-edge {model.spec.variant}"
    listed = imported("labelme._ai_models", "'labelme>=7.3' (Python 3.12 or newer)")
    others = [option for option in listed.AI_ASSIST_MODEL_OPTIONS if option.model_name != name]
    register(model, name)
    ours = replace(others[0], model_name=name, display_name=title, supports_point_prompts=True)
    listed.AI_ASSIST_MODEL_OPTIONS = (ours, *others)
    return title


def main(words: Sequence[str] | None = None) -> None:
    """Start labelme; ``words`` are the command line's, ``sys.argv`` without its first if None."""
    parser = argparse.ArgumentParser(
        prog="python -m sam_edge.adapters.labelme",
        description="labelme with a model of sam-edge's in the menu of its AI tools",
        epilog="everything else is passed on to labelme",
        allow_abbrev=False,
    )
    parser.add_argument("--model", metavar="MODEL", help="a name or a bundle's folder")
    arguments, rest = parser.parse_known_args(words)
    try:
        add_to_labelme(load_model(arguments.model))
    except SamEdgeError as error:
        sys.exit(f"error: {error}")
    sys.argv = ["labelme", *rest]
    imported("labelme.__main__", "labelme").main()


if __name__ == "__main__":
    main()
