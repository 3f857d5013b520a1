"""Hugging Face directory -> grounding bundle: load, trace, write whole or not at all, prove."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sam_edge._version import __version__
from sam_edge.checkpoints import source_sha256
from sam_edge.errors import ArgumentError
from sam_edge.gates import installed_engines
from sam_edge.grounding.fidelity import GroundingFidelity, truth_of
from sam_edge.grounding.gates import (
    measure,
    measure_formats,
    record,
    refuse_misses,
    remember,
    seconds_of,
)
from sam_edge.grounding.manifest import write_grounding_manifest
from sam_edge.new_bundle import decoder_precision, provenance
from sam_edge.photos import photos_in
from sam_edge.spec import IMAGE_TOWER, PRECISIONS, TEXT_TOWER, GroundingSpec, Source
from sam_edge.staging import BUNDLE, SCRATCH, check_output, install, staging
from sam_edge.text import printable
from sam_edge_export import trace
from sam_edge_export.grounding.integers import write_int8
from sam_edge_export.grounding.load import load_towers
from sam_edge_export.grounding.preparation import image_spec, write_tokenizer
from sam_edge_export.grounding.reference import reference_grounder
from sam_edge_export.grounding.towers import ImageTower, TextTower, Towers
from sam_edge_export.manifest import added

LICENCE = "Apache-2.0"
"""Of the weights that Google published of both kinds."""


def export_grounder(
    directory: Path,
    output: Path,
    *,
    precision: str = "fp32",
    verify: bool = True,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    min_iou: float | None = None,
    allow_slow: bool = False,
    random_weights: bool = False,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[GroundingFidelity]:
    """Export an OWL-ViT or an OWLv2.

    Args:
        directory: ``config.json``, weights, ``preprocessor_config.json``, and a ``tokenizer.json``
            or ``vocab.json`` and ``merges.txt``, as the hub has them.
        output: the bundle's directory. Written beside it and moved there when everything passed.
        precision: as for ``export_bundle``. ``int8`` is of the image tower; the text tower's
            weights are then stored in 8 bits.
        verify: compare boxes and scores with PyTorch's, in every number format that this CPU has,
            and time the looks, for ``auto`` runtime and compute.
        images: photos to verify on; None takes those in the box.
        engines: which to verify on, and which ``int8`` is for; None takes every installed one.
        min_iou: what the mean IoU with PyTorch's boxes must reach, instead of the precision's own
            limits; 0 accepts anything.
        allow_slow: keep ``int8`` whatever its speed.
        random_weights: brand the bundle: its boxes mean nothing.
        force: replace a bundle that is already there.
        progress: told what is being done.

    Returns:
        What was measured, one entry an engine and number format; empty without ``verify``.

    Raises:
        FidelityError: if a limit is missed; nothing is written then.
        SlowError: if ``int8`` is not faster than float32; nothing is written then.
        SamEdgeError: as for ``export_bundle``.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not verify:
        raise ArgumentError("--precision int8 is proved by its boxes: it needs verification")
    place = check_output(output, [path for path in (directory, images) if path], force)
    chosen = list(engines or installed_engines())
    photos = photos_in(images) if verify else []
    with staging(place) as work:
        partial, scratch = work / BUNDLE, work / SCRATCH
        partial.mkdir()
        scratch.mkdir()
        progress(f"reading {directory.name}")
        towers = load_towers(directory)
        spec = _blank(towers, directory, partial, precision, random_weights)
        spec = _with(
            spec, partial, text_traceable(towers.text), decoder_precision(precision), progress
        )
        truth = None
        if photos:
            truth = truth_of(reference_grounder(towers, spec, partial), photos, progress)
        if precision == "int8":
            spec = write_int8(
                spec, partial, scratch, image_traceable(towers), chosen, allow_slow, progress
            )
        else:
            spec = _with(spec, partial, image_traceable(towers), precision, progress)
        write_grounding_manifest(partial, spec)
        results: list[GroundingFidelity] = []
        if truth is not None:
            results = measure(partial, truth, chosen, progress)
            refuse_misses(results, min_iou)
            results += measure_formats(partial, truth, chosen, progress)
            record(partial, spec, results)
        install(work, place, force)
    remember(spec, seconds_of(results))
    return results


def _blank(
    towers: Towers, directory: Path, bundle: Path, precision: str, random: bool
) -> GroundingSpec:
    """Write the tokenizer, and return the manifest of a bundle that has no graphs yet."""
    shape = towers.shape
    return GroundingSpec(
        variant=shape.kind,
        image=image_spec(directory, shape),
        precision=precision,
        opset=trace.OPSET,
        graphs=(),
        source=Source(
            printable(directory.resolve().name), source_sha256(directory), LICENCE, random
        ),
        exporter={"sam-edge": __version__, **trace.tool_versions()},
        tokenizer=write_tokenizer(directory, bundle, shape),
    )


def _with(
    spec: GroundingSpec,
    bundle: Path,
    traceable: trace.Traceable,
    precision: str,
    progress: Callable[[str], None],
) -> GroundingSpec:
    progress(f"tracing {traceable.role}")
    path = bundle / f"{traceable.role}.onnx"
    external = trace.write_graph(traceable, path, provenance(spec), precision=precision)
    return added(spec, path, traceable.role, (), precision, external)


def image_traceable(towers: Towers) -> trace.Traceable:
    """The image tower, with a dynamic batch; traced with two, so that no dimension is baked in."""
    tower: ImageTower = towers.image
    size = towers.shape.image_size
    batch = {name: {0: "batch"} for name in ("image", *tower.outputs)}
    return trace.Traceable(
        IMAGE_TOWER, tower, {"image": torch.zeros(2, 3, size, size)}, tower.outputs, batch
    )


def text_traceable(tower: TextTower) -> trace.Traceable:
    """The text tower, for any number of phrases."""
    tokens = torch.ones(3, len(tower.positions), dtype=torch.int64)
    phrases = {name: {0: "phrases"} for name in ("input_ids", "query_embeds")}
    return trace.Traceable(TEXT_TOWER, tower, {"input_ids": tokens}, ("query_embeds",), phrases)
