import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """What tests keep stays out of the user's cache."""
    before = os.environ.get("SAM_EDGE_CACHE")
    os.environ["SAM_EDGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SAM_EDGE_CACHE"]
    else:
        os.environ["SAM_EDGE_CACHE"] = before
