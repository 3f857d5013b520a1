"""Every engine as a test's parameter; one that is not installed is skipped."""

from importlib.util import find_spec

import pytest

import sam_edge_runtimes

ENGINES = [
    pytest.param(
        engine,
        marks=pytest.mark.skipif(find_spec(engine) is None, reason=f"{engine} not installed"),
    )
    for engine in sam_edge_runtimes.ENGINES
]
