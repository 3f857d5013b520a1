"""What docs/boards.md says of the graphs' work is what their products count to."""

import json
import runpy
from pathlib import Path

import pytest

TECHNIQUES = Path(__file__).parents[2] / "benchmarks" / "techniques"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(TECHNIQUES / "flops.py"))


def test_the_page_has_what_its_script_makes_of_the_counts(script):
    page = script["PAGE"].read_text(encoding="utf-8")
    assert script["replaced"](page) == page, "run python benchmarks/techniques/flops.py"


@pytest.mark.parametrize(("variant", "size"), [("nano", 512), ("mobile_sam", 512)])
def test_graphs_count_to_what_was_written(script, variant, size):
    pytest.importorskip("onnx")
    rows = json.loads(script["RESULT"].read_text(encoding="utf-8"))["graphs"]
    (written,) = (row for row in rows if (row["variant"], row["image_size"]) == (variant, size))
    assert script["row"](variant, size) == written


def test_products_are_counted_by_hand(script, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    weights = [
        helper.make_tensor("kernel", TensorProto.FLOAT, (8, 1, 3, 3), [0.0] * 72),
        helper.make_tensor("matrix", TensorProto.FLOAT, (6, 5), [0.0] * 30),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["map"], group=4, pads=[1, 1, 1, 1]),
            helper.make_node("MatMul", ["map", "matrix"], ["product"]),
        ],
        "two",
        [value("image", TensorProto.FLOAT, ("batch", 4, 6, 6))],
        [value("product", TensorProto.FLOAT, None)],
        weights,
    )
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph), path)
    found = script["counted"](path, {"batch": 2})
    assert found == {
        "Conv": 2 * (2 * 8 * 6 * 6) * (1 * 3 * 3),  # each output is nine products of one channel
        "MatMul": 2 * (2 * 8 * 6 * 5) * 6,
    }
