import pytest


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """One server for tests that leave nothing behind: its client, and the folder it serves."""
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    pytest.importorskip("httpx")
    from tests.sam_edge.server import running

    folder = running.copy_photos(tmp_path_factory.mktemp("served") / "photos")
    cache = tmp_path_factory.mktemp("cache")
    with running.opened(folder, cache=cache) as (_, client):
        yield client, folder


@pytest.fixture
def client(served):
    return served[0]
