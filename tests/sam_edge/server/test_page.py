"""The page's files are sent as they lie in the package."""

import gzip

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from tests.sam_edge.server import running

WASM = b"\0asm" + bytes(1000)


@pytest.fixture
def client(tmp_path):
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>")
    (static / "assets" / "run-1a2b.wasm.gz").write_bytes(gzip.compress(WASM))
    (static / "assets" / "run-1a2b.js").write_text("1")
    (static / "secret.py").write_text("no")
    (static / "folder.html").write_text("of a folder without a server")
    (static / "service_worker.js").write_text("too")
    with running.client_in_thread(uploads=tmp_path, static=static) as client:
        yield client


def test_the_page_is_at_the_root_and_needs_no_token(tmp_path, client):
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.text == "<!doctype html>"
    again = client.get("/index.html", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    with running.client_in_thread(
        uploads=tmp_path, static=tmp_path / "static", token="a-token-of-many-letters"
    ) as locked:
        assert locked.get("/").status_code == 200
        assert locked.get("/v1/photos").status_code == 401


def test_what_is_stored_as_gzip_is_sent_so_to_those_who_take_it(client):
    sent = client.get("/assets/run-1a2b.wasm")
    assert sent.headers["content-encoding"] == "gzip"
    assert int(sent.headers["content-length"]) < len(WASM)
    plain = client.get("/assets/run-1a2b.wasm", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for answer in (sent, plain):
        assert answer.content == WASM
        assert answer.headers["content-type"] == "application/wasm"
        assert "immutable" in answer.headers["cache-control"]
    assert "javascript" in client.get("/assets/run-1a2b.js").headers["content-type"]


@pytest.mark.parametrize(
    "path",
    [
        "/secret.py",
        "/assets/run-1a2b.wasm.gz",
        "/assets/",
        "/static/",
        "/folder.html",
        "/service_worker.js",
    ],
)
def test_nothing_else_is_sent(client, path):
    assert client.get(path).status_code == 404
    assert client.post("/").status_code == 405


def test_without_a_page_the_root_says_where_the_api_is(tmp_path):
    with running.client_in_thread(uploads=tmp_path, static=tmp_path / "none") as client:
        answer = client.get("/")
    assert answer.status_code == 404
    assert "/openapi.json" in answer.json()["error"]["message"]
