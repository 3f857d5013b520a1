"""Prove that a grounding bundle gives PyTorch's boxes and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sam_edge.grounding.fidelity import GroundingFidelity, truth_of
from sam_edge.grounding.gates import measure, measure_formats
from sam_edge.grounding.manifest import read_grounding_spec
from sam_edge.photos import photos_in
from sam_edge_export.grounding.load import load_towers
from sam_edge_export.grounding.reference import reference_grounder
from sam_edge_export.verify import Verification, check_source, engines_for, on_each


def verify_grounder(
    bundle: Path,
    checkpoint: Path,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification[GroundingFidelity]:
    """Measure a grounding bundle against the directory that it was exported from.

    Arguments, answer and errors are as for ``verify_bundle``.
    """
    spec = read_grounding_spec(bundle)
    check_source(spec, checkpoint)
    chosen = engines_for(spec, engines)
    photos = photos_in(images)
    truth = truth_of(reference_grounder(load_towers(checkpoint), spec, bundle), photos, progress)
    return on_each(
        chosen,
        lambda engine: measure(bundle, truth, [engine], progress),
        lambda engine: measure_formats(bundle, truth, [engine], progress),
    )
