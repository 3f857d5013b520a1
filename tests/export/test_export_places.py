"""Where an export writes: nothing that is there is lost, however many run and however they end."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from functools import partial

import pytest

from sam_edge.bundle import check_hashes, read_spec
from sam_edge.cli import main
from sam_edge.errors import SamEdgeError
from sam_edge_export import pipeline, trace
from tests.sam_edge.known import NANO_CHECKPOINT

quick_export = partial(pipeline.export_bundle, NANO_CHECKPOINT, image_size=256, verify=False)


@pytest.fixture(autouse=True)
def quick_graphs(nano_bundle, monkeypatch):
    """Graphs that are ready: what is proved here is where they go."""

    def write(traceable, path, *_, **__):
        shutil.copy(nano_bundle / path.name, path)
        return ()

    monkeypatch.setattr(trace, "write_graph", write)


def once(action):
    """Return a progress callback that does something when the encoder is being traced."""

    def progress(what):
        if what == "tracing image_encoder":
            action()

    return progress


def tree(folder):
    """Everything in a folder: what it is, and what is in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.is_symlink()
        for path in sorted(folder.rglob("*"))
    }


def folder_with_a_file(place):
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")


def web_page(place):
    folder_with_a_file(place)
    (place / "manifest.json").write_text('{"name": "a web page", "icons": []}')


ARRIVALS = {
    "folder": folder_with_a_file,
    "empty folder": lambda place: place.mkdir(),
    "file": lambda place: place.write_text("years of work"),
    "dangling link": lambda place: place.symlink_to("nowhere"),
    "web page": web_page,
}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("arrival", ARRIVALS)
def test_what_comes_up_while_an_export_runs_is_left_alone(tmp_path, arrival, force):
    (tmp_path / "elsewhere").mkdir()
    ARRIVALS[arrival](tmp_path / "elsewhere" / "out")
    expected = tree(tmp_path / "elsewhere")
    folder = tmp_path / "here"
    folder.mkdir()
    with pytest.raises(SamEdgeError, match="out exists and is not a bundle; name another -o"):
        quick_export(
            folder / "out", force=force, progress=once(lambda: ARRIVALS[arrival](folder / "out"))
        )
    assert tree(folder) == expected


def test_a_bundle_that_comes_up_is_replaced_only_by_force(tmp_path, nano_bundle):
    def arrives(name):
        return once(lambda: shutil.copytree(nano_bundle, tmp_path / name))

    with pytest.raises(SamEdgeError, match="replace it with --force"):
        quick_export(tmp_path / "kept", progress=arrives("kept"))
    assert tree(tmp_path / "kept") == tree(nano_bundle)
    quick_export(tmp_path / "replaced", force=True, progress=arrives("replaced"))
    assert read_spec(tmp_path / "replaced").source.file == NANO_CHECKPOINT.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "replaced"]


