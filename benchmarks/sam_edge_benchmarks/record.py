"""The record: what was measured, as a file. ``docs/benchmark-record.md`` describes it.

Records travel between people, so reading trusts nothing: sizes, types and ranges are checked here,
once, and whoever shows a record escapes its strings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sam_edge.errors import JsonFileError
from sam_edge.files import json_text, read_json, write_text
from sam_edge.text import printable, shown
from sam_edge_benchmarks.errors import RecordError
from sam_edge_benchmarks.work import Work

SCHEMA = 1
KIND = "sam-edge benchmark record"
STATUSES = ("done", "interrupted", "missing", "failed")

MAX_BYTES = 32 * 2**20
MAX_TEXT = 500
MAX_ITEMS = 100_000
MAX_DEPTH = 6

Facts = dict[str, Any]
"""A small tree of JSON values: facts that are shown, never computed with."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase's samples.

    Attributes:
        name: ``import``, ``load``, ``first run``, ``preprocess``, ``encode``, ``decode``,
            ``postprocess`` or ``everything``.
        prompts: answered by one call; None where a call answers none.
        warmup: calls that were made before and thrown away.
        samples_seconds: wall time of each call, in the order they were made.
        cpu_seconds: processor time of all the samples together, over all threads.
        peak_rss_bytes: largest resident size during the samples.
        peak_is_of_phase: False where the system could not reset the peak before the phase.
        anonymous_rss_bytes: resident memory behind no file, after the samples.
        cuda_peak_bytes: most CUDA memory that torch had allocated.
    """

    name: str
    prompts: int | None
    warmup: int
    samples_seconds: tuple[float, ...]
    cpu_seconds: float
    peak_rss_bytes: int | None
    peak_is_of_phase: bool
    anonymous_rss_bytes: int | None
    cuda_peak_bytes: int | None

    @property
    def key(self) -> tuple[str, int | None]:
        """What makes it the same phase in another record."""
        return self.name, self.prompts


@dataclass(slots=True)
class Result:
    """One subject at one piece of work.

    Attributes:
        subject: as ``Choice`` writes it: ``bundle/openvino/int8``.
        model: the name it was asked for by.
        threads: for one call; None left it to the engine.
        work: see ``Work``.
        status: one of ``STATUSES``.
        reason: why it is not done; empty when it is.
        phases: in the order they were measured.
        reference: the subject whose masks the IoUs compare with; empty without any.
        mask_ious: of each fidelity prompt's three candidates with the reference's.
        files: file name -> ``bytes`` and ``sha256`` of the model's files.
        device: as the subject describes it.
        load_before: load averages of 1, 5 and 15 minutes before the subject started.
        load_after: and when it ended.
        boards: temperatures and clocks at the start and at the end.
    """

    subject: str
    model: str
    threads: int | None
    work: Work
    status: str = "done"
    reason: str = ""
    phases: list[Phase] = field(default_factory=list)
    reference: str = ""
    mask_ious: list[float] = field(default_factory=list)
    files: Facts = field(default_factory=dict)
    device: Facts = field(default_factory=dict)
    load_before: list[float] | None = None
    load_after: list[float] | None = None
    boards: list[Facts] = field(default_factory=list)

    def phase(self, name: str, prompts: int | None = None) -> Phase | None:
        """Return a phase, or None; without ``prompts`` the first of that name."""
        for phase in self.phases:
            if phase.name == name and prompts in (None, phase.prompts):
                return phase
        return None


@dataclass(frozen=True, slots=True)
class Versus:
    """Two subjects measured in turn, A B A B.

    Attributes:
        first: subject A.
        second: subject B.
        model: the name both were asked for by.
        threads: for one call.
        work: see ``Work``.
        phase: name of the phase.
        prompts: answered by one call.
        pairs_seconds: one pair of neighbouring samples after the other.
    """

    first: str
    second: str
    model: str
    threads: int | None
    work: Work
    phase: str
    prompts: int | None
    pairs_seconds: tuple[tuple[float, float], ...]


@dataclass(slots=True)
class Record:
    """Everything one ``bench run`` measured."""

    created: str
    settings: Facts
    machine: Facts
    software: Facts
    git: Facts | None
    results: list[Result] = field(default_factory=list)
    versus: list[Versus] = field(default_factory=list)


def write_record(record: Record, path: Path) -> None:
    """Write a record whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text({"kind": KIND, "schema": SCHEMA, **asdict(record)}, indent=1))


def read_record(path: Path) -> Record:
    """Read a record that anybody may have written.

    Raises:
        FileNotFoundError: if there is no such file.
        RecordError: if it is no record, of another schema, or not what the schema allows.
    """
    if path.stat().st_size > MAX_BYTES:
        raise RecordError(f"{path} has {path.stat().st_size} bytes; no record is that large")
    try:
        content = read_json(path)
    except JsonFileError as error:
        raise RecordError(str(error)) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise RecordError(f"{path} is no benchmark record; make one with: sam-edge bench run")
    if content.get("schema") != SCHEMA:
        raise RecordError(
            f"{path} has record schema {shown(content.get('schema'))}, this sam-edge reads "
            f"{SCHEMA}; use the sam-edge that wrote it, or measure again"
        )
    try:
        return _record(content)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: {printable(str(error))[:200]}") from error


