"""What a bundle costs without torch: time and memory of filling, beside those of exporting.

    python benchmarks/techniques/filling.py --output benchmarks/techniques/filling.json

Checkpoints are seeded, of full size and in the official format. Each figure is of a fresh process
that makes one bundle and compares nothing: the median of three, with the peak of its resident
memory. What fills cannot import torch. ``graphs_bytes`` leaves out weights that lie beside a graph.
``gates``: what ``models pull`` measures of int8 here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from processes import answer_of

from sam_edge.bundle import read_spec
from sam_edge.files import json_text, write_text
from sam_edge.filling.bundle import fill_bundle
from sam_edge_benchmarks.machine import fingerprint, load_average
from sam_edge_export.seeded import seeded_checkpoint

FILL = """
import json, sys, time
sys.modules["torch"] = sys.modules["onnx"] = None
from pathlib import Path
from sam_edge.filling.bundle import fill_bundle
from sam_edge_runtimes.memory import peak_rss
began = time.perf_counter()
fill_bundle(Path(sys.argv[1]), Path(sys.argv[2]), precision=sys.argv[3], verify=False, min_iou=0,
            engines=["onnxruntime"], force=True)
print(json.dumps([time.perf_counter() - began, peak_rss()]))
"""

EXPORT = """
import json, sys, time
from pathlib import Path
began = time.perf_counter()
from sam_edge_export.quantize.gate import Int8
from sam_edge_export.pipeline import export_bundle
from sam_edge_runtimes.memory import peak_rss
int8 = Int8(allow_slow=True) if sys.argv[3] == "int8" else None
export_bundle(Path(sys.argv[1]), Path(sys.argv[2]), precision=sys.argv[3], verify=False, min_iou=0,
              engines=["onnxruntime"], int8=int8, force=True)
print(json.dumps([time.perf_counter() - began, peak_rss()]))
"""

RUNS = 3


def measured(program: str, checkpoint: Path, output: Path, precision: str) -> dict[str, float]:
    """Run a program in fresh processes; return the medians of its seconds and peak bytes."""
    found = [answer_of(program, checkpoint, output, precision) for _ in range(RUNS)]
    seconds, peaks = zip(*found, strict=True)
    return {
        "seconds": round(statistics.median(seconds), 2),
        "peak_mb": round(statistics.median(peaks) / 1e6, 1),
    }


def rows_of(variant: str, folder: Path, *, export: bool) -> list[dict[str, Any]]:
    """Measure a variant in float32 and int8."""
    checkpoint = seeded_checkpoint(variant, 1024, 0, folder / f"{variant}.pth")
    rows = []
    for precision in ("fp32", "int8"):
        output = folder / "bundle"
        filled = measured(FILL, checkpoint, output, precision)
        row: dict[str, Any] = {
            "variant": variant,
            "precision": precision,
            "checkpoint_bytes": checkpoint.stat().st_size,
            "graphs_bytes": sum(graph.size_bytes for graph in read_spec(output).graphs),
            "fill": filled,
        }
        if export:
            exported = measured(EXPORT, checkpoint, output, precision)
            row["export"] = exported
            row["ratio"] = {key: round(exported[key] / filled[key], 1) for key in filled}
        rows.append(row)
        sys.stdout.write(f"{json.dumps(row)}\n")
    return rows


def gates_of(variant: str, folder: Path) -> dict[str, Any]:
    """Make an int8 bundle as ``models pull`` does; return what was measured of each engine."""
    checkpoint = folder / f"{variant}.pth"
    results = fill_bundle(checkpoint, folder / "gated", precision="int8", force=True)
    quantization = read_spec(folder / "gated").quantization or {}
    return {"fidelity": [asdict(result) for result in results], "engines": quantization["engines"]}


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--variants", default="mobile_sam,vit_b,vit_h")
    parser.add_argument("--exported", default="mobile_sam,vit_b", help="also through PyTorch")
    parser.add_argument("--gated", default="mobile_sam,vit_b", help="also through the gates")
    arguments = parser.parse_args()
    record: dict[str, Any] = {"machine": fingerprint(), "load_before": load_average()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows: list[dict[str, Any]] = []
        for variant in arguments.variants.split(","):
            rows += rows_of(variant, folder, export=variant in arguments.exported.split(","))
        record["rows"] = rows
        gated = [variant for variant in arguments.gated.split(",") if variant]
        record["gates"] = {variant: gates_of(variant, folder) for variant in gated}
    record["load_after"] = load_average()
    write_text(arguments.output, json_text(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
