"""One set of photos for all tests of batches."""

import pytest

from tests.sam_edge.batch.drawn import draw_set


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    """Six photos, one of which is cut off. Nobody changes them."""
    return draw_set(tmp_path_factory.mktemp("shots"), 6, bad=(4,))
