"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from sam_edge_benchmarks.record import Record
from sam_edge_benchmarks.report.escape import cell
from sam_edge_benchmarks.report.tables import (
    MACHINE_COLUMNS,
    RESULT_COLUMNS,
    VERSUS_COLUMNS,
    Row,
    entries,
    machine_rows,
    notes,
    result_rows,
    versus_rows,
)


def markdown_report(records: Sequence[Record]) -> str:
    """Return tables of everything in the records."""
    parts = [
        "# Benchmark",
        "## Results",
        markdown_table(RESULT_COLUMNS, result_rows(entries(records))),
    ]
    if rows := versus_rows(records):
        parts += ["## In turn, A B A B", markdown_table(VERSUS_COLUMNS, rows)]
    if lines := notes(records):
        parts += ["## To know", "\n".join(f"- {cell(line)}" for line in lines)]
    parts += ["## Machines", markdown_table(MACHINE_COLUMNS, machine_rows(records))]
    return "\n\n".join(parts) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return a table; columns that are empty in every row are left out."""
    shown = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    if not shown:
        return "Nothing was measured."
    lines = [
        "| " + " | ".join(columns[index] for index in shown) + " |",
        "|" + "---|" * len(shown),
    ]
    lines += ["| " + " | ".join(cell(row[index]) for index in shown) + " |" for row in rows]
    return "\n".join(lines)
