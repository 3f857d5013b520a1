"""What verify and quantize --search measured for minutes is shown, whatever happens beside it."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from sam_edge import gates, load_model
from sam_edge.bundle import read_spec
from sam_edge.cli import main
from sam_edge.compute import MASKS
from sam_edge.errors import EngineError
from sam_edge.fidelity import Fidelity, relative_l2
from sam_edge_export.quantize import search
from sam_edge_runtimes import ENGINES, formats_of


@pytest.fixture
def bundle(nano_bundle, tmp_path):
    return shutil.copytree(nano_bundle, tmp_path / "bundle")


@pytest.fixture
def images(tmp_path, photos):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photos["landscape"]).save(folder / "good.png")
    return folder


@pytest.fixture
def run(bundle, images, nano_checkpoint, capsys):
    def run(*more):
        command = ["verify", bundle, "--checkpoint", nano_checkpoint, "--images", images, *more]
        code = main([str(word) for word in command])
        answer = capsys.readouterr()
        return code, answer.out, answer.err

    return run


def test_a_read_only_bundle_gets_its_table(bundle, run, monkeypatch):
    """Root may write anywhere, so the system refuses by an open that does."""
    really = os.open

    def read_only(path, flags, *rest, **more):
        if flags & os.O_CREAT and str(path).startswith(str(bundle)):
            raise OSError(30, "Read-only file system", str(path))
        return really(path, flags, *rest, **more)

    before = (bundle / "manifest.json").read_bytes()
    monkeypatch.setattr(os, "open", read_only)
    code, out, err = run("--engine", "onnxruntime")
    assert (code, out.splitlines()[-1]) == (0, "faithful")
    assert "against float32 PyTorch: 1 photos" in out
    assert f"{bundle / 'manifest.json'} cannot be written (Read-only file system)" in err
    assert (bundle / "manifest.json").read_bytes() == before


def test_one_bad_photo_is_named_and_the_others_are_measured(bundle, images, run, caplog):
    (images / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (images / "gone.jpg").symlink_to("nowhere")
    code, out, _ = run("--engine", "onnxruntime", "--json")
    report = json.loads(out)
    assert (code, report["faithful"], report["fidelity"][0]["photos"]) == (0, True, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert all(name in caplog.text for name in ("bad.png", "gone.jpg"))
    assert read_spec(bundle).fidelity[0]["photos"] == 1
    (images / "good.png").unlink()
    code, out, err = run("--engine", "onnxruntime")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "sam-edge: none of 2 photos can be read; name others with --images"
    )


def test_without_a_checkpoint_the_other_formats_are_compared_with_float32(bundle, images, capsys):
    reduced = [(engine, name) for engine in ENGINES for name in formats_of(engine)[1:]]
    code = main(["verify", str(bundle), "--images", str(images)])
    answer = capsys.readouterr()
    entries = {
        (entry["engine"], name): entry
        for entry in read_spec(bundle).fidelity
        for name in set(entry["compute"].values()) - {"float32"}
    }
    if not reduced:
        assert code == 1
        assert "computes in nothing but float32 on this CPU" in answer.err
        return
    assert code == 0
    assert "against float32 on the same engine: 1 photos" in answer.out
    assert [*entries] == reduced
    # of random weights, whose logits lie about zero: what misses the gate is not taken, and says so
    missed = [way for way, entry in entries.items() if not MASKS.passes(entry)]
    assert answer.err.count("--compute auto will not take") >= len(missed)
    assert load_model(bundle).compute.name == "float32"


def test_an_engine_that_fails_does_not_lose_what_the_other_measured(bundle, run, monkeypatch):
    really = gates.open_model

    def open_model(bundle, engine, *rest, **more):
        if engine == "openvino":
            raise EngineError("openvino does not like this graph")
        return really(bundle, engine, *rest, **more)

    monkeypatch.setattr(gates, "open_model", open_model)
    code, out, err = run()
    assert (code, out.splitlines()[-1]) == (1, "faithful")
    assert "openvino could not be measured: openvino does not like this graph" in err
    assert [entry["engine"] for entry in read_spec(bundle).fidelity] == ["onnxruntime"]
    code, out, _ = run("--json")
    assert json.loads(out)["failed"] == {"openvino": "openvino does not like this graph"}


def measured(**values):
    names = ("embedding_rel_l2", "logits_rel_l2", "equal_pixels", "mask_iou_mean", "mask_iou_p05")
    numbers = dict.fromkeys((*names, "score_max_error"), 1.0) | values
    return Fidelity("onnxruntime", "1", "fp32", "square", photos=1, prompts=1, **numbers)


def test_what_is_not_finite_is_a_miss_and_null_in_json():
    result = measured(embedding_rel_l2=float("nan"), score_max_error=float("inf"))
    assert result.record()["embedding_rel_l2"] is None
    assert json.loads(json.dumps(result.record(), allow_nan=False))["score_max_error"] is None
    assert any("embedding_rel_l2 nan" in line for line in gates.missed([result]))


def test_an_embedding_of_zeros_has_an_error():
    zeros = np.zeros(3, np.float32)
    assert relative_l2(zeros, zeros) == 0
    assert relative_l2(zeros + 1, zeros) == float("inf")


def test_a_report_that_cannot_be_written_is_found_out_first(
    nano_checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(search, "search", lambda *_, **__: pytest.fail("was measured first"))
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "recipes.png").mkdir(parents=True)
    for report in (tmp_path / "file", tmp_path / "file" / "new", tmp_path / "folder"):
        command = ["quantize", str(nano_checkpoint), "--search", "--report", str(report)]
        assert main(command) in (1, 2)
        assert str(report) in capsys.readouterr().err


def test_a_report_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    rows = [search.Row("onnxruntime", "fp32", 0.1, None, 10, 1.0, 1.0, best=True)]
    search.write_report(rows, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["recipes.json", "recipes.png"]

    def full(picture, target, *_, **__):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        search.write_report(rows, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