def test_of_two_exports_to_one_place_the_second_says_so(tmp_path, capsys):
    """And with --force, too."""
    codes = []
    command = ["export", str(NANO_CHECKPOINT), "-o", str(tmp_path / "out"), "--no-verify"]
    for force in ([], ["--force"]):
        quick_export(
            tmp_path / "out",
            force=bool(force),
            progress=once(lambda force=force: codes.append(main([*command, *force]))),
        )
        assert "another export to" in capsys.readouterr().err
        check_hashes(tmp_path / "out", read_spec(tmp_path / "out"))
    assert codes == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from sam_edge_export.pipeline import export_bundle

    def progress(what):
        if what == "tracing image_encoder":
            os.kill(os.getpid(), signal.SIGKILL)

    export_bundle(
        Path(sys.argv[1]), Path(sys.argv[2]), image_size=256, verify=False, progress=progress
    )
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), NANO_CHECKPOINT, tmp_path / "out"]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) > 1_000_000
    quick_export(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_bundle_comes_back_that_a_killed_export_had_moved_away(tmp_path, nano_bundle):
    shutil.copytree(nano_bundle, tmp_path / ".out.export" / "previous")
    with pytest.raises(SamEdgeError, match="replace it with --force"):
        quick_export(tmp_path / "out")
    assert tree(tmp_path / "out") == tree(nano_bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_that_name_that_no_export_made_is_not_removed(tmp_path):
    folder_with_a_file(tmp_path / ".out.export")
    before = tree(tmp_path)
    with pytest.raises(SamEdgeError, match="is in the way"):
        quick_export(tmp_path / "out")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("stranger", ["thesis.txt", ".git"])
def test_force_replaces_a_bundle_and_nothing_else(tmp_path, nano_bundle, stranger):
    shutil.copytree(nano_bundle, tmp_path / "out")
    (tmp_path / "out" / stranger).mkdir()
    before = tree(tmp_path)
    with pytest.raises(SamEdgeError, match=f"holds {stranger}, which is no part of a bundle"):
        quick_export(tmp_path / "out", force=True)
    assert tree(tmp_path) == before


def test_a_bundle_that_somebody_looked_at_is_replaced(tmp_path, nano_bundle):
    """As before: what file managers and a killed verify leave is no work of anybody's."""
    from sam_edge.files import PARTIAL

    shutil.copytree(nano_bundle, tmp_path / "out")
    (tmp_path / "out" / ".DS_Store").touch()
    (tmp_path / "out" / f".manifest.json.0123abcd{PARTIAL}").touch()
    quick_export(tmp_path / "out", force=True)
    assert read_spec(tmp_path / "out").source.file == NANO_CHECKPOINT.name


def test_what_was_there_comes_back_if_the_bundle_cannot_be_moved(
    tmp_path, nano_bundle, monkeypatch
):
    shutil.copytree(nano_bundle, tmp_path / "out")
    rename = os.rename

    def full(source, target):
        if os.path.basename(source) == "bundle":
            raise OSError(28, "No space left on device", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(SamEdgeError, match="No space left on device; nothing there was changed"):
        quick_export(tmp_path / "out", force=True)
    assert tree(tmp_path / "out") == tree(nano_bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_comes_up_between_two_renames_is_left_alone_and_so_is_what_was_there(
    tmp_path, nano_bundle, monkeypatch
):
    shutil.copytree(nano_bundle, tmp_path / "out")
    rename = os.rename

    def late(source, target):
        rename(source, target)
        if os.path.basename(target) == "previous":
            folder_with_a_file(tmp_path / "out")

    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(SamEdgeError, match="something else came up there"):
        quick_export(tmp_path / "out", force=True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"
    (previous,) = tmp_path.glob("out.previous-*")
    assert tree(previous) == tree(nano_bundle)


@pytest.mark.parametrize(
    "name", [".", "..", "/", "model", "model/", "link", "model/sam.safetensors"]
)
def test_an_output_that_would_take_something_along_is_refused(
    tmp_path, nano_bundle, monkeypatch, capsys, name
):
    folder = tmp_path / "model"
    shutil.copytree(nano_bundle, folder)  # as if the checkpoint lay in a bundle
    shutil.copy(NANO_CHECKPOINT, folder / "sam.safetensors")
    (tmp_path / "link").symlink_to("model")
    (folder / "inner").mkdir()
    monkeypatch.chdir(folder / "inner" if name in (".", "..") else tmp_path)
    before = tree(tmp_path)
    command = ["export", str(folder / "sam.safetensors"), "-o", name, "--force", "--no-verify"]
    assert main(command) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"-o {name.rstrip('/') or '/'} holds" in message
    assert tree(tmp_path) == before


def test_a_link_keeps_pointing_to_the_bundle(tmp_path, nano_bundle):
    shutil.copytree(nano_bundle, tmp_path / "v1")
    (tmp_path / "latest").symlink_to("v1")
    quick_export(tmp_path / "latest", force=True)
    assert (tmp_path / "latest").is_symlink()
    assert read_spec(tmp_path / "v1").source.file == NANO_CHECKPOINT.name


def test_a_place_that_cannot_be_written_is_found_out_first(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(pipeline, "load_checkpoint", lambda *_: pytest.fail("was read first"))
    with pytest.raises(SamEdgeError, match=r"file: nothing can be written there.*name another -o"):
        quick_export(tmp_path / "file" / "out")


def test_an_export_from_a_folder_of_strange_name_gives_a_bundle_that_opens(tmp_path):
    checkpoint = tmp_path / "sam\x1b[2J.safetensors"
    shutil.copy(NANO_CHECKPOINT, checkpoint)
    pipeline.export_bundle(checkpoint, tmp_path / "out", image_size=256, verify=False)
    assert read_spec(tmp_path / "out").source.file == "sam\ufffd[2J.safetensors"
