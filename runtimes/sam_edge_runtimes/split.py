"""An ONNX graph in two: what depends on inputs that stay is run once, the rest at every run.

A click differs from the last one on the same photo by its points alone. What the decoder makes of
the photo before it looks at them (its first layer's keys, values and queries, and what a mask to
start from becomes) is the first graph; it answers what the second one takes beside the points. The
operations are the same ones, in the same order.

Source of field numbers: ``onnx/onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sam_edge_runtimes.errors import EngineError
from sam_edge_runtimes.graph_file import field, fields, number_field, spans
from sam_edge_runtimes.session import TensorType

REVISION = 1
"""Counted up when the same file is taken apart in another way: engines' caches go by it."""

MODEL_GRAPH = 7
NODE, GRAPH_NAME, INITIALIZER, INPUT, OUTPUT = 1, 2, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_GRAPHS = (6, 11)
TENSOR_NAME = 8
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR = 1, 2, 1
TENSOR_ELEMENT, TENSOR_SHAPE, SHAPE_DIMENSION = 1, 2, 1
DIMENSION_SIZE = 1

ELEMENTS = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10}
"""``TensorProto.DataType``, by numpy's names."""


class InseparableError(EngineError):
    """A graph of which nothing can be run ahead."""


@dataclass(frozen=True, slots=True)
class Split:
    """A graph taken apart.

    Attributes:
        first: the graph of what stays, an ONNX file. It answers what the second one takes.
        second: makes the other graph of the types of those answers.
    """

    first: bytes
    second: Callable[[Mapping[str, TensorType]], bytes]


Span: TypeAlias = tuple[int, int, int]
"""A field's number, and where its content begins and ends."""


@dataclass(frozen=True, slots=True)
class _Node:
    whole: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operator: str


def split(model: bytes, changing: Collection[str]) -> Split:
    """Take a graph apart.

    Args:
        model: an ONNX file whose weights are inside.
        changing: names of the inputs that are others at every run.

    Raises:
        InseparableError: if nothing is computed from what stays alone, an answer depends on nothing
            else, or a node has graphs of its own.
        EngineError: if the file is damaged.
    """
    try:
        return _split(model, changing)
    except (ValueError, IndexError) as error:  # an IndexError: a node without an operator
        raise EngineError(f"this is no ONNX graph: {error}") from error


def _split(model: bytes, changing: Collection[str]) -> Split:
    around: list[bytes] = []
    parts: list[Span] = []
    for number, _, begin, first, last in spans(model, 0, len(model)):
        if number == MODEL_GRAPH:
            parts += list(fields(model, first, last))
        else:
            around.append(model[begin:last])
    nodes = [_node(model, first, last) for number, first, last in parts if number == NODE]
    inputs = _named(model, parts, INPUT, VALUE_NAME)
    outputs = _named(model, parts, OUTPUT, VALUE_NAME)
    weights = _named(model, parts, INITIALIZER, TENSOR_NAME)

    # Nodes stand behind those that they need. What depends on no input, or on a shape alone, is
    # computed in either graph: with sizes fixed, engines make constants of it, and leave out what
    # nothing but a shape was asked of.
    changes, stays = set(changing), set(inputs) - {*changing}
    crossing: dict[str, None] = {}
    for node in nodes:
        if not changes.isdisjoint(node.inputs):
            changes.update(node.outputs)
            crossing |= dict.fromkeys(name for name in node.inputs if name in stays)
        elif not stays.isdisjoint(node.inputs) and node.operator != "Shape":
            stays.update(node.outputs)
    across = tuple(name for name in crossing if name not in inputs)
    if not across or not changes.issuperset(outputs):
        raise InseparableError(f"nothing of the graph can be run before {', '.join(changing)}")

    def file(ends: Iterable[str], given: Collection[str], interface: Sequence[bytes]) -> bytes:
        needed = set(ends)
        kept = []
        for node in reversed(nodes):
            if any(name in needed and name not in given for name in node.outputs):
                needed.update(node.inputs)
                kept.append(node.whole)
        those = [whole for name, whole in (weights | inputs).items() if name in needed]
        graph = [*reversed(kept), field(GRAPH_NAME, b"part"), *those, *interface]
        return b"".join([*around, field(MODEL_GRAPH, b"".join(graph))])

    def second(types: Mapping[str, TensorType]) -> bytes:
        taken = [field(INPUT, _value(name, types[name])) for name in across]
        return file(outputs, across, [*taken, *outputs.values()])

    answered = [field(OUTPUT, field(VALUE_NAME, name.encode())) for name in across]
    return Split(file(across, (), answered), second)


def _node(model: bytes, first: int, last: int) -> _Node:
    names: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_OPERATOR: []}
    for number, begin, end in fields(model, first, last):
        if number in names:
            names[number].append(model[begin:end].decode())
        elif number == NODE_ATTRIBUTE and any(
            inner in ATTRIBUTE_GRAPHS for inner, *_ in fields(model, begin, end)
        ):
            raise InseparableError("a node of the graph has graphs of its own")
    inputs, outputs = tuple(filter(None, names[NODE_INPUT])), tuple(names[NODE_OUTPUT])
    return _Node(field(NODE, model[first:last]), inputs, outputs, names[NODE_OPERATOR][0])


def _named(model: bytes, parts: Iterable[Span], kind: int, name: int) -> dict[str, bytes]:
    """Return a graph's fields of a kind, whole, by the name that stands in each."""
    return {
        model[begin:end].decode(): field(kind, model[first:last])
        for number, first, last in parts
        if number == kind
        for inner, begin, end in fields(model, first, last)
        if inner == name
    }


def _value(name: str, type_: TensorType) -> bytes:
    """Write a ``ValueInfoProto``."""
    if type_.dtype not in ELEMENTS:
        raise EngineError(f"{name} is of {type_.dtype}, which no graph of ours has between nodes")
    sizes = (
        number_field(DIMENSION_SIZE, size) if isinstance(size, int) else b"" for size in type_.shape
    )
    shape = b"".join(field(SHAPE_DIMENSION, size) for size in sizes)
    tensor = number_field(TENSOR_ELEMENT, ELEMENTS[type_.dtype]) + field(TENSOR_SHAPE, shape)
    return field(VALUE_NAME, name.encode()) + field(VALUE_TYPE, field(TYPE_TENSOR, tensor))
