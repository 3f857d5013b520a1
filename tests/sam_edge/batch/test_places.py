"""Results that go to an object store: the same bytes, and kept when they are there."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

import sam_edge.batch
from sam_edge.batch.places import place_at
from sam_edge.errors import MissingDependencyError, UnwritableError
from tests.sam_edge.batch.drawn import tree


def test_a_file_address_is_a_folder(tmp_path):
    place = place_at((tmp_path / "a b").as_uri())
    place.write("x/y.txt", b"1")
    assert (tmp_path / "a b" / "x" / "y.txt").read_bytes() == b"1"
    assert place.read("x/y.txt") == b"1"
    assert place.read("x/z.txt") is None
    with pytest.raises(UnwritableError, match=r"x/y\.txt"):
        place.write("x/y.txt/z", b"1")


def test_an_address_without_what_it_needs_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match="pip install fsspec"):
        place_at("s3://bucket/masks")


def test_an_address_of_no_kind_is_refused():
    pytest.importorskip("fsspec")
    with pytest.raises(UnwritableError, match="no address that fsspec knows"):
        place_at("gopher://bucket/masks")


@pytest.fixture
def bucket(monkeypatch):
    """An S3 on this machine, with one bucket."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                request = urllib.request.Request(f"{address}/masks", method="PUT")
                request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/s3")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "testing"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", address),
            ("FSSPEC_S3_ENDPOINT_URL", address),
        ):
            monkeypatch.setenv(name, value)
        yield address
    finally:
        server.terminate()
        server.wait()


# In a process of its own: s3fs has threads and warnings of its own.
TWICE = """
import json, sys
import sam_edge.batch
from sam_edge.batch.places import place_at

def main(photos):
    seen = []
    for resume in (False, True):
        summary = sam_edge.batch.run(
            photos, "s3://masks/run", prompts=f"{photos}/boxes.csv", processes=1,
            embeddings="s3://masks/embeddings", resume=resume,
        )
        seen.append([summary.done, summary.kept, summary.failed])
    place = place_at("s3://masks")
    files = place._files.find("masks/run")
    content = {name[len("masks/run/"):]: place.read(name[len("masks/"):]).hex() for name in files}
    print(json.dumps([seen, content, len(place._files.find("masks/embeddings"))]))

main(sys.argv[1])
"""


@pytest.mark.slow
def test_an_object_store_gets_the_same_files_and_is_resumed(shots, tmp_path, bucket):
    done = subprocess.run(
        [sys.executable, "-c", TWICE, str(shots)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    seen, content, embeddings = json.loads(done.stdout.splitlines()[-1])
    assert seen == [[5, 0, 1], [0, 5, 1]]
    assert embeddings == 5
    out = tmp_path / "out"
    sam_edge.batch.run(
        shots,
        out,
        prompts=shots / "boxes.csv",
        processes=1,
        embeddings=tmp_path / "embeddings",
    )
    assert {name: bytes.fromhex(data) for name, data in content.items()} == tree(out)


def test_a_files_address_is_a_folder_to_the_last_sign(tmp_path):
    place_at(f"file://{tmp_path}/o%20p#1?2").write("x", b"1")
    assert (tmp_path / "o p#1?2" / "x").read_bytes() == b"1"
    with pytest.raises(UnwritableError, match="names a machine, here; write file:///FOLDER"):
        place_at("file://here/there")
