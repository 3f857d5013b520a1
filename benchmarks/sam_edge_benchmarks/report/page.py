"""The report as one HTML page: no scripts, no fonts, no links to elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sam_edge_benchmarks.record import Record
from sam_edge_benchmarks.report.escape import markup
from sam_edge_benchmarks.report.plots import lines, scatter, stacked_bars
from sam_edge_benchmarks.report.tables import (
    MACHINE_COLUMNS,
    RESULT_COLUMNS,
    VERSUS_COLUMNS,
    Entry,
    Row,
    entries,
    machine_rows,
    mean_iou,
    median_ms,
    notes,
    peak_bytes,
    result_rows,
    versus_rows,
)

WARM = ("preprocess", "encode", "decode", "postprocess")
COLD = ("import", "load", "first run")

STYLE = """
:root { --ink: #1c2330; --soft: #667085; --line: #e3e7ee; --page: #fff; --panel: #f7f8fb;
  --c0: #3b6fd4; --c1: #e08a2e; --c2: #2f9e77; --c3: #b5507f;
  --c4: #7a64c9; --c5: #5a97b8; --c6: #a8862a; --c7: #6b7280; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #313a49;
  --page: #14181f; --panel: #1b212b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 1080px; margin: 32px auto; padding: 0 24px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 8px; }
h3 { font-size: 14px; margin: 20px 0 6px; }
p, li { color: var(--soft); max-width: 46em; }
figure { margin: 0 0 12px; padding: 14px 16px; background: var(--panel); border-radius: 8px; }
svg { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; }
.label { fill: var(--ink); } .value { fill: var(--soft); }
.note { fill: var(--soft); font-size: 10px; } .number { fill: #fff; font-size: 10px; }
.point { fill-opacity: .85; stroke: var(--page); }
.axis { stroke: var(--soft); fill: none; } .grid { stroke: var(--line); }
.line { fill: none; stroke-width: 2; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; vertical-align: top; }
th { color: var(--soft); font-weight: 600; position: sticky; top: 0; background: var(--page); }
td.text, th.text { text-align: left; } td.long { white-space: normal; min-width: 16em; }
""" + "".join(
    f".s{index} {{ fill: var(--c{index}); }} .l{index} {{ stroke: var(--c{index}); }}\n"
    for index in range(8)
)

TEXT_COLUMNS = {"machine", "model", "subject", "A", "B", "phase", *MACHINE_COLUMNS}


def html_report(records: Sequence[Record]) -> str:
    """Return the page. Every string of a record is escaped where it enters."""
    found = entries(records)
    several = len({entry.machine for entry in found}) > 1
    parts = [
        "<h1>sam-edge benchmark</h1>",
        "<p>Medians of raw samples. Phases are measured apart, each subject in its own process. "
        "Mask IoU compares with float32 PyTorch on the same photo and prompts.</p>",
    ]
    if lines_ := notes(records):
        parts.append("<ul>" + "".join(f"<li>{markup(line)}</li>" for line in lines_) + "</ul>")
    for group, members in groupby(found, key=lambda entry: entry.group):
        parts.append(f"<h2>{markup(group)}</h2>")
        parts += _plots(list(members), several)
    parts += ["<h2>All figures</h2>", _table(RESULT_COLUMNS, result_rows(found))]
    if rows := versus_rows(records):
        parts += ["<h2>In turn, A B A B</h2>", _table(VERSUS_COLUMNS, rows)]
    parts += ["<h2>Machines</h2>", _table(MACHINE_COLUMNS, machine_rows(records))]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # nothing of a stranger's record may load or run, even if escaping failed
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>sam-edge benchmark</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _plots(members: Sequence[Entry], several: bool) -> list[str]:
    """Draw what a group's results have."""
    parts = []
    warm = [row for entry in members if (row := _phases(entry, WARM, several))]
    if warm:
        parts.append(_figure("Latency by phase, one prompt batch", stacked_bars(warm, "ms")))
    points = [
        (f"{row[0]} {row[1]}", sum(row[2].values()), mean_iou(entry.result))
        for entry in members
        if entry.result.mask_ious and (row := _phases(entry, WARM, several))
    ]
    if len(points) > 1:
        parts.append(
            _figure(
                "Latency against mask IoU: up and left is better",
                scatter(points, "ms for all phases (logarithmic)", "mean mask IoU"),
            )
        )
    memory = [
        (entry.label, _note(entry, several), {"peak": peak_bytes(entry.result) / 1e6})
        for entry in members
        if peak_bytes(entry.result)
    ]
    if memory:
        parts.append(_figure("Peak resident memory", stacked_bars(memory, "MB")))
    cold = [row for entry in members if (row := _phases(entry, COLD, several))]
    if cold:
        parts.append(_figure("Cold start, to the first mask", stacked_bars(cold, "ms")))
    scaling = _thread_series(members, several)
    if scaling:
        parts.append(_figure("Thread scaling", lines(scaling, "threads", "encode, ms")))
    return parts


def _phases(
    entry: Entry, names: Sequence[str], several: bool
) -> tuple[str, str, dict[str, float]] | None:
    phases = [phase for name in names if (phase := entry.result.phase(name)) is not None]
    if len(phases) < len(names):
        return None  # half a bar would look like a fast subject
    times = {phase.name: median_ms(phase) for phase in phases}
    return entry.label, _note(entry, several), times


def _note(entry: Entry, several: bool) -> str:
    return f"on {entry.machine}" if several else ""


def _thread_series(members: Sequence[Entry], several: bool) -> dict[str, list[tuple[float, float]]]:
    series: dict[str, dict[float, float]] = {}
    for entry in members:
        encode = entry.result.phase("encode")
        if encode is not None and entry.result.threads is not None:
            label = f"{entry.result.subject} {_note(entry, several)}"
            line = series.setdefault(label, {})
            line[entry.result.threads] = median_ms(encode)
    return {label: sorted(line.items()) for label, line in series.items() if len(line) > 1}


def _figure(title: str, svg: str) -> str:
    return f"<h3>{markup(title)}</h3><figure>{svg}</figure>"


def _table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    shown = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    if not shown:
        return "<p>Nothing was measured.</p>"

    def style(index: int) -> str:
        if columns[index] in ("features", "versions"):
            return ' class="text long"'
        return ' class="text"' if columns[index] in TEXT_COLUMNS else ""

    head = "".join(f"<th{style(index)}>{markup(columns[index])}</th>" for index in shown)
    body = "".join(
        "<tr>"
        + "".join(f"<td{style(index)}>{markup(row[index])}</td>" for index in shown)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
