"""The ``sam-edge`` command. A plug-in adds commands of its own through these names."""

from sam_edge.cli.frame import CommandLineError, Subparsers, add_command, main

__all__ = ["CommandLineError", "Subparsers", "add_command", "main"]
