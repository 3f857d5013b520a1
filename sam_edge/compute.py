"""Which engine a bundle runs on, and in which number format each of its graphs is computed.

``auto`` takes a reduced format only where the processor has it in its instructions, where it was
measured to be faster here, and where the bundle's own answers in it, masks or boxes, pass the gate
of int8. ``sam-edge export``, ``models pull`` and ``verify`` measure the answers; ``sam-edge bench
run`` the speed of models of masks, ``export`` and ``verify`` that of what finds boxes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from sam_edge.engine_choice import Way, measured_seconds
from sam_edge.spec import TEXT_TOWER, BundleSpec, GroundingSpec
from sam_edge_runtimes import ENGINES, FLOAT32, choose_engine, formats_of
from sam_edge_runtimes.formats import check_format, refuse_emulation

LEAST_IOU, LEAST_IOU_P05 = 0.98, 0.90
"""What masks in fewer bits must reach: their mean IoU with float32's, and its 5th percentile."""

ALWAYS_EXACT = frozenset({TEXT_TOWER})
"""Roles that are computed in float32 whatever is asked: a phrase costs milliseconds and once, and
where it ends is found by comparing tokens' numbers, which 8 bits do not tell apart."""

LEAST_BOX_IOU, MOST_SCORE_ERROR = 0.9, 0.05
"""What boxes in fewer bits must reach: their mean IoU with float32's, and how far a score moves."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What must be known of a bundle before ``auto`` takes a reduced format.

    Attributes:
        answers: what is compared, for messages.
        mean: the measurement of a fidelity entry that messages quote.
        least: measurement -> what it must reach.
        most: measurement -> what it must not exceed.
        timed_by: the command that measures how fast each format is here.
    """

    answers: str
    mean: str
    least: Mapping[str, float]
    most: Mapping[str, float]
    timed_by: str

    def passes(self, entry: Mapping[str, Any]) -> bool:
        """Whether a fidelity entry passes; a NaN and None do not."""
        return all(_number(entry, name) >= limit for name, limit in self.least.items()) and all(
            _number(entry, name) <= limit for name, limit in self.most.items()
        )


