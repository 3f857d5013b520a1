"""The ``sam-edge`` command: finds its commands by entry point, and turns errors into one line."""

from __future__ import annotations

import _thread
import argparse
import logging
import os
import signal
import stat
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias

from sam_edge._version import __version__
from sam_edge.cli.console import discard, say
from sam_edge.errors import ArgumentError, PromptError, SamEdgeError
from sam_edge.text import printable

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

FAILED, WRONG_CALL = 1, 2


EPILOG = """\
examples:
  sam-edge segment photo.jpg --point 500,375
  sam-edge segment photo.jpg --box 60,20,420,380 --overlay over.png
  sam-edge models pull mobile_sam
  sam-edge segment photo.jpg -m mobile_sam --point 500,375

exit codes: 0 done, 1 the work failed, 2 the call is wrong
"""


class CommandLineError(ArgumentError):
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
    # Here, not above: Ctrl-C during imports is answered only once ``main`` runs.
    from importlib.metadata import entry_points

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
        try:
            entry.load()(subparsers)
        except (Exception, SystemExit) as error:  # a plug-in may be anybody's
            say(
                f"sam-edge: the commands of {entry.value} are left out: {_described(error)}; "
                "upgrade or uninstall what brings them"
            )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    debug = False
    hook = sys.unraisablehook
    sys.unraisablehook = partial(_pass_ctrl_c_on, hook)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                arguments = build_parser().parse_args(argv)
                debug = arguments.debug
                _log_to_stderr("DEBUG" if debug else "WARNING")
                code = int(arguments.run(arguments))
            finally:
                # What a full disk or a closed pipe refuses is found out here, not after the end.
                if sys.stdout is not None:
                    sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        say("sam-edge: stopped")
        return FAILED
    except Exception as error:
        # Whoever read has seen enough, as after `| head -1`?
        left = isinstance(error, BrokenPipeError) and _is_piped()
        if isinstance(error, OSError):
            _drop_what_cannot_be_printed()
        if left:
            return FAILED
        if debug:
            traceback.print_exc()
        say(f"sam-edge: {one_line(error)}")
        return WRONG_CALL if isinstance(error, PromptError | ArgumentError) else FAILED
    finally:
        sys.unraisablehook = hook


def _pass_ctrl_c_on(hook: Callable[[UnraisableHookArgs], Any], lost: UnraisableHookArgs) -> None:
    """Ctrl-C may come where no exception can leave, as in what a module's lock calls when it goes.

    Python would print a traceback and go on as if nobody had pressed it.
    """
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, _interrupt).start()  # once the hook has been left, too
    else:
        hook(lost)


def _interrupt() -> None:
    main_thread = threading.main_thread().ident
    if sys.platform == "win32" or main_thread is None:
        _thread.interrupt_main()
    else:
        signal.pthread_kill(main_thread, signal.SIGINT)  # a sleep ends, too


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.basicConfig(handlers=[handler], level=level)


class _OneLine(logging.Formatter):
    """Messages name what strangers' files say."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line; Python's own form quotes source code, which helps nobody here."""
    say(f"sam-edge: warning: {' '.join(str(message).split())}")


def _drop_what_cannot_be_printed() -> None:
    """Empty stdout's buffer, which Python would try to write once more when it ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard(sys.stdout)


def _is_piped() -> bool:
    """Whether stdout goes to another program."""
    with suppress(OSError, ValueError, AttributeError):
        mode = os.fstat(sys.stdout.fileno()).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    return False


def one_line(error: Exception) -> str:
    """Say an error in one line; one that nobody foresaw says how to report it."""
    if isinstance(error, MemoryError):
        return "out of memory; a smaller --image-size at export, or a smaller model, needs less"
    if isinstance(error, FileNotFoundError) and error.filename is None and error.errno:
        return "the current folder is gone; go to another, or give whole paths"
    if isinstance(error, OSError) and error.strerror:
        subject = "" if error.filename is None else f"{error.filename}: "
        return f"{subject}{error.strerror}"
    if isinstance(error, SamEdgeError | OSError):
        return " ".join(str(error).split())
    return (
        f"unforeseen: {_described(error)}; run it again as `sam-edge --debug ...` for the "
        "traceback, and please report it"
    )


def _described(error: BaseException) -> str:
    """Return an error's type and text, in one line of bounded length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}"
