"""The example of a detector, on a YOLO-like graph whose answer is known."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sam_edge import detectors

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_examples_boxes_are_the_graphs(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    rows = np.zeros((1, 4, 8), np.float32)
    rows[0, :, :5] = [
        [32, 16, 32, 16, 1],
        [33, 16, 32, 16, 0.9],
        [60, 60, 8, 8, 1],
        [9, 9, 9, 9, 0],
    ]
    rows[0, :, 5:] = [[0, 0.9, 0], [0, 0.8, 0], [0, 0, 0.5], [1, 0, 0]]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    boxes = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 4, 8])
    nodes = [
        helper.make_node("ReduceMin", ["images"], ["least"], keepdims=0),
        helper.make_node("Mul", ["least", "nothing"], ["zero"]),
        helper.make_node("Add", ["rows", "zero"], ["output"]),
    ]
    weights = [
        numpy_helper.from_array(rows, "rows"),
        numpy_helper.from_array(np.float32(0), "nothing"),
    ]
    graph = helper.make_graph(nodes, "yolo", [image], [boxes], weights)
    path = tmp_path / "yolo.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    monkeypatch.setenv("YOLO", str(path))
    monkeypatch.syspath_prepend(EXAMPLES)
    entry = EntryPoint("yolo", "yolo_detector:detect", detectors.GROUP)
    monkeypatch.setattr(detectors, "entry_points", lambda group: [entry])
    try:
        found = detectors.detector_named("yolo")(np.zeros((32, 128, 3), np.uint8))
    finally:
        sys.modules.pop("yolo_detector", None)
    assert [(d.label, round(d.score, 3), str(d.box)) for d in found] == [
        ("bicycle", 0.9, "32,4,96,12"),
        ("car", 0.5, "112,28,128,32"),
    ]
