"""The ``sam-edge`` command: finds its commands by entry point, and turns errors into one line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import TypeAlias

from sam_edge import __version__
from sam_edge.errors import PromptError, SamEdgeError

FAILED, WRONG_CALL = 1, 2

EPILOG = """\
examples:
  sam-edge segment photo.jpg --point 500,375
  sam-edge segment photo.jpg --box 60,20,420,380 --overlay over.png
  sam-edge models pull vit_b --export fp32
  sam-edge segment photo.jpg -m vit_b --point 500,375

exit codes: 0 done, 1 the work failed, 2 the call is wrong
"""


class CommandLineError(SamEdgeError, ValueError):
    """A call whose words do not fit together: exit code 2."""


Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    subparsers: Subparsers, name: str, text: str, *, description: str, examples: str
) -> argparse.ArgumentParser:
    """Add a command whose help ends with examples.

    Args:
        subparsers: of the parser it belongs to.
        name: what people type.
        text: one line for the list of commands.
        description: one paragraph for its own help.
        examples: shown as they stand, below the options.
    """
    return subparsers.add_parser(
        name,
        help=text,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with the commands of every installed component."""
    parser = argparse.ArgumentParser(
        prog="sam-edge",
        description="Segment Anything on a CPU, without torch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sam-edge {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for entry in sorted(entry_points(group="sam_edge.commands"), key=lambda entry: entry.name):
        entry.load()(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(format="%(message)s", level="DEBUG" if arguments.debug else "WARNING")
    try:
        return int(arguments.run(arguments))
    except (SamEdgeError, OSError, MemoryError) as error:
        if arguments.debug:
            raise
        print(f"sam-edge: {_one_line(error)}", file=sys.stderr)
        return WRONG_CALL if isinstance(error, PromptError | CommandLineError) else FAILED
    except KeyboardInterrupt:
        print("sam-edge: stopped", file=sys.stderr)
        return FAILED


def _one_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; a smaller --image-size at export, or a smaller model, needs less"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
