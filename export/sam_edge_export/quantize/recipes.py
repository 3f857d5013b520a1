"""The recipes: which products go into integers, and in which nodes an engine finds its kernels.

Weights are int8 with a scale an output channel, activations uint8 with one scale and zero point a
tensor. ONNX Runtime has its fast kernels behind ``MatMulInteger`` and, for convolutions, behind
quantised tensors on both sides; OpenVINO behind ``QuantizeLinear``, ``DequantizeLinear`` pairs in
front of a float product, or, without a range, behind weights that are stored in 8 bits. Each is
slower than float32 in the other's form.

Products of two activations (attention) stay float in all of them: in integers they are slower on
ONNX Runtime and OpenVINO alike, and the softmax of 4096 tokens needs more than 8 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sam_edge_export.quantize.products import (
    Product,
    integer_weights,
    large_weights,
    products,
    store_as_int8,
)

Ranges = Mapping[str, tuple[float, float]]
"""Tensor name -> smallest and largest value over the calibration photos."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an encoder goes into integers for one engine.

    Attributes:
        name: for the command line and the manifest.
        engine: the one whose kernels it is for.
        linears: ``measured``: an input's range is taken at run time; ``calibrated``: from photos;
            ``stored``: weights are stored in 8 bits, and the engine does the rest.
        convolutions: ``float``; ``inputs``: 8-bit in, float out; ``chained``: 8-bit in and out.
    """

    name: str
    engine: str
    linears: str
    convolutions: str

    @property
    def calibrated(self) -> bool:
        """Whether it needs ranges."""
        return self.linears == "calibrated" or self.convolutions != "float"


RECIPES = (
    Recipe("linears", "onnxruntime", "measured", "float"),
    Recipe("convolutions", "onnxruntime", "measured", "chained"),
    Recipe("calibrated-linears", "onnxruntime", "calibrated", "float"),
    Recipe("convolutions", "openvino", "calibrated", "inputs"),
    Recipe("linears", "openvino", "calibrated", "float"),
    Recipe("weights", "openvino", "stored", "float"),
)
"""All there are; ``sam-edge quantize --search`` measures them."""


def candidates(graph: onnx.ModelProto, recipe: Recipe) -> list[Product]:
    """Return the products that a recipe takes, in the graph's order."""
    found = products(graph)
    if recipe.linears == "stored":
        large = large_weights(graph)
        return [product for product in found if product.weights in large]
    return [product for product in found if product.linear or recipe.convolutions != "float"]


def tensors_to_range(graph: onnx.ModelProto) -> list[str]:
    """Return every tensor whose range some recipe may ask for."""
    names = [name for product in products(graph) for name in (product.source, product.answer)]
    return list(dict.fromkeys(names))


def quantize(
    graph: onnx.ModelProto,
    recipe: Recipe,
    ranges: Ranges,
    floats: Collection[str] = (),
    bits: int = 8,
) -> int:
    """Put a float graph's products into integers, in place.

    Args:
        graph: float32 weights in initializers.
        recipe: one of ``RECIPES``.
        ranges: of ``tensors_to_range``; unused where the recipe measures.
        floats: names of products that stay float.
        bits: of the weights, 8 or 7.

    Returns:
        How many products are in integers.
    """
    chosen = {
        product.name: product for product in candidates(graph, recipe) if product.name not in floats
    }
    if recipe.linears == "stored":
        store_as_int8(graph, {product.weights for product in chosen.values()}, bits)
        return len(chosen)
    writer = _Writer(graph, ranges, bits)
    chained = recipe.convolutions == "chained"
    answers = {p.answer for p in chosen.values() if chained and not p.linear}
    for node in graph.graph.node:
        product = chosen.get(node.output[0]) if node.output else None
        # Who reads a chained convolution reads its 8-bit answer.
        for index, name in enumerate(node.input):
            if name in answers:
                node.input[index] = f"{name}_rounded"
        if product is None:
            writer.nodes.append(node)
        elif product.linear and recipe.linears == "measured":
            writer.integer_product(node, product)
        else:
            writer.rounded_product(node, product, chained and not product.linear)
        for name in node.output:
            if name in answers:
                writer.round(name)
    outputs = {value.name for value in graph.graph.output}
    if answers & outputs:
        raise ValueError("the graph's output cannot be a rounded convolution")
    writer.finish()
    return len(chosen)


