"""Files that are whole or not there, and JSON that is bounded when it is read."""

import errno
import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from sam_edge.errors import JsonFileError
from sam_edge.files import json_text, parse_json, read_json, replacing, write_text

WRITE_SLOWLY = """
import sys, time
from pathlib import Path
from sam_edge.files import replacing
with replacing(Path(sys.argv[1])) as partial:
    with partial.open("wb") as file:
        for _ in range(1000):
            file.write(b"new" * 1000)
            file.flush()
            print("writing", flush=True)
            time.sleep(0.01)
"""


WRITE = """
import sys
from pathlib import Path
from sam_edge.files import write_text
write_text(Path(sys.argv[1]), sys.argv[2])
"""


def write_in_a_new_process(target, text):
    subprocess.run([sys.executable, "-c", WRITE, str(target), text], check=True)


def test_a_killed_writer_leaves_the_old_file_and_the_next_run_cleans_up(tmp_path):
    target = tmp_path / "mask.png"
    target.write_text("old")
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_SLOWLY, str(target)], stdout=subprocess.PIPE
    ) as writer:
        writer.stdout.readline()
        assert len(list(tmp_path.iterdir())) == 2
        write_in_a_new_process(target, "of another, who leaves the living one's file alone")
        assert len(list(tmp_path.iterdir())) == 2
        writer.kill()
    assert target.read_text().startswith("of another")
    write_in_a_new_process(tmp_path / "any.txt", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["any.txt", "mask.png"]


def test_threads_may_replace_one_file_at_once(tmp_path):
    target, failures = tmp_path / "x.json", []

    def write(letter):
        try:
            for _ in range(50):
                write_text(target, letter * 10_000)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if target.exists():
            assert target.read_text() in {letter * 10_000 for letter in "abcd"}
        time.sleep(0.001)
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "x.txt"
    real.write_text("old")
    real.chmod(0o640)
    (tmp_path / "link").symlink_to(real)
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "x", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in a folder")
def test_what_is_no_regular_file_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(5)
    assert got == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path):
    name = "\N{SNOWMAN}" * 83 + ".json"
    write_text(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"


def half_written(path):
    with replacing(path) as partial:
        partial.write_text("half")
        raise ValueError("in the middle")


def test_a_failed_writer_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="in the middle"):
        half_written(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" + "0" * 400,
        "1" + "0" * 5000,
        "-9223372036854775809",
        "18446744073709551616",
        "[1e400]",
        "[-1E+999]",
        "[NaN]",
        "[-Infinity]",
        b"\xff",
        "{",
    ],
    ids=range(12),
)
def test_json_that_cannot_be_used_is_one_line(text):
    with pytest.raises(JsonFileError, match=r"^x\.json is not JSON") as caught:
        parse_json(text, "x.json")
    assert "\n" not in str(caught.value)


def test_json_that_can_be_used_reads_as_it_is():
    text = '{"counts": "0000000000000000000000000", "id": 9223372036854775807, "x": 1.5e-300}'
    assert parse_json(text, "x") == {
        "counts": "0" * 25,
        "id": 9223372036854775807,
        "x": 1.5e-300,
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_reads_in_all_its_encodings(tmp_path, encoding):
    (tmp_path / "x.json").write_bytes('{"name": "Tür\\\\1.jpg"}'.encode(encoding))
    assert read_json(tmp_path / "x.json") == {"name": "Tür\\1.jpg"}


def test_json_that_is_written_holds_no_nan():
    with pytest.raises(ValueError, match="JSON compliant"):
        json_text({"score": float("nan")})


def test_where_a_file_system_has_no_locks_nothing_is_left(tmp_path, monkeypatch):
    def no_locks(descriptor):
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr("sam_edge_runtimes.locks.try_lock", no_locks)
    for text in ("one", "two", "three"):
        write_text(tmp_path / "x.txt", text)
    assert [path.name for path in tmp_path.iterdir()] == ["x.txt"]


def test_another_machines_file_is_left_alone_until_it_is_old(tmp_path):
    theirs = tmp_path / ".x.txt.12345678.0badcafe.sam-edge-partial"
    theirs.write_text("half")
    write_in_a_new_process(tmp_path / "x.txt", "mine")
    assert theirs.exists()
    os.utime(theirs, (0, 0))
    write_in_a_new_process(tmp_path / "x.txt", "mine")
    assert not theirs.exists()
