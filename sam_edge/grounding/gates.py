"""The gates that a grounding bundle goes through: boxes and scores in each number format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sam_edge.compute import Compute, format_name
from sam_edge.engine_choice import Way, measured_seconds, remember_seconds
from sam_edge.gates import (
    ON_SAME_ENGINE,
    FidelityError,
    able_engines,
    in_each_format,
    installed_engines,
    updated_fidelity,
)
from sam_edge.grounding.fidelity import (
    FEWER_BITS,
    LIMITS,
    GroundingFidelity,
    GroundingLimits,
    GroundingTruth,
    compare,
    truth_of,
)
from sam_edge.grounding.manifest import read_grounding_spec, write_grounding_manifest
from sam_edge.grounding.opening import open_grounder
from sam_edge.spec import IMAGE_TOWER, GroundingSpec
from sam_edge_runtimes import FLOAT32


def measure(
    bundle: Path,
    truth: GroundingTruth,
    engines: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> list[GroundingFidelity]:
    """Measure a bundle in float32 on engines, all of which must run it."""
    results = []
    for engine in engines:
        progress(f"opening {engine}")
        results.append(compare(truth, open_grounder(bundle, engine, cache=False), progress))
    return results


def measure_formats(
    bundle: Path,
    truth: GroundingTruth,
    engines: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> list[GroundingFidelity]:
    """Measure a bundle in every reduced format that engines have on this processor.

    It is the image tower that is computed in them; see ``ALWAYS_EXACT``.

    Returns:
        An entry a format and engine. What misses the gate even so is an entry, too: ``auto`` then
        leaves that format alone, and who asks for it is told.
    """

    def measured(engine: str, compute: Compute) -> GroundingFidelity:
        return compare(truth, open_grounder(bundle, engine, compute, cache=False), progress)

    return in_each_format([[IMAGE_TOWER]], engines, measured, FEWER_BITS.missed, progress)


def formats_against_float32(
    bundle: Path,
    photos: Sequence[Path],
    engines: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[GroundingFidelity], dict[Way, float]]:
    """Measure a bundle's reduced formats against its own float32, which needs no torch.

    Args:
        bundle: the directory.
        photos: the files.
        engines: None takes every installed one.
        progress: told what is being done.

    Returns:
        What was measured, and what a look at a photo takes in seconds, also in float32.

    Raises:
        EngineError: if none of the engines has another format on this processor.
        SamEdgeError: if a photo cannot be read.
    """
    spec = read_grounding_spec(bundle)
    able = able_engines(spec, engines)
    results: list[GroundingFidelity] = []
    seconds: dict[Way, float] = {}
    for engine in engines or installed_engines():
        if not spec.runs_on(engine):
            continue
        exact = open_grounder(bundle, engine, cache=False)
        truth = truth_of(exact, photos, progress, ON_SAME_ENGINE)
        seconds[engine, FLOAT32] = truth.seconds
        if engine in able:
            results += measure_formats(bundle, truth, [engine], progress)
    return results, seconds | seconds_of(results)


def seconds_of(results: Sequence[GroundingFidelity]) -> dict[Way, float]:
    """Return what a look at a photo took, in seconds, by engine and format."""
    return {(result.engine, format_name(result.compute)): result.seconds for result in results}


def missed(results: Sequence[GroundingFidelity], min_iou: float | None = None) -> list[str]:
    """Say which limits are missed, by engine.

    Args:
        results: of one bundle, in float32.
        min_iou: what the mean IoU of boxes must reach instead of all limits; None keeps them.
    """
    lines = []
    for found in results:
        limits = LIMITS[found.precision]
        if min_iou is not None:
            limits = GroundingLimits(math.inf, min_iou, math.inf)
        lines += [f"{found.engine}: {line}" for line in limits.missed(found)]
    return lines


def refuse_misses(results: Sequence[GroundingFidelity], min_iou: float | None = None) -> None:
    """Stop an export whose measurements miss a limit; see ``missed``.

    Raises:
        FidelityError: naming engines and limits.
    """
    if misses := missed(results, min_iou):
        raise FidelityError(
            f"the bundle does not give the boxes and scores of {results[0].reference} "
            f"({'; '.join(misses)}); nothing was written; try another --precision, or allow less "
            "with --min-iou"
        )


def record(bundle: Path, spec: GroundingSpec, results: Sequence[GroundingFidelity]) -> None:
    """Write what was measured into a bundle's manifest, in place of what it said of the same.

    Raises:
        OSError: if it cannot be written.
    """
    write_grounding_manifest(bundle, replace(spec, fidelity=updated_fidelity(spec, results)))


def remember(spec: GroundingSpec, seconds: Mapping[Way, float]) -> None:
    """Remember how fast a bundle is here, beside what is known of other engines and formats."""
    known = {**measured_seconds(spec), **seconds}
    if len(known) > 1:  # there is a choice
        remember_seconds(spec, known)
