"""Prove that a bundle gives PyTorch's masks, or its boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from sam_edge.bundle import read_spec
from sam_edge.checkpoints import source_sha256
from sam_edge.errors import MissingDependencyError, SamEdgeError
from sam_edge.fidelity import Fidelity, truth_of
from sam_edge.gates import (
    FidelityError,
    Measurement,
    engines_of,
    measure,
    measure_formats,
)
from sam_edge.photos import photos_in
from sam_edge.spec import BundleSpec
from sam_edge_export.load import load_checkpoint
from sam_edge_export.reference import reference_model


@dataclass(frozen=True, slots=True)
class Verification(Generic[Measurement]):
    """What came of verifying a bundle.

    Attributes:
        results: one an engine that could be measured, in float32.
        reduced: the same bundle in the other formats that this processor has.
        failed: the error of each engine that could not.
    """

    results: tuple[Measurement, ...]
    reduced: tuple[Measurement, ...]
    failed: Mapping[str, Exception]


def verify_bundle(
    bundle: Path,
    checkpoint: Path,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification[Fidelity]:
    """Measure a bundle against its checkpoint; ``record`` of the gates puts it in the manifest.

    Args:
        bundle: the directory.
        checkpoint: the file that it was exported from.
        images: a folder of photos; None takes those in the box.
        engines: None takes every installed one.
        progress: told what is being done.

    Returns:
        What was measured, and which engines could not be.

    Raises:
        FidelityError: if the checkpoint is not the bundle's.
        SamEdgeError: if no photo can be read, or what the only engine says.
    """
    spec = read_spec(bundle)
    check_source(spec, checkpoint)
    if spec.decoder != "native":
        raise FidelityError(
            f"a bundle with the {spec.decoder} decoder is for the official notebook's clients; "
            "verify the same checkpoint with --decoder native"
        )
    chosen = engines_for(spec, engines)
    photos = photos_in(images)
    sam, _ = load_checkpoint(checkpoint, spec.variant, spec.image_size)
    truth = truth_of(reference_model(sam, spec), photos, spec, progress)
    return on_each(
        chosen,
        lambda engine: measure(bundle, truth, [engine], progress),
        lambda engine: measure_formats(bundle, truth, [engine], progress),
    )


def check_source(spec: BundleSpec, checkpoint: Path) -> None:
    """Refuse a checkpoint that a bundle was not exported from.

    Raises:
        FidelityError: naming the right one.
    """
    digest = source_sha256(checkpoint)
    if digest != spec.source.sha256:
        raise FidelityError(
            f"{checkpoint} has sha256 {digest[:12]}..., the bundle was exported from "
            f"{spec.source.file} with {spec.source.sha256[:12]}...; name that file"
        )


def engines_for(spec: BundleSpec, engines: Sequence[str] | None) -> Sequence[str]:
    """Return the engines to verify on; None means those installed that run the bundle.

    Raises:
        MissingDependencyError: if there is none.
    """
    chosen = engines_of(spec, engines)
    if not chosen:
        raise MissingDependencyError(
            "no engine to verify on; run: pip install 'sam-edge[cpu,openvino]'"
        )
    return chosen


def on_each(
    engines: Sequence[str],
    measured: Callable[[str], list[Measurement]],
    in_formats: Callable[[str], list[Measurement]],
) -> Verification[Measurement]:
    """Measure a bundle on engines; one that fails among several is named, and the others go on.

    Args:
        engines: which.
        measured: measures in float32 on an engine.
        in_formats: measures in the other formats on it.
    """
    results: list[Measurement] = []
    reduced: list[Measurement] = []
    failed: dict[str, Exception] = {}
    for engine in engines:
        try:
            results += measured(engine)
            reduced += in_formats(engine)
        except (SamEdgeError, OSError, MemoryError) as error:
            if len(engines) == 1:
                raise
            failed[engine] = error
    return Verification(tuple(results), tuple(reduced), failed)
