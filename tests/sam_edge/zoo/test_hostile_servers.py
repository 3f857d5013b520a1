"""What a server, an address or a neighbour on the machine must not get by a download."""

import hashlib
import logging
import os
import random
import time

import pytest

from sam_edge.errors import DownloadError
from sam_edge.zoo.download import download
from tests.sam_edge.zoo.server import Behaviour, serving

CONTENT = random.Random(3).randbytes(60_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "model.pth"


def fetch(address, target, **options):
    settings = {"size": len(CONTENT), "sha256": SHA256, "timeout": 1.0, "back_off": 0.001}
    return download(f"{address}/model.pth", target, **{**settings, **options})


def test_a_server_that_drips_is_given_up_and_its_bytes_are_kept(target):
    behaviour = Behaviour(CONTENT, piece=5, slow=0.02)  # some 200 bytes a second
    began = time.monotonic()
    with (
        serving(behaviour) as address,
        pytest.raises(DownloadError, match=r"only \d+ bytes came in \d+ s; gave up after 5"),
    ):
        fetch(address, target, least_rate=10_000, rate_seconds=0.1)
    assert time.monotonic() - began < 5
    partial = target.with_name("model.pth.partial").read_bytes()
    assert partial
    assert CONTENT.startswith(partial)
    assert len(behaviour.requests) == 5


def test_a_server_that_drips_once_is_asked_again_and_goes_on(target):
    behaviour = Behaviour(CONTENT, piece=5, slow=0.02)

    def hurry(done, size):
        behaviour.slow, behaviour.piece = 0.0, 4096  # of answers that begin later

    with serving(behaviour) as address:
        fetch(address, target, least_rate=10_000, rate_seconds=0.1, progress=hurry)
    assert target.read_bytes() == CONTENT
    assert len(behaviour.requests) == 2


def test_a_line_of_the_least_rate_is_slow_enough(target):
    behaviour = Behaviour(CONTENT, piece=3000, slow=0.02)  # at most 150,000 bytes a second
    with serving(behaviour) as address:
        fetch(address, target, least_rate=20_000, rate_seconds=0.1)
    assert len(behaviour.requests) == 1


def test_a_byte_an_answer_does_not_go_on_for_ever(target):
    behaviour = Behaviour(CONTENT, cut_after=1)
    with serving(behaviour) as address, pytest.raises(DownloadError, match="after 5 attempts"):
        fetch(address, target)
    assert len(behaviour.requests) == 5


def test_the_body_of_a_redirect_is_not_waited_for(target):
    behaviour = Behaviour(CONTENT, redirect=True, body_of_redirect=10**6)  # 24 s at its pace
    began = time.monotonic()
    with serving(behaviour) as address:
        fetch(address, target)
        assert time.monotonic() - began < 5
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["model.pth.lock", "model.pth.partial"])
def test_a_link_in_the_cache_leads_to_no_other_file(target, tmp_path, name):
    victim = tmp_path / "letters.txt"
    victim.write_text("dear")
    target.parent.mkdir()
    target.with_name(name).symlink_to(victim)
    with (
        serving(Behaviour(CONTENT)) as address,
        pytest.raises(DownloadError, match=rf"{name} is no file"),
    ):
        fetch(address, target)
    assert victim.read_text() == "dear"
    assert not target.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_in_the_cache_is_not_waited_for(target):
    target.parent.mkdir()
    os.mkfifo(target.with_name("model.pth.partial"))
    with pytest.raises(DownloadError, match="is no file"):
        fetch("http://127.0.0.1:9", target)


def test_the_lock_is_emptied_by_nobody(target):
    target.parent.mkdir()
    lock = target.with_name("model.pth.lock")
    lock.write_text("another program's")
    with serving(Behaviour(CONTENT)) as address:
        fetch(address, target)
    assert lock.read_text() == "another program's"


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1:9/model.pth", "data:,x", "http://[::1"],
)
def test_a_redirect_leads_to_http_only(target, location):
    behaviour = Behaviour(CONTENT, location=location)
    with serving(behaviour) as address, pytest.raises(DownloadError) as caught:
        fetch(address, target)
    assert len(behaviour.headers) == 1  # told at once, not tried again
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "file:///tmp",
        "ftp://127.0.0.1",
        "data:,x",
        "/media/stick",
        "C:\\sam",
        "box.example/sam",
        "http://",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://127.0.0.1/a\r\nHost: b",
        "http://127.0.0.1/a b",
    ],
)
def test_an_address_that_cannot_be_asked_is_one_line(target, address):
    with pytest.raises(DownloadError) as caught:
        fetch(address, target)
    assert "\n" not in str(caught.value)
    assert "\r" not in str(caught.value)
    assert not target.parent.exists()


def test_a_password_reaches_its_host_and_no_message(target, caplog):
    behaviour = Behaviour(CONTENT, statuses=[404])
    with caplog.at_level(logging.DEBUG), serving(behaviour) as address:
        host = address.removeprefix("http://")
        with pytest.raises(DownloadError, match="HTTP 404") as caught:
            fetch(f"http://me:se%20cret@{host}", target)
        fetch(f"http://me:se%20cret@{host}", target)
    assert [headers["Authorization"] for headers in behaviour.headers] == [
        "Basic bWU6c2UgY3JldA=="  # me:se cret
    ] * 2
    assert "cret" not in str(caught.value) + caplog.text


def test_a_password_does_not_follow_a_redirect(target):
    elsewhere = Behaviour(CONTENT)
    with serving(elsewhere) as other:
        behaviour = Behaviour(CONTENT, location=f"{other}/model.pth")
        with serving(behaviour) as address:
            fetch(address.replace("http://", "http://me:secret@"), target)
    assert "Authorization" in behaviour.headers[0]
    assert "Authorization" not in elsewhere.headers[0]


@pytest.mark.parametrize("after", ["²", "9" * 5000])
def test_odd_numbers_in_headers_are_none(target, after, monkeypatch):
    monkeypatch.setattr("sam_edge.zoo.download.LONGEST_WAIT", 0.01)
    with serving(Behaviour(CONTENT, statuses=[503], retry_after=after)) as address:
        fetch(address, target)
    assert target.read_bytes() == CONTENT