def _record(content: Mapping[str, Any]) -> Record:
    return Record(
        created=_text(content, "created"),
        settings=_facts(content, "settings"),
        machine=_facts(content, "machine"),
        software=_facts(content, "software"),
        git=None if content.get("git") is None else _facts(content, "git"),
        results=[_result(item) for item in _items(content, "results")],
        versus=[_versus(item) for item in _items(content, "versus")],
    )


def _result(item: Mapping[str, Any]) -> Result:
    status = _text(item, "status")
    if status not in STATUSES:
        raise ValueError(f"status {status!r} is not one of {', '.join(STATUSES)}")
    ious = _numbers(item, "mask_ious")
    if any(iou > 1 for iou in ious):
        raise ValueError("an IoU lies between 0 and 1")
    return Result(
        subject=_text(item, "subject"),
        model=_text(item, "model"),
        threads=_whole(item, "threads"),
        work=_work(item),
        status=status,
        reason=_text(item, "reason"),
        phases=[_phase(phase) for phase in _items(item, "phases")],
        reference=_text(item, "reference"),
        mask_ious=ious,
        files=_facts(item, "files"),
        device=_facts(item, "device"),
        load_before=_optional_numbers(item, "load_before"),
        load_after=_optional_numbers(item, "load_after"),
        boards=[_checked_facts(board, "boards") for board in _items(item, "boards")],
    )


def _phase(item: Mapping[str, Any]) -> Phase:
    samples = _numbers(item, "samples_seconds")
    if not samples:
        raise ValueError("a phase has at least one sample")
    cpu_seconds = _number(item["cpu_seconds"], "cpu_seconds")
    return Phase(
        name=_text(item, "name"),
        prompts=_whole(item, "prompts"),
        warmup=_whole(item, "warmup") or 0,
        samples_seconds=tuple(samples),
        cpu_seconds=cpu_seconds,
        peak_rss_bytes=_whole(item, "peak_rss_bytes"),
        peak_is_of_phase=_flag(item, "peak_is_of_phase"),
        anonymous_rss_bytes=_whole(item, "anonymous_rss_bytes"),
        cuda_peak_bytes=_whole(item, "cuda_peak_bytes"),
    )


def _versus(item: Mapping[str, Any]) -> Versus:
    pairs = []
    for pair in _list(item, "pairs_seconds"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise TypeError("a pair is two numbers")
        first, second = (_number(value, "pairs_seconds") for value in pair)
        if min(first, second) <= 0:
            raise ValueError("a pair's times are above zero")
        pairs.append((first, second))
    return Versus(
        first=_text(item, "first"),
        second=_text(item, "second"),
        model=_text(item, "model"),
        threads=_whole(item, "threads"),
        work=_work(item),
        phase=_text(item, "phase"),
        prompts=_whole(item, "prompts"),
        pairs_seconds=tuple(pairs),
    )


def _work(item: Mapping[str, Any]) -> Work:
    work = item["work"]
    if not isinstance(work, dict):
        raise TypeError("work is not an object")
    return Work(
        variant=_text(work, "variant"),
        image_size=_needed_whole(work, "image_size"),
        weights=_text(work, "weights"),
        photo_sha256=_text(work, "photo_sha256"),
        photo_height=_needed_whole(work, "photo_height"),
        photo_width=_needed_whole(work, "photo_width"),
        points_per_side=_needed_whole(work, "points_per_side"),
    )


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item[name]
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise TypeError(f"{name} is not a text of at most {MAX_TEXT} characters")
    return value


def _flag(item: Mapping[str, Any], name: str) -> bool:
    if not isinstance(item[name], bool):
        raise TypeError(f"{name} is not true or false")
    return bool(item[name])


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is not a number")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is not a finite number from 0 up")
    return float(value)


def _whole(item: Mapping[str, Any], name: str) -> int | None:
    return None if item[name] is None else _needed_whole(item, name)


def _needed_whole(item: Mapping[str, Any], name: str) -> int:
    value = item[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise TypeError(f"{name} is not a whole number from 0 up")
    return value


def _list(item: Mapping[str, Any], name: str) -> list[Any]:
    value = item[name]
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise TypeError(f"{name} is not a list of at most {MAX_ITEMS} items")
    return value


def _items(item: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    values = _list(item, name)
    if not all(isinstance(value, dict) for value in values):
        raise TypeError(f"{name} holds something that is no object")
    return values


def _numbers(item: Mapping[str, Any], name: str) -> list[float]:
    return [_number(value, name) for value in _list(item, name)]


def _optional_numbers(item: Mapping[str, Any], name: str) -> list[float] | None:
    return None if item[name] is None else _numbers(item, name)


def _facts(item: Mapping[str, Any], name: str) -> Facts:
    return _checked_facts(item[name], name)


def _checked_facts(value: object, name: str) -> Facts:
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not an object")
    _check_tree(value, name, MAX_DEPTH)
    return value


def _check_tree(value: object, name: str, depth: int) -> None:
    if depth == 0:
        raise TypeError(f"{name} is nested too deeply")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise TypeError(f"{name} holds a text of more than {MAX_TEXT} characters")
    children: Sequence[object] = ()
    if isinstance(value, dict):
        children = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        children = value
    if len(children) > MAX_ITEMS:
        raise TypeError(f"{name} holds too many items")
    for child in children:
        _check_tree(child, name, depth - 1)
