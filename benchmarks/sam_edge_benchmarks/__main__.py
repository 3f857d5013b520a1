"""``python -m sam_edge_benchmarks``: from a checkout, where nothing is installed but torch."""

from __future__ import annotations

import argparse
import sys

from sam_edge.errors import SamEdgeError
from sam_edge_benchmarks.cli import add_bench_commands, add_readme_command


def main() -> int:
    """Run one command; errors are one line."""
    parser = argparse.ArgumentParser(prog="sam_edge_benchmarks")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_bench_commands(subparsers)
    add_readme_command(subparsers)
    arguments = parser.parse_args()
    try:
        return int(arguments.run(arguments))
    except (SamEdgeError, OSError) as error:
        sys.stderr.write(f"sam_edge_benchmarks: {' '.join(str(error).split())}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
