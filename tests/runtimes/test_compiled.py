"""What engines made of graphs: believed only as written, by whom, and removed by exact names."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sam_edge_runtimes.compiled import FILES, entry_of, is_whole, keep


def write(folder):
    (folder / "graph.onnx").write_text("graph")
    (folder / "graph.data").write_text("weights")


@pytest.fixture
def entry(tmp_path):
    path = entry_of(tmp_path / "cache" / "graph", "onnxruntime", "1.0", {})
    keep(path, write)
    assert is_whole(path)
    return path


@pytest.mark.parametrize("name", ["graph.onnx", "graph.data", "digests.json"])
@pytest.mark.parametrize("damage", [b"", b"\0", b"[" * 100_000, None])
def test_an_entry_of_other_bytes_is_dropped(entry, name, damage):
    if damage is None:
        (entry / name).unlink()
    else:
        (entry / name).write_bytes(damage)
    assert not is_whole(entry)
    assert not entry.exists()
    keep(entry, write)
    assert is_whole(entry)


def test_a_file_that_was_not_written_here_makes_an_entry_unusable_and_stays(entry):
    (entry / "somebodys.txt").write_text("work")
    assert not is_whole(entry)
    assert [path.name for path in entry.iterdir()] == ["somebodys.txt"]


def test_an_entry_that_is_a_link_is_neither_used_nor_followed(entry, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    entry.rename(elsewhere)
    entry.symlink_to(elsewhere)
    assert not is_whole(entry)
    assert len(list(elsewhere.iterdir())) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_what_another_user_may_have_written_is_not_used(entry):
    entry.parent.chmod(0o777)
    assert not is_whole(entry)
    entry.parent.chmod(0o700)
    assert is_whole(entry)
    if os.geteuid() == 0:
        os.chown(entry, 12345, -1)
        assert not is_whole(entry)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_nothing_is_kept_where_another_user_may_write(tmp_path):
    folder = tmp_path / "cache" / "graph"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    keep(folder / "onnxruntime-1.0-0123456789abcdef", write)
    assert list(folder.iterdir()) == []


def test_only_exact_names_make_room(entry):
    old = entry.parent / "onnxruntime-0.9-0123456789abcdef"
    strange = [
        entry.parent / name
        for name in ("onnxruntime-0.9", "onnxruntime-", "onnxruntime-mine", "other-1-" + "0" * 16)
    ]
    for folder in (old, *strange):
        folder.mkdir()
        (folder / "graph.onnx").write_text("x")
    full = entry.parent / "onnxruntime-0.8-0123456789abcdef"
    full.mkdir()
    (full / "thesis.tex").write_text("x")
    keep(entry.with_name(f"onnxruntime-1.0-{'1' * 16}"), write)
    assert not old.exists()
    assert all((folder / "graph.onnx").exists() for folder in strange)
    assert (full / "thesis.tex").exists()


def test_what_a_killed_run_left_is_removed_by_the_next(entry):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from sam_edge_runtimes.compiled import keep\n"
        "def write(folder):\n"
        "    (folder / 'graph.data').write_bytes(b'x' * 1000)\n"
        "    print('here', flush=True); time.sleep(60)\n"
        "keep(Path(sys.argv[1]), write)"
    )
    other = entry.with_name(f"onnxruntime-1.0-{'2' * 16}")
    with subprocess.Popen([sys.executable, "-c", code, str(other)], stdout=subprocess.PIPE) as run:
        run.stdout.readline()
        keep(entry.with_name(f"onnxruntime-1.0-{'3' * 16}"), write)
        assert len(list(entry.parent.glob(".partial-*"))) == 2  # it lives: folder and lock
        run.kill()
    keep(entry.with_name(f"onnxruntime-1.0-{'4' * 16}"), write)
    assert list(entry.parent.glob(".*")) == []


def test_adapters_write_no_other_names(tmp_path, monkeypatch):
    import sam_edge
    from tests.sam_edge.known import INSTALLED

    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    photo = np.zeros((64, 64, 3), np.uint8)
    for engine in INSTALLED:
        sam_edge.load_model(runtime=engine).encode_image(photo)
    found = {name for _, folders, names in os.walk(tmp_path) if not folders for name in names}
    assert "digests.json" in found
    assert found <= {*FILES, "engine_seconds.json"}
