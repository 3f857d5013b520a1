import hashlib
import random
import signal
import subprocess
import sys
import time

import pytest

from sam_edge.errors import ChecksumError, DownloadError
from sam_edge.zoo.download import download
from tests.sam_edge.zoo.server import Behaviour, serving

CONTENT = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "deep" / "model.pth"


def fetch(address, target, **options):
    settings = {"size": len(CONTENT), "sha256": SHA256, "timeout": 1.0, "back_off": 0.01}
    return download(f"{address}/model.pth", target, **{**settings, **options})


def partial_of(target):
    return target.with_name("model.pth.partial")


def test_a_file_arrives_whole_with_its_progress(target):
    seen = []
    with serving(Behaviour(CONTENT)) as address:
        fetch(address, target, progress=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == CONTENT
    assert not partial_of(target).exists()
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_what_is_here_is_not_asked_for_again(target):
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as address:
        fetch(address, target)
        fetch(address, target)
    assert behaviour.requests == [""]
    fetch("http://127.0.0.1:9", target)  # nobody listens there


def test_connections_that_are_cut_are_continued(target):
    behaviour = Behaviour(CONTENT, cut_after=50_000)
    with serving(behaviour) as address:
        fetch(address, target)
    assert target.read_bytes() == CONTENT
    assert behaviour.requests == ["", *(f"bytes={n}-" for n in range(50_000, 300_000, 50_000))]


def test_a_server_without_ranges_starts_over(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(CONTENT[:1000])
    behaviour = Behaviour(CONTENT, ranges=False)
    with serving(behaviour) as address:
        fetch(address, target)
    assert target.read_bytes() == CONTENT
    assert behaviour.requests == ["bytes=1000-"]


def test_a_stalled_server_is_given_up_and_asked_again(target):
    behaviour = Behaviour(CONTENT, stall_once_after=100_000)
    began = time.monotonic()
    with serving(behaviour) as address:
        fetch(address, target, timeout=0.3)
        assert time.monotonic() - began < 2.9  # it did not wait for the server to wake
    assert target.read_bytes() == CONTENT
    assert len(behaviour.requests) == 2


def test_redirects_are_followed_with_the_range(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(CONTENT[:7])
    behaviour = Behaviour(CONTENT, redirect=True)
    with serving(behaviour) as address:
        fetch(address, target)
    assert target.read_bytes() == CONTENT
    assert behaviour.requests == ["bytes=7-"]


def test_a_redirect_that_never_ends_is_an_error(target):
    with (
        serving(Behaviour(CONTENT, loop=True)) as address,
        pytest.raises(DownloadError, match="HTTP 302"),
    ):
        fetch(address, target)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_faults_that_pass_are_waited_out(target, status):
    behaviour = Behaviour(CONTENT, statuses=[status, status])
    with serving(behaviour) as address:
        fetch(address, target)
    assert target.read_bytes() == CONTENT
    assert len(behaviour.requests) == 3


def test_a_server_that_asks_for_patience_gets_it(target):
    began = time.monotonic()
    with serving(Behaviour(CONTENT, statuses=[503], retry_after="1")) as address:
        fetch(address, target)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("status", [403, 404, 410])
def test_faults_that_stay_are_told_at_once(target, status):
    behaviour = Behaviour(CONTENT, statuses=[status] * 9)
    with (
        serving(behaviour) as address,
        pytest.raises(DownloadError, match=f"HTTP {status}.*SAM_EDGE_MIRROR"),
    ):
        fetch(address, target)
    assert len(behaviour.requests) == 1


def test_a_server_that_stays_away_is_given_up_and_nothing_is_lost(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(CONTENT[:1234])
    with pytest.raises(DownloadError, match=r"5 attempts.*1234 of 300000 bytes are kept"):
        fetch("http://127.0.0.1:9", target)
    assert partial_of(target).read_bytes() == CONTENT[:1234]


def test_wrong_bytes_are_thrown_away(target):
    wrong = bytes(len(CONTENT))
    with (
        serving(Behaviour(wrong)) as address,
        pytest.raises(ChecksumError, match="not what was promised"),
    ):
        fetch(address, target)
    assert not target.exists()
    assert partial_of(target).stat().st_size == 0


def test_a_partial_file_of_something_else_costs_one_more_download(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(b"x" * 5000)
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as address:
        fetch(address, target)
    assert target.read_bytes() == CONTENT
    assert behaviour.requests == ["bytes=5000-", ""]


@pytest.mark.parametrize("extra", [0, 10], ids=["whole and wrong", "too long"])
def test_a_partial_file_that_cannot_be_continued_is_dropped(target, extra):
    target.parent.mkdir()
    partial_of(target).write_bytes(b"x" * (len(CONTENT) + extra))
    with serving(Behaviour(CONTENT)) as address:
        fetch(address, target)
    assert target.read_bytes() == CONTENT


def test_a_partial_file_that_is_whole_needs_no_network(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(CONTENT)
    fetch("http://127.0.0.1:9", target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("length", [1, len(CONTENT) * 4])
def test_another_length_is_another_file(target, length):
    with (
        serving(Behaviour(CONTENT, claimed_length=length)) as address,
        pytest.raises(DownloadError, match=rf"has {length} bytes, expected 300000"),
    ):
        fetch(address, target)


def test_more_bytes_than_promised_are_refused(target):
    with serving(Behaviour(CONTENT + b"more")) as address, pytest.raises(DownloadError):
        fetch(address, target)
    assert not target.exists()


def test_another_range_than_asked_for_is_not_believed(target):
    target.parent.mkdir()
    partial_of(target).write_bytes(CONTENT[:100])
    with (
        serving(Behaviour(CONTENT, shift_ranges=True)) as address,
        pytest.raises(DownloadError, match="another part"),
    ):
        fetch(address, target)
    assert partial_of(target).read_bytes() == CONTENT[:100]


CHILD = """
import sys
from pathlib import Path
from sam_edge.zoo.download import download
address, target, size, sha256 = sys.argv[1:]
download(f"{address}/model.pth", Path(target), size=int(size), sha256=sha256, timeout=5)
"""


def start(address, target):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, address, str(target), str(len(CONTENT)), SHA256]
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("wanted", [1, 90_000, 250_000])
def test_a_process_killed_on_the_way_is_continued_by_the_next(target, wanted):
    behaviour = Behaviour(CONTENT, slow=0.005)
    with serving(behaviour) as address:
        child = start(address, target)
        deadline = time.monotonic() + 30
        while not partial_of(target).exists() or partial_of(target).stat().st_size < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not target.exists()
        kept = partial_of(target).stat().st_size
        behaviour.slow = 0
        fetch(address, target)
    assert target.read_bytes() == CONTENT
    assert behaviour.requests == ["", f"bytes={kept}-"]


def test_two_processes_fetch_it_once(target):
    behaviour = Behaviour(CONTENT, slow=0.005)
    with serving(behaviour) as address:
        children = [start(address, target) for _ in range(3)]
        assert [child.wait(60) for child in children] == [0, 0, 0]
    assert target.read_bytes() == CONTENT
    assert behaviour.requests == [""]
