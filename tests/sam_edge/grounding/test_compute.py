"""Which format a grounder takes: that of models of masks, with boxes and scores at the gate."""

import json
import logging
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.batch import Batch
from sam_edge.cli.frame import main
from sam_edge.compute import BOXES, settle
from sam_edge.engine_choice import measured_seconds, remember_seconds
from sam_edge.grounding.fidelity import PHRASES
from sam_edge.grounding.gates import formats_against_float32
from sam_edge.grounding.grounder import match
from sam_edge.grounding.manifest import read_grounding_spec
from sam_edge.grounding.opening import load_grounder, open_grounder
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER
from sam_edge_runtimes import formats, formats_of
from tests.sam_edge.grounding.conftest import BUNDLE

pytest.importorskip("openvino")
pytest.importorskip("tokenizers")

FASTER = {("openvino", "float32"): 2.0, ("openvino", "bfloat16"): 1.0}
IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)

needs_bfloat16 = pytest.mark.skipif(
    "bfloat16" not in formats_of("openvino"), reason="this CPU has no bfloat16"
)


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch, tmp_path):
    """A machine that nothing was measured on."""
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def amx(monkeypatch):
    """A CPU that has bfloat16, as far as settling goes."""
    monkeypatch.setattr(formats, "features_here", lambda: ["AVX512", "AMX-BF16"])


@pytest.fixture
def bundle(tmp_path):
    return shutil.copytree(BUNDLE, tmp_path / "bundle")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(IMAGE).save(folder / "one.png")
    return folder


def entry(iou=0.95, error=0.01, engine="openvino"):
    compute = {IMAGE_TOWER: "bfloat16"}
    return {"engine": engine, "box_iou_mean": iou, "score_max_error": error, "compute": compute}


def settled(*entries, compute="auto", seconds=FASTER):
    spec = replace(read_grounding_spec(BUNDLE), fidelity=entries)
    remember_seconds(spec, seconds)
    return settle(spec, "auto", compute, "normal")


def test_auto_takes_what_is_had_and_faster_and_right(amx):
    engine, compute = settled(entry())
    assert (engine, compute.name) == ("openvino", "bfloat16")
    assert compute.reason == (
        "2.0 times as fast as float32 here, with boxes of a mean IoU of 0.9500 with float32's"
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ((), "boxes in bfloat16 on openvino were not measured"),
        ((entry(iou=0.89),), "miss the gate"),
        ((entry(error=0.051),), "miss the gate"),
        ((entry(iou=None),), "miss the gate"),
        ((entry(error=float("nan")),), "miss the gate"),
        ((entry() | {"mask_iou_mean": 1.0, "box_iou_mean": "high"},), "miss the gate"),
        ((entry(engine="onnxruntime"),), "were not measured"),
    ],
)
def test_boxes_that_miss_the_gate_or_were_not_measured_keep_float32(amx, found, words):
    _, compute = settled(*found)
    assert compute.name == "float32"
    assert words in compute.reason


def test_without_a_speed_nothing_changes_and_the_command_that_measures_it_is_named(amx):
    _, compute = settled(entry(), seconds={})
    assert compute.name == "float32"
    assert compute.reason.endswith("do so with: sam-edge verify")


@pytest.mark.parametrize("found", [(), (entry(),)])
def test_the_text_tower_stays_in_float32(amx, found):
    _, compute = settled(*found, compute="bfloat16")
    assert (compute.of(IMAGE_TOWER), compute.of(TEXT_TOWER)) == ("bfloat16", "float32")
    assert compute.reason.startswith("asked for")


@needs_bfloat16
def test_who_asks_gets_it_and_a_copy_computes_alike(caplog):
    with caplog.at_level(logging.INFO, "sam_edge"):
        grounder = load_grounder(BUNDLE, compute="bfloat16", cache=False)
    assert (
        "openvino in bfloat16: asked for, though the bundle's boxes in it were not" in caplog.text
    )
    assert grounder.engine == "openvino"
    copy = pickle.loads(pickle.dumps(grounder))
    assert copy.compute == grounder.compute
    ours, theirs, exact = (
        match(found.encode_image(IMAGE), found.encode_phrases(PHRASES))
        for found in (grounder, copy, open_grounder(BUNDLE, "openvino", cache=False))
    )
    np.testing.assert_array_equal(ours, theirs)
    assert 0 < np.abs(ours - exact).max() < 0.1


@pytest.fixture
def bfloat16_alone(monkeypatch):
    """A CPU whose only reduced format is bfloat16, of those that have it."""
    monkeypatch.setattr(formats, "features_here", lambda: ["AVX512", "AVX512-BF16"])


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_alone")
def test_verify_measures_boxes_and_speed_without_torch_so_that_auto_can_choose(
    bundle, photos, capsys
):
    call = ["verify", str(bundle), "--images", str(photos), "--engine", "openvino"]
    assert main([*call, "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["fidelity"]
    spec = read_grounding_spec(bundle)
    kept = read_grounding_spec(BUNDLE).fidelity
    assert spec.fidelity == (*kept, report)
    assert report["reference"] == "float32 on the same engine"
    assert report["compute"] == {IMAGE_TOWER: "bfloat16"}
    assert 0 < report["score_max_error"] < 0.2
    assert "seconds" not in report
    assert {*measured_seconds(spec)} == {*FASTER}
    remember_seconds(spec, FASTER)
    taken = load_grounder(bundle, cache=False).compute
    assert taken.name == ("bfloat16" if BOXES.passes(report) else "float32")


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_alone")
def test_every_engine_is_timed_in_float32_so_that_auto_compares_what_can_be_compared(
    bundle, photos
):
    pytest.importorskip("onnxruntime")
    results, seconds = formats_against_float32(bundle, [photos / "one.png"])
    assert [result.name for result in results] == ["openvino bf16"]
    assert {*seconds} == {*FASTER, ("onnxruntime", "float32")}


@needs_bfloat16
def test_the_command_line_says_the_format(bundle, photos, capsys):
    words = ["--text", "a cat", "--grounder", str(bundle), "--compute", "bfloat16"]
    assert main(["segment", str(photos / "one.png"), *words, "--json", "-"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["photos"]
    assert record["grounder"]["compute"] == record["compute"] == "bfloat16"


@needs_bfloat16
def test_every_worker_of_a_batch_computes_in_the_format_that_was_settled(bundle, photos, tmp_path):
    batch = Batch(photos, tmp_path / "out", grounder=bundle, text=["a cat"], compute="bfloat16")
    assert batch.settings.words.compute == "bfloat16"
    exact = Batch(photos, tmp_path / "out", grounder=bundle, text=["a cat"])
    assert exact.settings.words.compute == "float32"
    assert sam_edge.load_grounder(bundle).compute.name == "float32"
