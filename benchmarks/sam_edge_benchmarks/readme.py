"""Tables in the README and the docs: written from committed records, checked by ``make lint``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sam_edge_benchmarks.errors import BenchmarkError
from sam_edge_benchmarks.record import Record, read_record
from sam_edge_benchmarks.report.markdown import markdown_table
from sam_edge_benchmarks.report.tables import (
    RESULT_COLUMNS,
    entries,
    is_noisy,
    result_rows,
)

START, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"

COLUMNS = (
    "machine",
    "model",
    "px",
    "subject",
    "threads",
    "encode p50 ms",
    "decode p50 ms",
    "peak MB",
    "CUDA peak MB",
    "files MB",
    "mask IoU",
)
"""What fits on a page; the report has the rest."""


SUBJECTS = (
    "official-torch/cpu/eager/fp32",
    "ours-torch/",
    "bundle/onnxruntime/",
    "bundle/openvino/int8",
    "bundle/openvino/bf16/fp32",
    "bundle/openvino/bf16/int8-weights",
)
"""How the subjects of the README's rows begin: what people choose between, and have today."""


def readme_block(files: Sequence[Path], subjects: tuple[str, ...] = SUBJECTS) -> str:
    """Return what stands between the markers: a table, and where its figures come from.

    Args:
        files: the records.
        subjects: how the subjects that get a row begin.
    """
    ordered = sorted(files, key=lambda file: file.name)
    records = [read_record(file) for file in ordered]
    indices = [RESULT_COLUMNS.index(name) for name in COLUMNS]
    subject, threads = (RESULT_COLUMNS.index(name) for name in ("subject", "threads"))
    shown = [row for row in result_rows(entries(records)) if row[subject].startswith(subjects)]
    if all(row[threads] == "default" for row in shown):
        indices.remove(threads)
    rows = [tuple(row[index] for index in indices) for row in shown]
    columns = [RESULT_COLUMNS[index] for index in indices]
    sources = ", ".join(f"`{file.as_posix()}`" for file in ordered) or "no record yet"
    lines = [markdown_table(columns, rows), "", f"From {sources}."]
    if _noisy(records):
        lines.append("Other programs ran during some of it: take those times as upper bounds.")
    return "\n".join(lines)


def _noisy(records: Sequence[Record]) -> bool:
    return any(is_noisy(record, result) for record in records for result in record.results)


def updated_readme(text: str, block: str) -> str:
    """Return a page's text with the block between its markers.

    Raises:
        BenchmarkError: if the markers are not there, once each and in order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise BenchmarkError(f"a page needs {START} and, below it, {END}, once each")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n{block}\n{END}{after}"
