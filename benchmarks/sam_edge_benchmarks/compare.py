"""What changed between two records, and whether they may be compared at all."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sam_edge_benchmarks.errors import DifferentWorkError
from sam_edge_benchmarks.record import Record, Result
from sam_edge_benchmarks.report.escape import cell, plain
from sam_edge_benchmarks.statistics import Interval, median_ratio, percentile
from sam_edge_benchmarks.work import Work


@dataclass(frozen=True, slots=True)
class Change:
    """One phase of one subject, before and after.

    Attributes:
        subject: and its model and threads, as one label.
        phase: and its prompts, as one label.
        before_seconds: median.
        after_seconds: median.
        ratio: after / before, with its interval; None with too few samples.
    """

    subject: str
    phase: str
    before_seconds: float
    after_seconds: float
    ratio: Interval | None

    @property
    def verdict(self) -> str:
        """``faster`` or ``slower`` where the interval leaves 1 out."""
        if self.ratio is None:
            return "too few samples"
        if self.ratio.high < 1:
            return "faster"
        if self.ratio.low > 1:
            return "slower"
        return "no clear change"


def compare(before: Record, after: Record, force: bool = False) -> list[Change]:
    """Compare the subjects that both records hold.

    Args:
        before: record A.
        after: record B.
        force: compare although the work differs.

    Raises:
        DifferentWorkError: if a subject did other work, or the records share none.
    """
    changes = []
    shared = False
    for result in after.results:
        earlier = _counterpart(before, result)
        if earlier is None:
            continue
        shared = True
        different = differences(earlier.work, result.work)
        if different and not force:
            raise DifferentWorkError(
                f"{label(result)} did not do the same work in both records: "
                f"{'; '.join(different)}; --force compares anyway"
            )
        for phase in result.phases:
            other = earlier.phase(*phase.key)
            if other is None or other.prompts != phase.prompts:
                continue
            changes.append(
                Change(
                    label(result),
                    phase.name if phase.prompts is None else f"{phase.name} ({phase.prompts})",
                    percentile(other.samples_seconds, 50),
                    percentile(phase.samples_seconds, 50),
                    median_ratio(other.samples_seconds, phase.samples_seconds),
                )
            )
    if not shared:
        raise DifferentWorkError(
            "the records share no subject with the same model, image size and threads"
        )
    return changes


def _counterpart(record: Record, result: Result) -> Result | None:
    """Find the same subject, preferably at the same work."""
    candidates = [
        other
        for other in record.results
        if (other.subject, other.threads, other.work.variant)
        == (result.subject, result.threads, result.work.variant)
    ]
    candidates.sort(key=lambda other: len(differences(other.work, result.work)))
    return candidates[0] if candidates else None


def differences(one: Work, other: Work) -> list[str]:
    """Say in which fields two pieces of work differ."""
    return [
        f"{item.name} {plain(getattr(one, item.name))[:20]} and "
        f"{plain(getattr(other, item.name))[:20]}"
        for item in fields(Work)
        if getattr(one, item.name) != getattr(other, item.name)
    ]


def label(result: Result) -> str:
    """Name a result in one line."""
    threads = "" if result.threads is None else f", {result.threads} threads"
    return plain(f"{result.model} {result.work.image_size} px {result.subject}{threads}")


def compare_text(changes: list[Change]) -> str:
    """Return a Markdown table of changes."""
    lines = [
        "| subject | phase | before ms | after ms | after / before | 95 % interval | |",
        "|---|---|---|---|---|---|---|",
    ]
    for change in changes:
        ratio = "" if change.ratio is None else f"{change.ratio.estimate:.3f}"
        interval = (
            "" if change.ratio is None else f"{change.ratio.low:.3f} to {change.ratio.high:.3f}"
        )
        lines.append(
            f"| {cell(change.subject)} | {cell(change.phase)} | {change.before_seconds * 1000:.4g} "
            f"| {change.after_seconds * 1000:.4g} | {ratio} | {interval} | {change.verdict} |"
        )
    return "\n".join(lines) + "\n"
