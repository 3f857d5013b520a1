"""Recipes: what they compute, on the engine that each is for."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sam_edge.fidelity import relative_l2
from sam_edge.filling.arithmetic import LARGEST, integer_columns
from sam_edge_export.quantize.equalize import equalize
from sam_edge_export.quantize.products import integer_weights, products, store_as_int8
from sam_edge_export.quantize.recipes import RECIPES, grid, quantize, tensors_to_range
from sam_edge_runtimes import open_session

TOKENS, WIDTH, COLUMNS = 49, 64, 96
OUTLIERS = slice(0, 6)
LINEARS = next(recipe for recipe in RECIPES if recipe.linears == "measured")


def graph_of(nodes, values, input_shape, output_shape):
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


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
        "last": np.eye(COLUMNS, dtype=np.float32),
    }
    nodes = [
        helper.make_node("LayerNormalization", ["image", "gain", "bias"], ["normed"], axis=-1),
        helper.make_node("Pad", ["normed", "pads"], ["padded"]),
        helper.make_node("Reshape", ["padded", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["turned", "matrix"], ["product"]),
        helper.make_node("MatMul", ["product", "last"], ["y"]),
    ]
    return graph_of(nodes, values, [1, TOKENS, WIDTH], [7, None, COLUMNS])


def convolutions() -> onnx.ModelProto:
    """What a small encoder is made of: weights used twice, a Relu, a depth-wise layer, a linear."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return values.astype(np.float32)

    values = {
        "first": weights(16, 3, 3, 3),
        "shared": weights(16, 16, 3, 3),
        "bias": weights(16, 1)[:, 0],
        "deep": weights(16, 1, 3, 3),
        "matrix": weights(8, 16).T.copy(),
        "last": np.eye(8, dtype=np.float32),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], **pads),
        helper.make_node("Conv", ["a", "shared", "bias"], ["b"], **pads),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "shared", "bias"], ["d"], **pads),
        helper.make_node("Add", ["d", "a"], ["e"]),
        helper.make_node("Conv", ["e", "deep"], ["f"], group=16, **pads),
        helper.make_node("Transpose", ["f"], ["g"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["g", "matrix"], ["h"]),
        helper.make_node("MatMul", ["h", "last"], ["y"]),
    ]
    return graph_of(nodes, values, [1, 3, 24, 20], [1, 24, 20, 8])


def image_for(model):
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def run(model, tmp_path, engine="onnxruntime"):
    onnx.checker.check_model(model)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx"
    onnx.save(model, path)
    return open_session(engine, path).run({"image": image_for(model)})["y"]


