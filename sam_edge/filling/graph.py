"""Fill a template: literal bytes, and between them what the recipes make, one tensor at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from sam_edge.filling.recipes import Folded, Kitchen
from sam_edge.filling.template import Template
from sam_edge.spec import GraphFile
from sam_edge_runtimes import Float32
from sam_edge_runtimes.graph_file import field


def fill(
    template: Template,
    weights: Mapping[str, Float32],
    path: Path,
    metadata: Mapping[str, str],
    *,
    bits: int = 8,
    tick: Callable[[int], None] = lambda _: None,
) -> GraphFile:
    """Write a graph.

    Args:
        template: what to fill.
        weights: a checkpoint's, under official names.
        path: the ``.onnx`` file to write; weights over 2 GB go beside it.
        metadata: provenance, written into the graph.
        bits: of integer weights.
        tick: called with the bytes of every piece that was written.

    Returns:
        What the manifest says of it.

    Raises:
        CheckpointError: if a weight cannot be read or is not finite.
        OSError: if a file cannot be written.
    """
    kitchen = Kitchen(Folded(weights, template.folds), template.norms, bits)
    text, at = memoryview(template.text), 0
    digests: dict[str, str] = {}
    for ending, pieces in template.files.items():
        target = path.with_name(path.name + ending)
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for piece in pieces:
                if isinstance(piece, int):
                    data = text[at : at + piece]
                    at += piece
                else:
                    data = kitchen.make(piece).data.cast("B")
                file.write(data)
                digest.update(data)
                tick(len(data))
            if not ending:
                provenance = metadata_field(metadata)
                file.write(provenance)
                digest.update(provenance)
        digests[target.name] = digest.hexdigest()
    graph, *external = digests
    return GraphFile(
        role=template.role,
        file=graph,
        engines=template.engines,
        precision=template.precision,
        sha256=digests[graph],
        size_bytes=path.stat().st_size,
        external_data={name: digests[name] for name in external},
        inputs=template.inputs,
        outputs=template.outputs,
    )


def metadata_field(metadata: Mapping[str, str]) -> bytes:
    """Return a graph's ``metadata_props``, the last field of an ONNX file.

    Source: ``onnx/onnx.proto``, field 14 of ``ModelProto``: key and value of each entry.
    """
    return b"".join(
        field(14, field(1, key.encode()) + field(2, value.encode()))
        for key, value in metadata.items()
    )
