"""Move the size of outlier channels from activations into the matrices that follow. Exact."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sam_edge.filling.arithmetic import equalizing_factors
from sam_edge_export.quantize.products import readers_of


def equalize(graph: onnx.ModelProto) -> int:
    """Move the size of LayerNorm's channels halfway into the matrices that follow, in place.

    Returns:
        How many LayerNorms were changed: those whose every reader is a product with a constant
        matrix, directly or through operators that leave channels alone.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    readers = readers_of(graph)
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
        peaks = np.max([np.abs(matrix).max(1) for matrix in rows], 0)
        factor = equalizing_factors(gain, bias, peaks)
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
