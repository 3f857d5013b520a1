"""8-bit linear layers for ONNX Runtime: integer weights, activations measured at run time.

Every product with a constant matrix becomes ``MatMulInteger``: the matrix as int8 with a scale a
column, its input as uint8 with one scale and zero point that ``DynamicQuantizeLinear`` takes from
the tensor at hand. No calibration set is needed and none can be wrong. ONNX Runtime fuses the nodes
of a product into one kernel.

Products of two activations (attention), convolutions, norms and softmax stay float32.

One scale for a whole tensor suffers from channels that are far larger than the others, which
trained ViTs have. Where a LayerNorm feeds the product, its gains say which these are: ``equalize``
moves their size into the matrix first, which changes nothing in exact arithmetic.
Source of the idea: Xiao et al., "SmoothQuant" (2023), section 4.1, there with measured activations.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sam_edge_runtimes import Float32, open_session

LARGEST = 127
ROUNDS = 5


def equalize(graph: onnx.ModelProto) -> int:
    """Move the size of LayerNorm's channels halfway into the matrices that follow, in place.

    Returns:
        How many LayerNorms were changed: those whose every reader is a product with a constant
        matrix, directly or through operators that leave channels alone.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    count = 0
    for norm in graph.graph.node:
        if norm.op_type != "LayerNormalization" or len(norm.input) < 3:
            continue
        matrices = _matrices_after(norm.output[0], readers, tensors)
        own = [name for name in norm.input[1:3] if name in tensors and len(readers[name]) == 1]
        if not matrices or len(own) < 2:
            continue
        parameters = [tensors[name] for name in own]
        gain, bias = (numpy_helper.to_array(tensor) for tensor in parameters)
        rows = [numpy_helper.to_array(matrix) for matrix in matrices]
        # A normalised channel is seldom over 3: this is how large it gets after gain and bias.
        size = 3 * np.abs(gain) + np.abs(bias)
        weight = np.max([np.abs(matrix).max(1) for matrix in rows], 0)
        factor = np.sqrt(np.maximum(size, 1e-5) / np.maximum(weight, 1e-5))
        factor = (factor / np.exp(np.log(factor).mean())).astype(np.float32)
        for tensor, value in zip(parameters, (gain, bias), strict=True):
            tensor.CopyFrom(numpy_helper.from_array(value / factor, tensor.name))
        for matrix, value in zip(matrices, rows, strict=True):
            matrix.CopyFrom(numpy_helper.from_array(value * factor[:, None], matrix.name))
        count += 1
    return count


def _matrices_after(
    name: str,
    readers: Mapping[str, list[onnx.NodeProto]],
    tensors: Mapping[str, onnx.TensorProto],
) -> list[onnx.TensorProto]:
    """The matrices that a tensor is multiplied with; none if anything else reads it."""
    found: list[onnx.TensorProto] = []
    waiting = [name]
    while waiting:
        current = waiting.pop()
        for node in readers.get(current, []):
            if node.op_type == "MatMul" and node.input[0] == current and node.input[1] in tensors:
                if len(readers[node.input[1]]) > 1:
                    return []
                found.append(tensors[node.input[1]])
            elif node.op_type in ("Pad", "Reshape") or _keeps_channels(node):
                waiting.append(node.output[0])
            else:
                return []
    return found if len({tensor.dims[0] for tensor in found}) == 1 else []


def _keeps_channels(node: onnx.NodeProto) -> bool:
    if node.op_type != "Transpose":
        return False
    order = helper.get_attribute_value(node.attribute[0])
    return bool(order[-1] == len(order) - 1)


def quantize_linears(graph: onnx.ModelProto) -> int:
    """Replace every product with a constant float32 matrix, in place.

    Returns:
        How many there were.
    """
    matrices = {
        tensor.name: tensor
        for tensor in graph.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    }
    nodes: list[onnx.NodeProto] = []
    quantized_inputs: set[str] = set()
    replaced: dict[str, list[onnx.TensorProto]] = {}
    count = 0
    for node in graph.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in matrices:
            nodes.append(node)
            continue
        source, matrix = node.input
        if matrix not in replaced:
            replaced[matrix] = _integer_matrix(matrices[matrix])
        if source not in quantized_inputs:
            quantized_inputs.add(source)
            nodes.append(
                helper.make_node(
                    "DynamicQuantizeLinear",
                    [source],
                    [f"{source}_u8", f"{source}_scale", f"{source}_zero"],
                )
            )
        product = node.output[0]
        nodes += [
            helper.make_node(
                "MatMulInteger",
                [f"{source}_u8", f"{matrix}_s8", f"{source}_zero"],
                [f"{product}_s32"],
            ),
            helper.make_node("Cast", [f"{product}_s32"], [f"{product}_sum"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{source}_scale", f"{matrix}_scale"], [f"{product}_scales"]),
            helper.make_node("Mul", [f"{product}_sum", f"{product}_scales"], [product]),
        ]
        count += 1
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    graph.graph.initializer.extend(part for parts in replaced.values() for part in parts)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return count


def _integer_matrix(tensor: onnx.TensorProto) -> list[onnx.TensorProto]:
    values, scale = integer_columns(numpy_helper.to_array(tensor))
    return [
        numpy_helper.from_array(values, f"{tensor.name}_s8"),
        numpy_helper.from_array(scale, f"{tensor.name}_scale"),
    ]


def integer_columns(matrix: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Round a matrix to 8 bits, each column with a scale of its own.

    Args:
        matrix: ``(rows, columns)``.

    Returns:
        ``(rows, columns)`` int8 without -128, and ``(columns,)`` float32; their product is within
        half a scale of the matrix.

    >>> integer_columns(np.float32([[1, 0], [-0.5, 0]]))[0].tolist()
    [[127, 0], [-64, 0]]
    """
    largest = np.abs(matrix).max(0)
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(LARGEST)
    return np.rint(matrix / scale).astype(np.int8), scale


def speedup(
    engine: str, float_graph: Path, graph: Path, shape: tuple[int, ...], threads: int | None = None
) -> float:
    """Measure how much faster a graph is than its float32 one, here and now.

    Args:
        engine: an installed one.
        float_graph: the float32 encoder.
        graph: the same in fewer bits.
        shape: of ``image``.
        threads: None leaves it to the engine.

    Returns:
        The ratio of the medians of runs taken in turn, after one to warm up.
    """
    image = np.random.default_rng(0).standard_normal(shape, np.float32)
    axes: tuple[int | str, ...] = ("batch", *shape[1:])
    options: Mapping[str, Any] = {
        "threads": threads,
        "input_shapes": {"image": axes},
        "fixed": {"batch": shape[0]},
        "pack_weights": False,
    }
    sessions = [open_session(engine, path, **options) for path in (float_graph, graph)]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for session, taken in zip(sessions, times, strict=True):
            began = time.perf_counter()
            session.run({"image": image})
            if turn:
                taken.append(time.perf_counter() - began)
    return statistics.median(times[0]) / statistics.median(times[1])
