"""Where in an ONNX file its weights lie, so that they can be cut out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from sam_edge_runtimes.graph_file import fields

GRAPH, INITIALIZER, RAW_DATA, NAME = 7, 5, 9, 8
"""Numbers of fields in ``onnx/onnx.proto``: of a model, a graph and a tensor."""


@dataclass(frozen=True, slots=True)
class Hole:
    """An initializer's bytes.

    Attributes:
        name: of the initializer.
        start: where they begin in the file.
        stop: where they end.
    """

    name: str
    start: int
    stop: int


def holes(graph: Path) -> dict[str, list[Hole]]:
    """Return the holes of a graph's files, in their order: ending of the name -> holes."""
    data = graph.read_bytes()
    found = {"": list(_inside(data))}
    outside = []
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            start = int(entries["offset"])
            outside.append(Hole(tensor.name, start, start + int(entries["length"])))
            ending = entries["location"].removeprefix(graph.name)
            found[ending] = outside
    outside.sort(key=lambda hole: hole.start)
    return found


def _inside(data: bytes) -> Iterator[Hole]:
    for number, start, stop in fields(data, 0, len(data)):
        if number == GRAPH:
            for inner, first, last in fields(data, start, stop):
                if inner == INITIALIZER:
                    parts = {part: (a, b) for part, a, b in fields(data, first, last)}
                    a, b = parts[NAME]
                    if RAW_DATA in parts:
                        yield Hole(data[a:b].decode(), *parts[RAW_DATA])
