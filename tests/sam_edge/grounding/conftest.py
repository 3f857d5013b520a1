"""The smallest OWLv2 there is, of random weights: 16 boxes, one block a tower, real sessions."""

from pathlib import Path

import pytest

from sam_edge.grounding.opening import load_grounder

BUNDLE = Path(__file__).parent / "bundle"


@pytest.fixture(scope="session")
def grounder():
    pytest.importorskip("tokenizers")
    return load_grounder(BUNDLE, cache=False)
