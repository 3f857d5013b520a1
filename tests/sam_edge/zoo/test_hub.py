"""Files of a hub, as Hugging Face's answers: small ones with git's id, large ones elsewhere."""

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sam_edge.cli.frame import main
from sam_edge.errors import ChecksumError, DownloadError, ModelNotFoundError
from sam_edge.zoo import grounders
from sam_edge.zoo.hub import FILES, fetch_folder, git_id

NAME = "owlvit-base-patch32"
LARGE = b"weights " * 1000


def folder_of(weights="model.safetensors"):
    return {**{name: f"{name} of a test".encode() for name in FILES}, weights: LARGE}


@contextmanager
def hub(files, wrong=()):
    """Serve files as the hub does; large ones from another host, the ``wrong`` ones changed."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(send=False)

        def do_GET(self):
            self.answer(send=True)

        def answer(self, send):
            name = self.path.rpartition("/")[2]
            asked.append((self.command, name))
            content = files.get(name)
            large = content == LARGE
            if content is None:
                self.send_error(404)
                return
            if large and self.headers["Host"].startswith("127.0.0.1"):
                self.send_response(302)
                self.send_header("X-Linked-Size", str(len(content)))
                self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
                port = self.server.server_address[1]
                self.send_header("Location", f"http://localhost:{port}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if "moved" not in self.path and not large:
                self.send_response(307)  # within the host
                self.send_header("Location", f"/moved{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("ETag", f'W/"{git_id(content)}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if send:
                self.wfile.write(content[::-1] if name in wrong else content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/google/{NAME}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_comes_whole_and_is_not_asked_for_again(tmp_path, weights):
    files = folder_of(weights)
    with hub(files) as (page, asked):
        fetch_folder(page, tmp_path / "folder")
        for name, content in files.items():
            assert (tmp_path / "folder" / name).read_bytes() == content
        count = len(asked)
        fetch_folder(page, tmp_path / "folder")
        assert len(asked) == count


@pytest.mark.parametrize("wrong", ["vocab.json", "model.safetensors"])
def test_what_is_not_what_the_hub_says_is_thrown_away(tmp_path, wrong):
    with hub(folder_of(), wrong=[wrong]) as (page, _):
        with pytest.raises(ChecksumError):
            fetch_folder(page, tmp_path)
        assert not (tmp_path / wrong).exists()


def test_a_page_without_a_file_says_which(tmp_path):
    files = folder_of()
    del files["merges.txt"]
    with hub(files) as (page, _), pytest.raises(DownloadError, match=r"has no merges\.txt"):
        fetch_folder(page, tmp_path)
    files = {name: content for name, content in folder_of().items() if content != LARGE}
    with hub(files) as (page, _), pytest.raises(DownloadError, match="none of model"):
        fetch_folder(page, tmp_path)


def test_the_command_fetches_the_named_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    with hub(folder_of()) as (page, _):
        row = replace(grounders.named_grounders()[NAME], page=page)
        monkeypatch.setitem(grounders.named_grounders(), NAME, row)
        assert main(["models", "pull", NAME, "--checkpoint"]) == 0
    folder = tmp_path / "checkpoints" / "hub" / NAME
    assert capsys.readouterr().out.strip() == str(folder)
    assert (folder / "model.safetensors").read_bytes() == LARGE


def test_no_mirror_is_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    monkeypatch.setenv("SAM_EDGE_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(ModelNotFoundError, match="SAM_EDGE_MIRROR"):
        grounders.pull_grounder(NAME)


def test_a_server_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DownloadError, match="try again later"):
        fetch_folder("http://127.0.0.1:9/google/x", tmp_path)
