"""What ``verify`` does with a bundle of either kind. Without a checkpoint it needs no torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_edge import fidelity, gates
from sam_edge.bundle import GROUNDING, MANIFEST_NAME, kind_of, read_spec
from sam_edge.cli.console import say, show, status
from sam_edge.cli.frame import one_line
from sam_edge.files import json_text
from sam_edge.grounding import fidelity as grounding_fidelity
from sam_edge.grounding import gates as grounding_gates
from sam_edge.grounding.manifest import read_grounding_spec
from sam_edge.photos import photos_in
from sam_edge.zoo.grounders import resolve_any


def run(arguments: argparse.Namespace) -> int:
    """Verify as the command line says."""
    bundle = resolve_any(arguments.bundle)
    found = (_boxes_of if kind_of(bundle) == GROUNDING else _masks_of)(bundle, arguments)
    # What took minutes to measure is shown even of a bundle that is read-only, as one among
    # installed packages may be.
    try:
        if found.measured:
            found.record()
    except OSError as error:
        say(
            f"sam-edge: {bundle / MANIFEST_NAME} cannot be written "
            f"({error.strerror or error}), so it does not say what was measured"
        )
    for engine, reason in found.failed.items():
        say(f"sam-edge: {engine} could not be measured: {reason}")
    for line in found.refused:
        say(f"note: {line}")
    if arguments.json:
        show(json_text(_report(found), indent=2))
    elif found.measured:
        verdict = [f"missed: {line}" for line in found.misses] or ["faithful"]
        show(found.table + "\n".join(verdict))
    return 1 if found.misses or found.failed else 0


@dataclass(frozen=True, slots=True)
class _Verified:
    """What verifying a bundle found, whatever it answers with.

    Attributes:
        measured: an entry an engine and format.
        misses: the limits that were missed.
        failed: why engines could not be measured.
        refused: the formats that ``auto`` leaves alone.
        table: the measurements for people; nothing where there are none.
        record: writes them into the manifest.
    """

    measured: Sequence[gates.Measured]
    misses: list[str]
    failed: dict[str, str]
    refused: list[str]
    table: str
    record: Callable[[], None]


def _masks_of(bundle: Path, arguments: argparse.Namespace) -> _Verified:
    spec = read_spec(bundle)
    misses: list[str] = []
    failed: Mapping[str, Exception] = {}
    if arguments.checkpoint is None:
        photos = photos_in(arguments.images)
        measured = gates.formats_against_float32(bundle, photos, arguments.engine, status)
    else:
        from sam_edge_export.verify import verify_bundle

        found = verify_bundle(
            bundle, arguments.checkpoint, arguments.images, arguments.engine, status
        )
        measured = [*found.results, *found.reduced]
        misses, failed = gates.missed(found.results), found.failed
    return _Verified(
        measured,
        misses,
        {engine: one_line(error) for engine, error in failed.items()},
        gates.refused_formats(measured, fidelity.MASKS_ALONE.missed),
        gates.table(measured) if measured else "",
        lambda: gates.record(bundle, spec, measured),
    )


def _boxes_of(bundle: Path, arguments: argparse.Namespace) -> _Verified:
    spec = read_grounding_spec(bundle)
    misses: list[str] = []
    failed: Mapping[str, Exception] = {}
    if arguments.checkpoint is None:
        photos = photos_in(arguments.images)
        measured, seconds = grounding_gates.formats_against_float32(
            bundle, photos, arguments.engine, status
        )
    else:
        from sam_edge_export.grounding.verify import verify_grounder

        found = verify_grounder(
            bundle, arguments.checkpoint, arguments.images, arguments.engine, status
        )
        measured = [*found.results, *found.reduced]
        misses, failed = grounding_gates.missed(found.results), found.failed
        seconds = grounding_gates.seconds_of(measured)
    grounding_gates.remember(spec, seconds)
    return _Verified(
        measured,
        misses,
        {engine: one_line(error) for engine, error in failed.items()},
        gates.refused_formats(measured, grounding_fidelity.FEWER_BITS.missed),
        grounding_fidelity.table(measured) if measured else "",
        lambda: grounding_gates.record(bundle, spec, measured),
    )


def _report(found: _Verified) -> dict[str, object]:
    return {
        "faithful": bool(found.measured) and not found.misses,
        "missed": found.misses,
        "fidelity": [result.record() for result in found.measured],
        **({"failed": found.failed} if found.failed else {}),
    }
