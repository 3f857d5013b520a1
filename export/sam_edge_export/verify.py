"""Prove that a bundle gives PyTorch's masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_edge.bundle import read_spec
from sam_edge.checkpoints import source_sha256
from sam_edge.errors import MissingDependencyError, SamEdgeError
from sam_edge.fidelity import Fidelity, truth_of
from sam_edge.gates import FidelityError, installed_engines, measure, measure_formats
from sam_edge.photos import photos_in
from sam_edge.spec import ModelSpec
from sam_edge_export.load import load_checkpoint
from sam_edge_export.reference import reference_model


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of verifying a bundle.

    Attributes:
        spec: the bundle's manifest as it was.
        results: one an engine that could be measured, in float32.
        reduced: the same bundle in the other formats that this processor has.
        failed: the error of each engine that could not.
    """

    spec: ModelSpec
    results: tuple[Fidelity, ...]
    reduced: tuple[Fidelity, ...]
    failed: Mapping[str, Exception]


def verify_bundle(
    bundle: Path,
    checkpoint: Path,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification:
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
    digest = source_sha256(checkpoint)
    if digest != spec.source.sha256:
        raise FidelityError(
            f"{checkpoint} has sha256 {digest[:12]}..., the bundle was exported from "
            f"{spec.source.file} with {spec.source.sha256[:12]}...; name that file"
        )
    if spec.decoder != "native":
        raise FidelityError(
            f"a bundle with the {spec.decoder} decoder is for the official notebook's clients; "
            "verify the same checkpoint with --decoder native"
        )
    chosen = engines or [engine for engine in installed_engines() if spec.runs_on(engine)]
    if not chosen:
        raise MissingDependencyError(
            "no engine to verify on; run: pip install 'sam-edge[cpu,openvino]'"
        )
    photos = photos_in(images)
    sam, _ = load_checkpoint(checkpoint, spec.variant, spec.image_size)
    truth = truth_of(reference_model(sam, spec), photos, spec, progress)
    results: list[Fidelity] = []
    reduced: list[Fidelity] = []
    failed: dict[str, Exception] = {}
    for engine in chosen:
        try:
            results += measure(bundle, truth, [engine], progress)
            reduced += measure_formats(bundle, truth, [engine], progress)
        except (SamEdgeError, OSError, MemoryError) as error:
            if len(chosen) == 1:
                raise
            failed[engine] = error
    return Verification(spec, tuple(results), tuple(reduced), failed)
