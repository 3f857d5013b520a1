"""Records to rows: every figure that a report shows is derived here, from raw samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sam_edge_benchmarks.record import Phase, Record, Result
from sam_edge_benchmarks.statistics import paired_ratio, percentile

RESULT_COLUMNS = (
    "machine",
    "model",
    "px",
    "subject",
    "threads",
    "encode p50 ms",
    "p90",
    "p99",
    "decode p50 ms",
    "postprocess ms",
    "everything s",
    "load + first run ms",
    "CPU s / encode",
    "peak MB",
    "CUDA peak MB",
    "files MB",
    "mask IoU",
    "p5",
    "load average",
)

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A result and the machine it was measured on."""

    machine: str
    result: Result

    @property
    def group(self) -> str:
        """What it may stand beside in one plot."""
        work = self.result.work
        return f"{work.variant} at {work.image_size} px"

    @property
    def label(self) -> str:
        """Name it beside others of its group, on one machine."""
        count = self.result.threads
        threads = "" if count is None else f", {count} thread{'s' if count > 1 else ''}"
        return self.result.subject + threads


def machine_name(record: Record) -> str:
    """Name a machine by its processor, and its GPU where one was measured."""
    name = str(record.machine.get("cpu_model") or "unnamed processor")
    cores = record.machine.get("usable_cores") or record.machine.get("cores")
    gpus = sorted(
        {
            str(result.device.get("name"))
            for result in record.results
            if is_cuda(result) and result.status == "done"
        }
    )
    return ", ".join([f"{name} ({cores} cores)", *gpus])


def is_cuda(result: Result) -> bool:
    """Whether a subject computes on a GPU."""
    return "/cuda/" in result.subject


def entries(records: Sequence[Record]) -> list[Entry]:
    """Return every result, those of one piece of work together, the fastest first."""
    found = [Entry(machine_name(record), result) for record in records for result in record.results]

    def order(entry: Entry) -> tuple[str, int, float]:
        encode = entry.result.phase("encode")
        slowness = float("inf") if encode is None else median_ms(encode)
        return entry.result.work.variant, entry.result.work.image_size, slowness

    return sorted(found, key=order)


def result_rows(found: Sequence[Entry]) -> list[Row]:
    """Return one row a subject that has samples, as ``RESULT_COLUMNS`` names them."""
    return [_row(entry) for entry in found if entry.result.phase("encode") is not None]


def _row(entry: Entry) -> Row:
    result = entry.result
    encode = result.phase("encode")
    assert encode is not None
    samples = encode.samples_seconds
    everything = result.phase("everything")
    cold = [phase for name in ("load", "first run") if (phase := result.phase(name))]
    cuda = [phase.cuda_peak_bytes or 0 for phase in result.phases]
    return (
        entry.machine,
        result.model,
        str(result.work.image_size),
        result.subject + (" (interrupted)" if result.status == "interrupted" else ""),
        str(result.threads or "default"),
        figure(median_ms(encode)),
        # a tail needs samples: below ten, the 90th percentile is the slowest one
        figure(1000 * percentile(samples, 90)) if len(samples) >= 10 else "",
        figure(1000 * percentile(samples, 99)) if len(samples) >= 100 else "",
        _by_prompts(result, "decode"),
        _by_prompts(result, "postprocess"),
        "" if everything is None else figure(median_ms(everything) / 1000),
        figure(sum(map(median_ms, cold))) if cold else "",
        figure(encode.cpu_seconds / len(samples)),
        megabytes(peak_bytes(result)),
        megabytes(max(cuda)) if any(cuda) else "",
        megabytes(files_bytes(result)),
        "" if not result.mask_ious else f"{mean_iou(result):.4f}",
        "" if not result.mask_ious else f"{percentile(result.mask_ious, 5):.4f}",
        "" if not result.load_before else f"{result.load_before[0]:.1f}",
    )


def _by_prompts(result: Result, name: str) -> str:
    phases = [phase for phase in result.phases if phase.name == name]
    if len(phases) == 1:
        return figure(median_ms(phases[0]))
    return ", ".join(f"{phase.prompts}: {figure(median_ms(phase))}" for phase in phases)


def versus_rows(records: Sequence[Record]) -> list[Row]:
    """Return one row a phase that two subjects did in turn."""
    rows: list[Row] = []
    for record in records:
        for versus in record.versus:
            ratio = paired_ratio(versus.pairs_seconds)
            rows.append(
                (
                    machine_name(record),
                    f"{versus.model} {versus.work.image_size} px",
                    versus.first,
                    versus.second,
                    versus.phase
                    if versus.prompts is None
                    else f"{versus.phase} ({versus.prompts})",
                    str(len(versus.pairs_seconds)),
                    "too few" if ratio is None else f"{ratio.estimate:.3f}",
                    "" if ratio is None else f"{ratio.low:.3f} to {ratio.high:.3f}",
                )
            )
    return rows


