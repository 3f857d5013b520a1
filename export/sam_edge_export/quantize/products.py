"""What can be computed in integers: products with constant weights, and those weights in 8 bits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sam_edge.filling.arithmetic import integers_along
from sam_edge_runtimes import Float32


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies an activation with constant weights.

    Attributes:
        name: its output tensor; what a manifest lists where the product stays float.
        linear: a MatMul; otherwise a convolution.
        source: the activation.
        weights: the initializer.
        answer: the output tensor, or that of the Relu that alone reads it: engines compute the two
            as one.
    """

    name: str
    linear: bool
    source: str
    weights: str
    answer: str


def products(graph: onnx.ModelProto) -> list[Product]:
    """Return every product of a float graph that may go into integers, in the graph's order.

    Those whose input is the photo itself are not among them, nor the last one of the graph: the
    first has three channels to gain from, the errors of the last are the embedding's.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    photo = {value.name for value in graph.graph.input}
    readers = readers_of(graph)
    found = []
    for node in graph.graph.node:
        if node.op_type not in ("MatMul", "Conv") or node.input[1] not in tensors:
            continue
        weights = tensors[node.input[1]]
        linear = node.op_type == "MatMul"
        if weights.data_type != TensorProto.FLOAT or len(weights.dims) != (2 if linear else 4):
            continue
        output = node.output[0]
        after = readers.get(output, [])
        rectified = len(after) == 1 and after[0].op_type == "Relu"
        answer = after[0].output[0] if rectified else output
        found.append(Product(output, linear, node.input[0], weights.name, answer))
    return [product for product in found[:-1] if product.source not in photo]


def readers_of(graph: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes that read each tensor."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def integer_weights(tensor: onnx.TensorProto, bits: int = 8) -> tuple[NDArray[np.int8], Float32]:
    """Round a product's weights, each output channel with a scale of its own.

    Args:
        tensor: ``(inputs, outputs)`` of a linear, ``(outputs, inputs, h, w)`` of a convolution.
        bits: 8, or 7 for processors that saturate.

    Returns:
        int8 in the tensor's shape, and ``(outputs,)`` float32.
    """
    values = numpy_helper.to_array(tensor)
    return integers_along(values, -1 if values.ndim == 2 else 0, bits)


SMALLEST = 2**17
"""Values from which on weights are stored in 8 bits where nobody measured what each costs. The
decoder's smaller ones, those of its upscaling above all, move masks more than they save
megabytes."""


def store_as_int8(
    graph: onnx.ModelProto, only: Collection[str] | None = None, bits: int = 8
) -> None:
    """Store the weights of float products as int8 with a scale a column, in place.

    A Cast and a Mul in front of each turn them back when an engine opens the graph, so that the
    file becomes small and the arithmetic stays float32; except on OpenVINO, which recognises them
    and, on processors that have the instructions, rounds activations as it multiplies.

    Args:
        graph: float32 weights in initializers.
        only: names of the weights to store; None takes all of ``SMALLEST`` values and more.
        bits: as for ``integer_weights``.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    stored = []
    for name, axis in large_weights(graph, None if only is None else 1).items():
        if only is not None and name not in only:
            continue
        tensor = tensors[name]
        values = numpy_helper.to_array(tensor)
        integers, scale = integers_along(values, axis, bits)
        shape = [1] * values.ndim
        shape[axis] = -1
        tensor.CopyFrom(numpy_helper.from_array(integers, f"{name}_s8"))
        graph.graph.initializer.append(
            numpy_helper.from_array(scale.reshape(shape), f"{name}_scale")
        )
        stored += [
            helper.make_node("Cast", [f"{name}_s8"], [f"{name}_whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name]),
        ]
    nodes = [*stored, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def large_weights(graph: onnx.ModelProto, smallest: int | None = None) -> dict[str, int]:
    """Return weights of float products: name -> axis of the output channels.

    Args:
        graph: float32 weights in initializers.
        smallest: how many values make one large; None is ``SMALLEST``.
    """
    least = SMALLEST if smallest is None else smallest
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    found: dict[str, int] = {}
    for node in graph.graph.node:
        axis = {"MatMul": -1, "Gemm": -1, "Conv": 0, "ConvTranspose": 1}.get(node.op_type)
        if axis is None or node.input[1] not in tensors:
            continue
        if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
            axis = 0
        tensor = tensors[node.input[1]]
        large = int(np.prod(tensor.dims)) >= least
        if tensor.data_type == TensorProto.FLOAT and large:
            found[tensor.name] = axis % len(tensor.dims)
    return found
