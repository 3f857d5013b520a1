"""A bundle's manifest while its files are being written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sam_edge.new_bundle import decoder_precision, new_spec, provenance
from sam_edge.spec import PROMPT_ENCODER_MASK_DECODER, GraphFile, GroundingSpec, ModelSpec
from sam_edge.zoo.table import named_models
from sam_edge_export import trace
from sam_edge_export.modules.sam import Sam
from sam_edge_runtimes.graph_file import sha256_file

Spec = TypeVar("Spec", ModelSpec, GroundingSpec)


def blank(sam: Sam, checkpoint: Path, precision: str, decoder: str) -> ModelSpec:
    """Return the manifest of a bundle that has no graphs yet."""
    spec = new_spec(
        named_models()[sam.variant], sam.image_size, checkpoint, precision, trace.tool_versions()
    )
    return replace(spec, decoder=decoder, opset=trace.OPSET)


def with_graph(
    spec: ModelSpec,
    directory: Path,
    traceable: trace.Traceable,
    progress: Callable[[str], None],
    rounded: Mapping[str, Collection[str]] | None = None,
) -> ModelSpec:
    """Write a graph that computes in float32, for any engine; see ``export_bundle``."""
    progress(f"tracing {traceable.role}")
    stored = spec.precision
    if traceable.role == PROMPT_ENCODER_MASK_DECODER:
        stored = decoder_precision(stored)
    path = directory / f"{traceable.role}.onnx"
    names = rounded and rounded[traceable.role]
    external = trace.write_graph(traceable, path, provenance(spec), precision=stored, rounded=names)
    return added(spec, path, traceable.role, (), stored, external)


def added(
    spec: Spec,
    path: Path,
    role: str,
    engines: tuple[str, ...],
    precision: str,
    external: tuple[str, ...] = (),
) -> Spec:
    """Return the spec with a file that was written, in place of an earlier one of its name."""
    inputs, outputs = trace.tensor_infos(path)
    entry = GraphFile(
        role=role,
        file=path.name,
        engines=engines,
        precision=precision,
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        external_data={name: sha256_file(path.with_name(name)) for name in external},
        inputs=inputs,
        outputs=outputs,
    )
    others: tuple[GraphFile, ...] = tuple(
        graph for graph in spec.graphs if graph.file != entry.file
    )
    return replace(spec, graphs=(*others, entry))