class _Writer:
    """Collects a graph's new nodes and initializers; each tensor is rounded once."""

    def __init__(self, graph: onnx.ModelProto, ranges: Ranges, bits: int) -> None:
        self._graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
        self._ranges = ranges
        self._bits = bits
        self._done: set[str] = set()
        self._scales: dict[str, NDArray[np.float32]] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def integer_product(self, node: onnx.NodeProto, product: Product) -> None:
        """``DynamicQuantizeLinear``, ``MatMulInteger``: ONNX Runtime fuses them into one kernel."""
        source, weights, output = node.input[0], product.weights, product.name
        if self._first(f"{source}_u8"):
            self._node("DynamicQuantizeLinear", [source], *_names(source, "u8", "step", "zero"))
        self._weights(weights)
        self._node(
            "MatMulInteger", [f"{source}_u8", f"{weights}_s8", f"{source}_zero"], f"{output}_s32"
        )
        self._node("Cast", [f"{output}_s32"], f"{output}_sum", to=TensorProto.FLOAT)
        self._node("Mul", [f"{source}_step", f"{weights}_scale"], f"{output}_scales")
        self._node("Mul", [f"{output}_sum", f"{output}_scales"], output)

    def rounded_product(self, node: onnx.NodeProto, product: Product, chained: bool) -> None:
        """The float product of a rounded input and rounded weights: engines see the integers."""
        source, weights = node.input[0], product.weights
        if not source.endswith("_rounded"):
            self.round(source)
            node.input[0] = f"{source}_rounded"
        scale = self._weights(weights)
        axis = 1 if product.linear else 0
        if self._first(f"{weights}_rounded"):
            self._constant(f"{weights}_zeros", np.zeros(len(scale), np.int8))
            self._node(
                "DequantizeLinear",
                _names(weights, "s8", "scale", "zeros"),
                f"{weights}_rounded",
                axis=axis,
            )
        node.input[1] = f"{weights}_rounded"
        if chained and len(node.input) > 2:
            node.input[2] = self._integer_bias(product, node.input[2], source, scale)
        self.nodes.append(node)

    def round(self, name: str) -> None:
        """Put an activation through 8 bits of its calibrated range."""
        if not self._first(f"{name}_rounded"):
            return
        step, zero = grid(*self._ranges[name])
        self._constant(f"{name}_step", np.float32(step))
        self._constant(f"{name}_zero", np.uint8(zero))
        self._node("QuantizeLinear", [name, *_names(name, "step", "zero")], f"{name}_u8")
        self._node("DequantizeLinear", _names(name, "u8", "step", "zero"), f"{name}_rounded")

    def finish(self) -> None:
        """Replace the graph's nodes, and drop the weights that nobody reads any more."""
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self._graph.graph.initializer if tensor.name in used]
        del self._graph.graph.initializer[:]
        self._graph.graph.initializer.extend([*kept, *self.initializers])
        del self._graph.graph.node[:]
        self._graph.graph.node.extend(self.nodes)

    def _weights(self, name: str) -> NDArray[np.float32]:
        """Put 8-bit weights among the initializers; return their scales."""
        if name not in self._scales:
            values, scale = integer_weights(self._tensors[name], self._bits)
            self._constant(f"{name}_s8", values)
            self._constant(f"{name}_scale", scale)
            self._scales[name] = scale
        return self._scales[name]

    def _integer_bias(
        self, product: Product, bias: str, source: str, scale: NDArray[np.float32]
    ) -> str:
        """A chained convolution adds its bias in integers, in steps of input times weights."""
        activation = source.removesuffix("_rounded")
        steps = scale * np.float32(grid(*self._ranges[activation])[0])
        values = numpy_helper.to_array(self._tensors[bias])
        name = f"{product.name}_bias"
        limit = 2.0**30
        self._constant(f"{name}_s32", np.rint((values / steps).clip(-limit, limit)).astype("int32"))
        self._constant(f"{name}_scale", steps.astype(np.float32))
        self._constant(f"{name}_zeros", np.zeros(len(steps), np.int32))
        self._node(
            "DequantizeLinear", _names(name, "s32", "scale", "zeros"), f"{name}_rounded", axis=0
        )
        return f"{name}_rounded"

    def _first(self, name: str) -> bool:
        new = name not in self._done
        self._done.add(name)
        return new

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> None:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))

    def _node(self, kind: str, inputs: list[str], *outputs: str, **attributes: int) -> None:
        node = helper.make_node(kind, inputs, list(outputs))
        node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
        self.nodes.append(node)


def _names(stem: str, *endings: str) -> list[str]:
    return [f"{stem}_{ending}" for ending in endings]


def grid(low: float, high: float) -> tuple[float, int]:
    """Return the step and the zero point of 256 values over a range that holds 0.

    >>> grid(-127, 128)
    (1.0, 127)
    >>> grid(0, 0)
    (1.0, 0)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255 or 1.0
    return step, round(-low / step)
