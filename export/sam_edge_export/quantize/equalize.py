"""Move the size of outlier channels from activations into the matrices that follow. Exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sam_edge.filling.arithmetic import equalizing_factors
from sam_edge_export.quantize.products import readers_of


@dataclass(frozen=True, slots=True)
class Group:
    """A LayerNorm and the matrices behind it, by the names of their initializers."""

    gain: str
    bias: str
    matrices: tuple[str, ...]


def groups(graph: onnx.ModelProto) -> list[Group]:
    """Return the LayerNorms whose every reader is a product with a constant matrix.

    Directly, or through operators that leave channels alone.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    readers = readers_of(graph)
    found = []
    for norm in graph.graph.node:
        if norm.op_type != "LayerNormalization" or len(norm.input) < 3:
            continue
        matrices = _matrices_after(norm.output[0], readers, tensors)
        own = [name for name in norm.input[1:3] if name in tensors and len(readers[name]) == 1]
        if matrices and len(own) == 2:
            found.append(Group(own[0], own[1], tuple(matrix.name for matrix in matrices)))
    return found


def equalize(graph: onnx.ModelProto) -> int:
    """Move the size of LayerNorm's channels halfway into the matrices that follow, in place.

    Returns:
        How many LayerNorms were changed.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    found = groups(graph)
    for group in found:
        gain, bias = (numpy_helper.to_array(tensors[name]) for name in (group.gain, group.bias))
        rows = [numpy_helper.to_array(tensors[name]) for name in group.matrices]
        peaks = np.max([np.abs(matrix).max(1) for matrix in rows], 0)
        factor = equalizing_factors(gain, bias, peaks)
        changed = {group.gain: gain / factor, group.bias: bias / factor}
        changed |= {
            name: matrix * factor[:, None]
            for name, matrix in zip(group.matrices, rows, strict=True)
        }
        for name, values in changed.items():
            tensors[name].CopyFrom(numpy_helper.from_array(values, name))
    return len(found)


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
