"""The hint about speed: written by a measurement, never in anybody's way."""

import json
import sys
from dataclasses import replace

import pytest

from sam_edge.engine_choice import FILE_NAME, measured_seconds, remember_seconds
from sam_edge.spec import ImageSpec, ModelSpec, Source

SPEC = ModelSpec(
    variant="vit_b",
    image=ImageSpec(1024, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    precision="fp32",
    decoder="native",
    opset=17,
    graphs=(),
    source=Source("a.pth", "ab" * 32, "Apache-2.0"),
    exporter={},
)
TIMES = {("onnxruntime", "float32"): 2.0, ("openvino", "bfloat16"): 1.0}
KEY = f"{SPEC.source.sha256}-fp32-1024-square"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_nothing_is_known_before_a_measurement():
    assert measured_seconds(SPEC) == {}


def test_times_are_remembered_by_precision_and_size():
    remember_seconds(SPEC, TIMES)
    smaller = replace(SPEC, image=replace(SPEC.image, size=512))
    for other in (replace(SPEC, precision="int8"), smaller):
        assert measured_seconds(other) == {}
        remember_seconds(other, {("openvino", "float32"): 3.0})
        assert measured_seconds(other) == {("openvino", "float32"): 3.0}
    assert measured_seconds(SPEC) == TIMES


DEEP = b"[" * 100_000
DAMAGE = {
    "empty": b"",
    "cut": b"{",
    "a list": b"[]",
    "a number": b'{"%s": 3}',
    "a name": b'{"%s": "openvino"}',
    "names for times": b'{"%s": {"openvino": "float32"}}',
    "no times": b'{"%s": {"openvino": {"float32": null, "bfloat16": -1}}}',
    "nested too deeply": b'{"%s": ' + DEEP,
    "a long number": b'{"%s": {"openvino": {"float32": 1' + b"0" * 5000 + b"}}}",
    "no number": b'{"%s": {"openvino": {"float32": NaN}}}',
    "null": b"null",
    "no text": bytes(range(256)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_whatever_is_in_the_file_the_hint_is_replaced(cache, damage):
    cache.mkdir()
    (cache / FILE_NAME).write_bytes(DAMAGE[damage].replace(b"%s", KEY.encode()))
    assert measured_seconds(SPEC) == {}
    remember_seconds(SPEC, TIMES)
    assert measured_seconds(SPEC) == TIMES


def test_a_byte_order_mark_does_not_hide_the_hint(cache):
    remember_seconds(SPEC, TIMES)
    content = json.loads((cache / FILE_NAME).read_text())
    (cache / FILE_NAME).write_text(json.dumps(content), "utf-8-sig")
    assert measured_seconds(SPEC) == TIMES


@pytest.mark.parametrize("odd", [float("nan"), float("-inf"), float("inf")])
def test_a_time_that_is_no_number_is_left_out(odd):
    remember_seconds(SPEC, {("onnxruntime", "float32"): odd, ("openvino", "float32"): 1.0})
    assert measured_seconds(SPEC) == {("openvino", "float32"): 1.0}


def test_a_cache_that_cannot_be_written_spoils_no_measurement(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    caches = [tmp_path / "file", tmp_path / "file" / "below", "~nobody-of-this-name"]
    for cache in [*caches, *(["/proc/sam-edge"] if sys.platform == "linux" else [])]:
        monkeypatch.setenv("SAM_EDGE_CACHE", str(cache))
        remember_seconds(SPEC, TIMES)
        assert measured_seconds(SPEC) == {}