def ranges_of(model, tmp_path):
    """By the reference evaluator's slower twin: every tensor as an output."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = tensors_to_range(model)
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    path = tmp_path / "watched.onnx"
    onnx.save(watched, path)
    values = open_session("onnxruntime", path).run({"image": image_for(model)})
    return {name: (float(values[name].min()), float(values[name].max())) for name in names}


def test_integer_columns_are_within_half_a_step():
    matrix = np.random.default_rng(0).standard_normal((30, 20)).astype(np.float32)
    matrix[:, 3] = 0
    matrix[:, 4] *= 1e4
    for bits, largest in LARGEST.items():
        values, scale = integer_columns(matrix, bits)
        assert values.dtype == np.int8
        assert np.abs(values).max() == largest
        assert np.all(np.abs(values * scale - matrix) <= 0.5001 * scale)


def test_seven_bits_never_saturate_where_eight_do():
    """x86 without VNNI adds two products of uint8 and int8 in 16 bits."""
    assert 2 * 255 * LARGEST[7] <= np.iinfo(np.int16).max < 2 * 255 * LARGEST[8]


def test_a_scale_of_a_convolution_belongs_to_its_output_channel():
    weights = np.random.default_rng(0).standard_normal((5, 4, 3, 3)).astype(np.float32)
    weights[2] *= 100
    values, scale = integer_weights(numpy_helper.from_array(weights, "w"))
    assert values.shape == weights.shape
    assert scale.shape == (5,)
    errors = np.abs(values * scale[:, None, None, None] - weights).max(axis=(1, 2, 3))
    assert np.all(errors <= 0.5001 * scale)
    assert scale[2] > 50 * scale[[0, 1, 3, 4]].max()


def test_first_and_last_product_stay_float():
    assert [product.name for product in products(convolutions())] == ["b", "d", "f", "h"]
    assert [product.answer for product in products(convolutions())] == ["c", "d", "f", "h"]


def test_equalizing_changes_nothing_in_float32(tmp_path):
    model = normed_product(40)
    expected = run(model, tmp_path)
    assert equalize(model) == 1
    assert relative_l2(run(model, tmp_path), expected) < 1e-6


def test_outlier_channels_break_the_naive_recipe_and_not_ours(tmp_path):
    expected = run(normed_product(40), tmp_path)
    naive, ours, calm = normed_product(40), normed_product(40), normed_product(1)
    assert quantize(naive, LINEARS, {}) == 1
    equalize(ours)
    quantize(ours, LINEARS, {})
    quantize(calm, LINEARS, {})
    assert relative_l2(run(naive, tmp_path), expected) > 0.1
    assert relative_l2(run(ours, tmp_path), expected) < 0.02
    assert relative_l2(run(calm, tmp_path), run(normed_product(1), tmp_path)) < 0.02


def test_a_norm_with_another_reader_is_left_alone():
    model = normed_product(40)
    model.graph.node.append(helper.make_node("Relu", ["normed"], ["elsewhere"]))
    assert equalize(model) == 0


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.engine}-{recipe.name}")
@pytest.mark.parametrize("bits", [8, 7])
def test_every_recipe_computes_nearly_the_float_graph_on_its_engine(
    recipe, bits, tmp_path, monkeypatch
):
    monkeypatch.setattr("sam_edge_export.quantize.products.SMALLEST", 0)
    model = convolutions()
    expected = run(model, tmp_path, recipe.engine)
    ranges = ranges_of(model, tmp_path)
    assert quantize(model, recipe, ranges, bits=bits) == (
        1 if recipe.convolutions == "float" and recipe.linears != "stored" else 4
    )
    error = relative_l2(run(model, tmp_path, recipe.engine), expected)
    assert 1e-4 < error < (0.02 if bits == 8 else 0.03)  # 0 would mean that nothing was rounded


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.engine}-{recipe.name}")
def test_products_that_stay_float_are_exact(recipe, tmp_path):
    model = convolutions()
    expected = run(model, tmp_path, recipe.engine)
    ranges = ranges_of(model, tmp_path)
    assert quantize(model, recipe, ranges, floats=["b", "d", "f", "h"]) == 0
    assert relative_l2(run(model, tmp_path, recipe.engine), expected) < 1e-6


def test_integer_kernels_are_what_onnxruntime_makes_of_it(tmp_path):
    """A recipe that an engine does not recognise would compute in float32, slowly and unseen."""
    import onnxruntime as ort

    def optimised(recipe):
        model = convolutions()
        quantize(model, recipe, ranges_of(model, tmp_path))
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]

    own = {recipe.name: recipe for recipe in RECIPES if recipe.engine == "onnxruntime"}
    fused = ("DynamicQuantizeMatMul", "MatMulIntegerToFloat")
    assert set(fused) & set(optimised(own["linears"]))
    assert optimised(own["convolutions"]).count("QLinearConv") == 3


def test_weights_stored_in_8_bits_compute_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr("sam_edge_export.quantize.products.SMALLEST", 100)
    model = convolutions()
    expected = run(model, tmp_path)
    store_as_int8(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    assert {"first_s8", "shared_s8", "deep_s8", "matrix_s8"} <= stored
    answers = [run(model, tmp_path, engine) for engine in ("onnxruntime", "openvino")]
    assert relative_l2(answers[0], expected) < 0.02
    assert relative_l2(*answers) < 1e-5  # neither engine rounds what it multiplies


def test_the_grid_holds_zero_exactly():
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 0.0)):
        step, zero = grid(low, high)
        assert 0 <= zero <= 255
        assert step * (0 - zero) <= min(low, 0) + step
        assert step * (255 - zero) >= max(high, 0) - step
