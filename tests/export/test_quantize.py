"""8-bit linear layers: what they compute, what they refuse, on the engine that runs them."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import textured
from onnx import TensorProto, helper, numpy_helper

from sam_edge import load_model
from sam_edge.cli import main
from sam_edge.errors import ManifestError
from sam_edge.spec import read_spec
from sam_edge_export import pipeline
from sam_edge_export.fidelity import relative_l2
from sam_edge_export.quantize import equalize, integer_columns, quantize_linears

TOKENS, WIDTH, COLUMNS = 49, 64, 96
OUTLIERS = slice(0, 6)


def normed_product(outlier: float) -> onnx.ModelProto:
    """LayerNorm, windows' padding, product; outlier channels that the matrix undoes again."""
    rng = np.random.default_rng(0)
    gain, bias = np.ones(WIDTH, np.float32), 0.05 * rng.standard_normal(WIDTH).astype(np.float32)
    matrix = (rng.standard_normal((WIDTH, COLUMNS)) / np.sqrt(WIDTH)).astype(np.float32)
    gain[OUTLIERS] *= outlier
    bias[OUTLIERS] *= outlier
    matrix[OUTLIERS] /= outlier
    values = {
        "gain": gain,
        "bias": bias,
        "matrix": matrix,
        "pads": np.array([0, 0, 0, 0, 7, 0], np.int64),
        "shape": np.array([-1, 7, WIDTH], np.int64),
    }
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain", "bias"], ["normed"], axis=-1),
        helper.make_node("Pad", ["normed", "pads"], ["padded"]),
        helper.make_node("Reshape", ["padded", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["turned", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "normed_product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, TOKENS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [7, None, COLUMNS])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((1, TOKENS, WIDTH)).astype(np.float32)
    return session.run(None, {"x": x})[0]


def test_integer_columns_are_within_half_a_step():
    matrix = np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)
    matrix[:, 3] = 0
    matrix[:, 4] *= 1e4
    values, scale = integer_columns(matrix)
    assert values.dtype == np.int8
    assert values.min() >= -127
    assert np.all(np.abs(values * scale - matrix) <= 0.5001 * scale)


def test_equalizing_changes_nothing_in_float32():
    model = normed_product(40)
    expected = run(model)
    assert equalize(model) == 1
    assert relative_l2(run(model), expected) < 1e-6


def test_outlier_channels_break_the_naive_recipe_and_not_ours():
    expected = run(normed_product(40))
    naive, ours, calm = normed_product(40), normed_product(40), normed_product(1)
    assert quantize_linears(naive) == 1
    equalize(ours)
    quantize_linears(ours)
    quantize_linears(calm)
    assert relative_l2(run(naive), expected) > 0.1
    assert relative_l2(run(ours), expected) < 0.02
    assert relative_l2(run(calm), run(normed_product(1))) < 0.02


def test_a_norm_with_another_reader_is_left_alone():
    model = normed_product(40)
    model.graph.node.append(helper.make_node("Relu", ["normed"], ["elsewhere"]))
    assert equalize(model) == 0


@pytest.fixture(scope="module")
def int8_bundle(nano_checkpoint, tmp_path_factory):
    """``allow_slow``: what is tested here is right on a machine of any speed."""
    bundle = tmp_path_factory.mktemp("int8") / "nano"
    pipeline.export_bundle(
        nano_checkpoint, bundle, image_size=256, precision="int8", min_iou=0, allow_slow=True
    )
    return bundle


def test_an_int8_bundle_says_what_it_is_and_runs(int8_bundle):
    photo = textured(200, 300)
    manifest = json.loads((int8_bundle / "manifest.json").read_text())
    recipe = manifest["quantization"]
    assert recipe["recipe"] == "dynamic-linears"
    assert recipe["min_iou"] == 0
    assert recipe["speedup_over_fp32"]["onnxruntime"] > 0
    assert [entry["engine"] for entry in manifest["fidelity"]] == ["onnxruntime"]
    graph = onnx.load(int8_bundle / "image_encoder.onnx")
    assert "MatMulInteger" in {node.op_type for node in graph.graph.node}
    model = load_model(int8_bundle, runtime="onnxruntime", cache=False)
    embeddings = [model.encode_image(photo).features for _ in range(2)]
    assert np.array_equal(*embeddings)
    assert model.decode(model.encode_image(photo), [(20, 20)]).masks.shape[0] == 3


def test_the_other_engine_is_refused_in_one_line(int8_bundle):
    assert not read_spec(int8_bundle).runs_on("openvino")
    with pytest.raises(ManifestError, match="not for openvino, only for onnxruntime"):
        load_model(int8_bundle, runtime="openvino")


def test_gates_write_nothing_when_they_close(nano_checkpoint, tmp_path, monkeypatch, capsys):
    command = ["export", str(nano_checkpoint), "-o", str(tmp_path / "out"), "--image-size", "256"]
    command += ["--precision", "int8"]
    monkeypatch.setattr(pipeline, "speedup", lambda *_: 0.5)
    assert main(command) == 1
    assert "int8 takes 2.00 times as long as float32 here" in capsys.readouterr().err
    assert main([*command, "--allow-slow", "--min-iou", "1.01"]) == 1
    assert "mask_iou_mean" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [["--no-verify"], ["--decoder", "official"], ["--engine", "openvino"]]
)
def test_what_int8_cannot_do_is_said_at_once(nano_checkpoint, tmp_path, wrong, capsys):
    command = ["export", str(nano_checkpoint), "-o", str(tmp_path / "out"), "--precision", "int8"]
    assert main([*command, *wrong]) == 1
    assert "--precision int8" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
