"""The hint about the faster engine: written by a measurement, never in anybody's way."""

from dataclasses import replace

import pytest

from sam_edge.engine_choice import FILE_NAME, fastest_engine, remember_fastest
from sam_edge.spec import ModelSpec, Source

SPEC = ModelSpec(
    variant="vit_b",
    image_size=1024,
    pixel_mean=(0.0, 0.0, 0.0),
    pixel_std=(1.0, 1.0, 1.0),
    mask_threshold=0.0,
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