VERSUS_COLUMNS = (
    "machine",
    "model",
    "A",
    "B",
    "phase",
    "pairs",
    "B / A",
    "95 % interval",
)

MACHINE_COLUMNS = (
    "machine",
    "features",
    "memory GB",
    "limits",
    "governor",
    "system",
    "versions",
    "commit",
    "measured",
)


def machine_rows(records: Sequence[Record]) -> list[Row]:
    """Return one row a record: what its timings depend on."""
    return [
        (
            machine_name(record),
            ", ".join(map(str, _listed(record.machine.get("cpu_features")))),
            gigabytes(record.machine.get("memory_bytes")),
            _limits(record.machine.get("container")),
            str(record.machine.get("governor") or "not told"),
            str(record.machine.get("os") or ""),
            ", ".join(f"{name} {value}" for name, value in record.software.items()),
            _commit(record),
            record.created,
        )
        for record in records
    ]


def notes(records: Sequence[Record]) -> list[str]:
    """Return what a reader must know beside the figures: what is missing, failed or noisy."""
    lines = []
    for record in records:
        lines += [
            f"{machine_name(record)}: {result.subject} with {result.model} "
            f"{result.work.image_size} px is {result.status}: {result.reason}"
            for result in record.results
            if result.status != "done"
        ]
        busy = [result for result in record.results if is_noisy(record, result)]
        if busy:
            lines.append(
                f"{machine_name(record)}: other programs ran during {len(busy)} of "
                f"{len(record.results)} subjects of the record of {record.created} (their load "
                "average at the start says so); take their times as upper bounds."
            )
        if any(not phase.peak_is_of_phase for item in record.results for phase in item.phases):
            lines.append(
                f"{machine_name(record)}: the system cannot reset a process's memory peak, so "
                "each phase shows the largest so far."
            )
    if not any(
        is_cuda(result) and result.phase("encode") is not None
        for record in records
        for result in record.results
    ):
        lines.append("CUDA: not yet measured.")
    return lines


def is_noisy(record: Record, result: Result) -> bool:
    """Whether the machine was busy with something else when a subject started."""
    cores = record.machine.get("usable_cores")
    if not isinstance(cores, int) or not result.load_before:
        return False
    # every subject but the first finds the load of the one before it in the average
    allowed = 0.5 if result is record.results[0] else 1.25
    return result.load_before[0] > allowed * cores


def median_ms(phase: Phase) -> float:
    """The middle sample, in milliseconds."""
    return 1000 * percentile(phase.samples_seconds, 50)


def mean_iou(result: Result) -> float:
    """Over every candidate of every fidelity prompt."""
    return sum(result.mask_ious) / len(result.mask_ious)


def peak_bytes(result: Result) -> int:
    """The largest resident size over all phases but "everything", which not every subject has."""
    return max(
        (phase.peak_rss_bytes or 0 for phase in result.phases if phase.name != "everything"),
        default=0,
    )


def files_bytes(result: Result) -> int:
    """Size of what the subject loads."""
    sizes = [file.get("bytes") for file in result.files.values() if isinstance(file, dict)]
    return sum(size for size in sizes if isinstance(size, int))


def figure(value: float) -> str:
    """Write a figure with three digits, never with an exponent.

    >>> [figure(value) for value in (12345.6, 123.4, 1.234, 0.01234, 0)]
    ['12346', '123', '1.23', '0.0123', '0']
    """
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:.0f}"
    digits = 1 if value >= 10 else 2
    while value < 10 ** (2 - digits) and digits < 6:
        digits += 1
    return f"{value:.{digits}f}"


def megabytes(count: int) -> str:
    """Write bytes as MB of a million bytes."""
    return figure(count / 1e6)


def gigabytes(count: object) -> str:
    """Write bytes as GB of 2 ** 30 bytes, as memory is sold."""
    return f"{count / 2**30:.1f}" if isinstance(count, int) else "not told"


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _limits(value: object) -> str:
    limits = value if isinstance(value, dict) else {}
    words = []
    if isinstance(limits.get("processors"), int | float):
        words.append(f"{limits['processors']:g} processors")
    if isinstance(limits.get("memory_bytes"), int):
        words.append(f"{gigabytes(limits['memory_bytes'])} GB")
    return ", ".join(words) or "none"


def _commit(record: Record) -> str:
    git = record.git or {}
    commit = str(git.get("commit") or "not told")[:12]
    return f"{commit} and changes" if git.get("changed") else commit
