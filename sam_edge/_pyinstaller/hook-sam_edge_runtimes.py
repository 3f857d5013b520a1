"""The engines' adapters, with the engines that are installed where the program is frozen."""

from importlib.util import find_spec

from sam_edge_runtimes import ENGINES

hiddenimports = [f"sam_edge_runtimes.{name}" for name in ENGINES if find_spec(name) is not None]
