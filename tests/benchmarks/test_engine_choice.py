"""The hint about the faster engine: written by a measurement, never in anybody's way."""

import json
import sys
from dataclasses import replace

import pytest

from sam_edge.engine_choice import FILE_NAME, fastest_engine, remember_fastest
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


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_nothing_is_known_before_a_measurement():
    assert fastest_engine(SPEC) is None


def test_the_faster_engine_is_remembered_a_precision():
    assert remember_fastest(SPEC, {"onnxruntime": 2.0, "openvino": 1.0}) == "openvino"
    int8 = replace(SPEC, precision="int8")
    remember_fastest(int8, {"onnxruntime": 1.0, "openvino": 2.0})
    assert fastest_engine(SPEC) == "openvino"
    assert fastest_engine(int8) == "onnxruntime"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"%s": 3}', '{"%s": "tensorrt"}', "\xff"])
def test_a_damaged_file_means_not_known(cache, text):
    cache.mkdir()
    key = f"{SPEC.source.sha256}-{SPEC.precision}"
    (cache / FILE_NAME).write_bytes(text.replace("%s", key).encode("latin-1"))
    assert fastest_engine(SPEC) is None
    assert remember_fastest(SPEC, {"openvino": 1.0}) == "openvino"
    assert fastest_engine(SPEC) == "openvino"


DEEP = b"[" * 100_000
DAMAGE = {
    "nested too deeply": b'{"%s": ' + DEEP,
    "a long number": b'{"%s": "openvino", "a": 1' + b"0" * 5000 + b"}",
    "no number": b'{"%s": "openvino", "a": NaN}',
    "null": b"null",
    "a list for a name": b'{"%s": ["openvino"]}',
    "no text": bytes(range(256)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_whatever_is_in_the_file_the_hint_is_replaced(cache, damage):
    cache.mkdir()
    key = f"{SPEC.source.sha256}-{SPEC.precision}-{SPEC.image.frame}".encode()
    (cache / FILE_NAME).write_bytes(DAMAGE[damage].replace(b"%s", key))
    assert fastest_engine(SPEC) is None
    remember_fastest(SPEC, {"openvino": 1.0})
    assert fastest_engine(SPEC) == "openvino"


def test_a_byte_order_mark_does_not_hide_the_hint(cache):
    remember_fastest(SPEC, {"openvino": 1.0})
    content = json.loads((cache / FILE_NAME).read_text())
    (cache / FILE_NAME).write_text(json.dumps(content), "utf-8-sig")
    assert fastest_engine(SPEC) == "openvino"


@pytest.mark.parametrize("odd", [float("nan"), float("-inf"), float("inf")])
def test_a_time_that_is_no_number_is_never_the_fastest(odd):
    assert remember_fastest(SPEC, {"onnxruntime": odd, "openvino": 1.0}) == "openvino"
    with pytest.raises(ValueError, match="no engine has a time"):
        remember_fastest(SPEC, {"onnxruntime": odd})


def test_a_cache_that_cannot_be_written_spoils_no_measurement(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    caches = [tmp_path / "file", tmp_path / "file" / "below", "~nobody-of-this-name"]
    for cache in [*caches, *(["/proc/sam-edge"] if sys.platform == "linux" else [])]:
        monkeypatch.setenv("SAM_EDGE_CACHE", str(cache))
        assert remember_fastest(SPEC, {"openvino": 1.0}) == "openvino"
        assert fastest_engine(SPEC) is None
