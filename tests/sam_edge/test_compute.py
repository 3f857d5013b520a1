"""Which format ``auto`` takes: had by the CPU, measured faster here, and with masks that pass."""

import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest

import sam_edge
from sam_edge import gates
from sam_edge.bundle import read_spec
from sam_edge.compute import Compute, settle
from sam_edge.engine_choice import remember_seconds
from sam_edge.errors import ArgumentError
from sam_edge.spec import IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER
from sam_edge.zoo import resolve
from sam_edge_runtimes import EngineError, formats, formats_of

pytest.importorskip("openvino")
ROLES = (IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER)
FASTER = {("openvino", "float32"): 2.0, ("openvino", "bfloat16"): 1.0}


@pytest.fixture(autouse=True)
def amx(monkeypatch, tmp_path):
    """A CPU that has bfloat16, and a machine that nothing was measured on."""
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(formats, "features_here", lambda: ["AVX512", "AMX-BF16"])


def entry(mean=0.99, low=0.95, engine="openvino", **roles):
    compute = dict.fromkeys(ROLES, "bfloat16") | roles
    return {"engine": engine, "mask_iou_mean": mean, "mask_iou_p05": low, "compute": compute}


@pytest.fixture
def spec():
    return replace(read_spec(resolve(None)), fidelity=(entry(),))


def test_auto_takes_what_is_had_and_faster_and_right(spec):
    remember_seconds(spec, FASTER)
    engine, compute = settle(spec, "auto", "auto", "normal")
    assert (engine, compute.name) == ("openvino", "bfloat16")
    assert compute.formats == dict.fromkeys(ROLES, "bfloat16")
    assert "2.0 times as fast as float32 here" in compute.reason
    assert "0.9900" in compute.reason


def test_without_a_measurement_nothing_changes(spec):
    engine, compute = settle(spec, "openvino", "auto", "normal")
    assert (engine, compute.name) == ("openvino", "float32")
    assert "sam-edge bench run" in compute.reason


@pytest.mark.parametrize(
    "seconds",
    [
        {("openvino", "float32"): 1.0, ("openvino", "bfloat16"): 1.1},
        {("openvino", "bfloat16"): 1.0},  # faster than what?
    ],
)
def test_a_format_that_was_not_measured_to_be_faster_is_not_taken(spec, seconds):
    remember_seconds(spec, seconds)
    assert settle(spec, "openvino", "auto", "normal")[1].name == "float32"


@pytest.mark.parametrize(
    "found",
    [
        (),
        (entry(mean=0.979),),
        (entry(low=0.89),),
        (entry(mean=None, low=None),),
        (entry(mean=float("nan")),),
        (entry(engine="onnxruntime"),),
        ({"engine": "openvino", "mask_iou_mean": 1.0, "mask_iou_p05": 1.0},),  # float32's
    ],
)
def test_masks_that_miss_the_gate_or_were_not_measured_keep_float32(spec, found):
    remember_seconds(spec, FASTER)
    spec = replace(spec, fidelity=found)
    engine, compute = settle(spec, "auto", "auto", "normal")
    assert (engine, compute.name) == ("openvino", "float32")
    assert "miss the gate" in compute.reason or "were not measured" in compute.reason


def test_a_cpu_without_it_keeps_float32(spec, monkeypatch):
    monkeypatch.setattr(formats, "features_here", lambda: ["AVX2", "AVX512"])
    remember_seconds(spec, FASTER)
    _, compute = settle(spec, "openvino", "auto", "normal")
    assert compute.name == "float32"
    assert "nothing else on this CPU" in compute.reason


def test_the_fastest_of_all_engines_and_formats_is_taken(spec):
    remember_seconds(spec, {**FASTER, ("onnxruntime", "float32"): 0.5})
    assert settle(spec, "auto", "auto", "normal")[0] == "onnxruntime"
    assert settle(spec, "openvino", "auto", "normal")[1].name == "bfloat16"
    assert settle(spec, "auto", "auto", "low")[0] == "onnxruntime"


def test_float32_is_a_wish_too(spec):
    remember_seconds(spec, FASTER)
    engine, compute = settle(spec, "auto", "float32", "normal")
    assert (engine, compute.name, compute.reason) == ("openvino", "float32", "asked for")


def test_who_asks_for_a_format_gets_an_engine_that_has_it_and_is_told_what_is_not_known(spec):
    assert settle(spec, "auto", "bfloat16", "normal")[1].reason == "asked for"
    for found, word in (((), "not compared"), ((entry(mean=0.5),), "miss the gate")):
        engine, compute = settle(replace(spec, fidelity=found), "auto", "bfloat16", "normal")
        assert (engine, compute.name) == ("openvino", "bfloat16")
        assert word in compute.reason


def test_a_decoder_that_the_gate_wanted_in_float32_stays_there(spec):
    spec = replace(spec, fidelity=(entry(**{PROMPT_ENCODER_MASK_DECODER: "float32"}),))
    _, compute = settle(spec, "auto", "bfloat16", "normal")
    assert compute.of(IMAGE_ENCODER) == "bfloat16"
    assert compute.of(PROMPT_ENCODER_MASK_DECODER) == "float32"
    assert compute.name == "bfloat16"


def test_what_has_no_meaning_is_refused(spec):
    with pytest.raises(ArgumentError, match="auto, float32, bfloat16, float16"):
        settle(spec, "auto", "int4", "normal")
    with pytest.raises(EngineError, match="does not compute in float16"):
        settle(spec, "auto", "float16", "normal")


def test_a_model_says_its_format_and_a_copy_has_the_same(caplog, monkeypatch):
    monkeypatch.undo()
    pytest.importorskip("openvino")
    if "bfloat16" not in formats_of("openvino"):
        pytest.skip("this CPU has no bfloat16")
    with caplog.at_level(logging.INFO, "sam_edge"):
        model = sam_edge.load_model(compute="bfloat16", cache=False)
    assert "openvino in bfloat16" in caplog.text
    copy = pickle.loads(pickle.dumps(model))
    assert copy.compute == model.compute != Compute({}, "exact")
    photo = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    ours, theirs, exact = (
        each.decode(each.encode_image(photo), [(40, 30)]).low_res_logits
        for each in (model, copy, sam_edge.load_model(runtime="openvino", compute="float32"))
    )
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, exact)


def test_a_format_that_an_engine_refuses_of_a_graph_is_left_out_of_what_is_measured(
    monkeypatch, caplog
):
    features = ["AVX512", "AMX-BF16", "AVX512-FP16"]
    monkeypatch.setattr(formats, "features_here", lambda: features)

    def measured(engine, compute):
        if "float16" in compute.formats.values():
            raise EngineError("no kernel for it")
        return compute.formats

    found = gates.in_each_format([ROLES], ["openvino"], measured, lambda _: [], lambda _: None)
    assert found == [dict.fromkeys(ROLES, "bfloat16")]
    assert "openvino in float16 is left out: no kernel for it" in caplog.text
