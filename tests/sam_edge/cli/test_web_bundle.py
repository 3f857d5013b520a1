"""The page and a model as a folder: what is in it, and what is refused. How it works is seen in
tests/browser/test_static_page.py."""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sam_edge.bundle import read_spec
from sam_edge.cli import main
from sam_edge.zoo import resolve
from tests.sam_edge.grounding.conftest import BUNDLE as GROUNDING

NANO = resolve(None)


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("static") / "page"
    assert main(["web-bundle", str(out)]) == 0
    return out


@pytest.fixture
def bundle(tmp_path):
    """A copy of the bundle in the box, to be changed."""
    return Path(shutil.copytree(NANO, tmp_path / "bundle"))


def change(bundle: Path, **fields) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | fields), encoding="utf-8")


def refused(capsys, *words: str) -> str:
    assert main(["web-bundle", *words]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_the_folder_holds_the_page_and_the_bundles_own_graphs(page):
    record = json.loads((page / "model.json").read_text(encoding="utf-8"))
    for graph in read_spec(NANO).graphs:
        data = gzip.decompress((page / record["graphs"][graph.role]).read_bytes())
        assert hashlib.sha256(data).hexdigest() == graph.sha256
    found = files(page)
    assert sorted(found) == record["files"]
    assert {"index.html", "licences.txt", "model/manifest.json"} <= found.keys()
    assert "folder.html" not in found
    assert len([name for name in found if ".wasm" in name]) == 1
    assert b"Content-Security-Policy" in found["index.html"]


def test_the_service_worker_keeps_every_file_but_itself(page):
    first, _, code = (page / "service_worker.js").read_text(encoding="utf-8").partition("\n")
    kept = json.loads(first.removeprefix("self.FOLDER = ").removesuffix(";"))["files"]
    sizes = {name: len(data) for name, data in files(page).items()}
    del sizes["service_worker.js"]
    sizes["./"] = sizes.pop("index.html")
    assert kept == sizes
    assert "addEventListener" in code


def test_the_first_visit_loads_less_than_15_mb(page):
    packed = {name: gzip.compress(data) for name, data in files(page).items()}
    assert sum(map(len, packed.values())) < 15_000_000


def test_the_same_bundle_gives_the_same_bytes_and_another_one_another_version(page, tmp_path):
    again = tmp_path / "again"
    assert main(["web-bundle", str(again)]) == 0
    assert files(again) == files(page)
    other = Path(shutil.copytree(NANO, tmp_path / "other"))
    change(other, notes=["another"])
    assert main(["web-bundle", str(again), "-m", str(other), "--force"]) == 0
    changed = files(again)
    assert changed["service_worker.js"] != files(page)["service_worker.js"]
    assert json.loads(changed["model.json"])["notes"] == ["another"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_there_is_not_replaced_unasked(page, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert main(["web-bundle", str(out)]) == 0, "an empty folder is taken"
    capsys.readouterr()
    assert "--force" in refused(capsys, str(out))
    (out / "CNAME").write_text("example.org")
    assert "CNAME" in refused(capsys, str(out), "--force")
    assert (out / "CNAME").exists()
    (out / "model.json").unlink()
    assert "no part of a page" in refused(capsys, str(out), "--force")
    assert "is no folder" in refused(capsys, str(out / "CNAME"))


def test_neither_the_bundle_nor_the_folder_one_is_in_is_replaced(
    bundle, tmp_path, capsys, monkeypatch
):
    assert "which is read" in refused(capsys, str(bundle), "-m", str(bundle), "--force")
    assert (bundle / "manifest.json").exists()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "the folder you are in" in refused(capsys, ".")


@pytest.mark.parametrize("decoder", ["official", "official-multi"])
def test_a_decoder_of_another_layout_is_refused(bundle, tmp_path, capsys, decoder):
    change(bundle, decoder=decoder)
    said = refused(capsys, str(tmp_path / "out"), "-m", str(bundle))
    assert decoder in said
    assert "--decoder native" in said
    assert not (tmp_path / "out").exists()


def test_graphs_of_another_engine_are_refused(bundle, tmp_path, capsys):
    graphs = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["graphs"]
    graphs[0]["engines"] = ["openvino"]
    change(bundle, graphs=graphs)
    said = refused(capsys, str(tmp_path / "out"), "-m", str(bundle))
    assert "prompt_encoder_mask_decoder" in said


def test_a_large_bundle_is_refused_unless_it_is_wanted(bundle, tmp_path, capsys):
    graphs = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["graphs"]
    with (bundle / "image_encoder.onnx").open("r+b") as file:
        file.truncate(101_000_000)
    for graph in graphs:
        if graph["role"] == "image_encoder":
            graph["size_bytes"] = 101_000_000
    change(bundle, graphs=graphs)
    whole = sum(graph["size_bytes"] for graph in graphs)
    said = refused(capsys, str(tmp_path / "out"), "-m", str(bundle))
    assert f"{whole / 1e6:.0f} MB" in said
    assert "--allow-large" in said


def test_a_bundle_that_finds_words_is_refused(tmp_path, capsys):
    assert "finds words" in refused(capsys, str(tmp_path / "out"), "-m", str(GROUNDING))


def test_a_damaged_bundle_is_refused(bundle, tmp_path, capsys):
    with (bundle / "image_encoder.onnx").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damaged")
    assert "sha256" in refused(capsys, str(tmp_path / "out"), "-m", str(bundle))


def test_it_needs_neither_the_server_nor_an_engine(tmp_path):
    missing = ("starlette", "uvicorn", "onnxruntime", "openvino", "torch")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
    code += "from sam_edge.cli import main; sys.exit(main(['web-bundle', sys.argv[1]]))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "out"], check=True, capture_output=True)
    assert (tmp_path / "out" / "index.html").exists()
