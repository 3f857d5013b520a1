"""Where ``sam-edge`` starts: with as few imports as can be, so that Ctrl-C is never a traceback."""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # until ``main`` can answer it with a line


def main() -> int:
    """Run the command line and return its exit code."""
    from sam_edge.cli.frame import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()
