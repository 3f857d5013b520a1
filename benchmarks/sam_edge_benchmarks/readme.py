"""The README's table: written from the committed records, checked by ``make lint``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sam_edge_benchmarks.errors import BenchmarkError
from sam_edge_benchmarks.record import Record, read_record
from sam_edge_benchmarks.report.markdown import markdown_table
from sam_edge_benchmarks.report.tables import (
    CUDA_NOT_MEASURED,
    RESULT_COLUMNS,
    entries,
    is_noisy,
    notes,
    result_rows,
)

START, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"

COLUMNS = (
    "machine",
    "model",
    "px",
    "subject",
    "encode p50 ms",
    "decode p50 ms",
    "peak MB",
    "files MB",
    "mask IoU",
)
"""What fits on a README; the report has the rest."""


SUBJECTS = (
    "official-torch/cpu/eager/fp32",
    "ours-torch/",
    "bundle/onnxruntime/",
    "bundle/openvino/int8",
    "bundle/openvino/bf16/fp32",
    "bundle/openvino/bf16/int8-weights",
)
"""How the subjects of its rows begin: what people choose between, and what they have today."""


def readme_block(files: Sequence[Path]) -> str:
    """Return what stands between the markers: a table, and where its figures come from."""
    ordered = sorted(files, key=lambda file: file.name)
    records = [read_record(file) for file in ordered]
    indices = [RESULT_COLUMNS.index(name) for name in COLUMNS]
    subject = RESULT_COLUMNS.index("subject")
    shown = [row for row in result_rows(entries(records)) if row[subject].startswith(SUBJECTS)]
    rows = [tuple(row[index] for index in indices) for row in shown]
    sources = ", ".join(f"`benchmarks/results/{file.name}`" for file in ordered) or "no record yet"
    lines = [markdown_table(COLUMNS, rows), "", f"From {sources}."]
    if _noisy(records):
        lines.append("Other programs ran during some of it: take those times as upper bounds.")
    if CUDA_NOT_MEASURED in notes(records):
        lines.append(CUDA_NOT_MEASURED)
    return "\n".join(lines)


def _noisy(records: Sequence[Record]) -> bool:
    return any(is_noisy(record, result) for record in records for result in record.results)


def updated_readme(text: str, block: str) -> str:
    """Return a README's text with the block between its markers.

    Raises:
        BenchmarkError: if the markers are not there, once each and in order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise BenchmarkError(f"the README needs {START} and, below it, {END}, once each")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n{block}\n{END}{after}"
