"""A bundle's manifest while its files are being written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import onnxslim
import torch

from sam_edge._version import __version__
from sam_edge.bundle import MANIFEST_NAME, manifest_text
from sam_edge.checkpoints import source_sha256
from sam_edge.files import write_text
from sam_edge.spec import PROMPT_ENCODER_MASK_DECODER, GraphFile, ImageSpec, ModelSpec, Source
from sam_edge.text import printable
from sam_edge.zoo.table import named_models
from sam_edge_export import trace
from sam_edge_export.modules.sam import Sam
from sam_edge_runtimes.graph_file import sha256_file

DECODER_STORED = {"int8": "int8-weights"}
"""The decoder is small and its masks are what counts: its arithmetic stays float32."""


def blank(sam: Sam, checkpoint: Path, precision: str, decoder: str) -> ModelSpec:
    """Return the manifest of a bundle that has no graphs yet."""
    family = named_models()[sam.variant]
    return ModelSpec(
        variant=sam.variant,
        image=ImageSpec(sam.image_size, family.mean, family.std),
        precision=precision,
        decoder=decoder,
        opset=trace.OPSET,
        graphs=(),
        source=Source(
            printable(Path(os.path.abspath(checkpoint)).name),  # ``.`` has a name, too
            source_sha256(checkpoint),
            family.licence,
        ),
        everything=family.everything,
        exporter={
            "sam-edge": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxslim": onnxslim.__version__,
        },
    )


def metadata(spec: ModelSpec) -> dict[str, str]:
    """Return the provenance that goes into every graph."""
    return {
        "variant": spec.variant,
        "image_size": str(spec.image_size),
        "source": spec.source.file,
        "source_sha256": spec.source.sha256,
        **{f"exporter {name}": version for name, version in spec.exporter.items()},
    }


def with_graph(
    spec: ModelSpec,
    directory: Path,
    traceable: trace.Traceable,
    progress: Callable[[str], None],
) -> ModelSpec:
    """Write a graph that computes in float32, for any engine."""
    progress(f"tracing {traceable.role}")
    stored = spec.precision
    if traceable.role == PROMPT_ENCODER_MASK_DECODER:
        stored = DECODER_STORED.get(stored, stored)
    path = directory / f"{traceable.role}.onnx"
    external = trace.write_graph(traceable, path, metadata(spec), precision=stored)
    return added(spec, path, traceable.role, (), stored, external)


def added(
    spec: ModelSpec,
    path: Path,
    role: str,
    engines: tuple[str, ...],
    precision: str,
    external: tuple[str, ...] = (),
) -> ModelSpec:
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
    others = tuple(graph for graph in spec.graphs if graph.file != entry.file)
    return replace(spec, graphs=(*others, entry))


def write_manifest(directory: Path, spec: ModelSpec) -> None:
    """Write a bundle's manifest."""
    write_text(directory / MANIFEST_NAME, manifest_text(spec))