def _number(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


MASKS = Gate(
    "masks",
    "mask_iou_mean",
    {"mask_iou_mean": LEAST_IOU, "mask_iou_p05": LEAST_IOU_P05},
    {},
    "sam-edge bench run",
)
BOXES = Gate(
    "boxes",
    "box_iou_mean",
    {"box_iou_mean": LEAST_BOX_IOU},
    {"score_max_error": MOST_SCORE_ERROR},
    "sam-edge verify",
)


def gate_of(spec: BundleSpec) -> Gate:
    """Return the gate for a bundle's kind."""
    return BOXES if isinstance(spec, GroundingSpec) else MASKS


@dataclass(frozen=True, slots=True)
class Compute:
    """What the graphs of an open model are computed in.

    Attributes:
        formats: role -> format; a role that is missing is computed in ``float32``.
        reason: why, in a line.
    """

    formats: Mapping[str, str]
    reason: str

    def of(self, role: str) -> str:
        """Return the format of a role's graph."""
        return self.formats.get(role, FLOAT32)

    @property
    def name(self) -> str:
        """The reduced format, if any graph has one, else ``float32``."""
        return format_name(self.formats)


EXACT = Compute({}, "exact")


def format_name(formats: Mapping[str, str]) -> str:
    """Name formats by role with one word: the reduced one, if there is one.

    >>> format_name({"image_encoder": "bfloat16", "prompt_encoder_mask_decoder": "float32"})
    'bfloat16'
    >>> format_name({})
    'float32'
    """
    return next((name for name in formats.values() if name != FLOAT32), FLOAT32)


def formats_by_role(spec: BundleSpec, engine: str, name: str) -> dict[str, str]:
    """Return what each graph of a bundle is computed in when a format is asked for.

    Where the bundle was measured in that format, this is the way that passed; else all of it but
    ``ALWAYS_EXACT``.

    Args:
        spec: the bundle's.
        engine: that runs it.
        name: one of ``FORMATS``.
    """
    entry = _measured(spec, engine, name)
    if name != FLOAT32 and entry is not None:
        return dict(entry["compute"])
    return {graph.role: name for graph in spec.graphs if graph.role not in ALWAYS_EXACT}


def settle(spec: BundleSpec, runtime: str, compute: str, memory: str) -> tuple[str, Compute]:
    """Turn what the caller asked for into an installed engine and a format for each graph.

    Args:
        spec: the bundle's.
        runtime: an engine's name or ``auto``.
        compute: one of ``FORMATS`` or ``auto``.
        memory: as in ``load_model``; with ``low``, ``auto`` is the engine that needs less of it.

    Raises:
        ArgumentError: if a word has no meaning.
        EngineError: if the engine does not compute in that format on this processor.
        MissingDependencyError: if the engine is not installed.
    """
    if compute != "auto":
        check_format(compute)
    fixed = FLOAT32 if compute == "auto" else compute
    among = [engine for engine in ENGINES if spec.runs_on(engine)]
    among.sort(key=lambda engine: fixed not in formats_of(engine))
    engine, name = choose_engine(runtime, among), fixed
    seconds: Mapping[Way, float] = {}
    engines = [engine]
    if memory == "normal":
        seconds = measured_seconds(spec)
        if runtime == "auto":
            engines = [other for other in among if find_spec(other) is not None] or engines
    if compute == "auto":
        ways = [way for other in engines for way in _allowed(spec, other, seconds)]
    else:
        ways = [(other, compute) for other in engines]
    timed = {seconds[way]: way for way in ways if way in seconds}
    if timed:
        engine, name = timed[min(timed)]
    refuse_emulation(engine, name)
    if compute == "auto":
        reason = _reason(spec, engines, (engine, name), seconds)
    else:
        reason = _asked(spec, engine, name)
    return engine, Compute(formats_by_role(spec, engine, name), reason)


def _measured(spec: BundleSpec, engine: str, name: str) -> Mapping[str, Any] | None:
    for entry in spec.fidelity:
        if entry["engine"] == engine and format_name(entry.get("compute", {})) == name:
            return entry
    return None


def _allowed(spec: BundleSpec, engine: str, seconds: Mapping[Way, float]) -> list[Way]:
    """List the ways that ``auto`` may take on an engine, of those that are faster."""
    ways = [(engine, FLOAT32)]
    for name in formats_of(engine)[1:]:
        entry = _measured(spec, engine, name)
        if entry is not None and gate_of(spec).passes(entry) and (engine, FLOAT32) in seconds:
            ways.append((engine, name))
    return ways


def _asked(spec: BundleSpec, engine: str, name: str) -> str:
    """Say what is known of a format that was asked for."""
    entry = _measured(spec, engine, name)
    gate = gate_of(spec)
    if name == FLOAT32 or (entry is not None and gate.passes(entry)):
        return "asked for"
    why = "were not compared with float32's" if entry is None else "miss the gate"
    return f"asked for, though the bundle's {gate.answers} in it {why}"


def _reason(
    spec: BundleSpec, engines: Sequence[str], taken: Way, seconds: Mapping[Way, float]
) -> str:
    """Say why ``auto`` takes a way, and what it would need to take another one."""
    engine, name = taken
    gate = gate_of(spec)
    if name != FLOAT32:
        faster = seconds[engine, FLOAT32] / seconds[taken]
        measured = _measured(spec, engine, name) or {}
        return (
            f"{faster:.1f} times as fast as float32 here, with {gate.answers} of a mean IoU "
            f"of {measured[gate.mean]:.4f} with float32's"
        )
    others = [(other, reduced) for other in engines for reduced in formats_of(other)[1:]]
    if not others:
        return f"{' and '.join(engines)} computes in nothing else on this CPU"
    other, reduced = others[0]
    entry = _measured(spec, other, reduced)
    if entry is None:
        return (
            f"{gate.answers} in {reduced} on {other} were not measured; do so with: sam-edge verify"
        )
    if not gate.passes(entry):
        return f"{gate.answers} in {reduced} on {other} miss the gate"
    if (other, reduced) not in seconds or (other, FLOAT32) not in seconds:
        return f"how fast {reduced} is here was not measured; do so with: {gate.timed_by}"
    return f"{reduced} on {other} was measured to be no faster here"
