"""Measure "everything" beside the official generator, both around nano.

    python benchmarks/techniques/everything.py   # needs minutes; writes everything.json beside it

The official generator runs around nano's own encoder module and the official prompt encoder and
decoder with nano's weights: the same model, the same knobs, the same machine, in turn. Ours is a
float32 bundle of these weights, as the one in the box has 8-bit weights: then only the generators
differ. Encoding is counted on both sides. nano scores its masks lower than a large SAM does, so the
two thresholds are lower than the official defaults; the grid is the official 32 x 32 points.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import sam_edge
from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.image import RgbImage, read_image
from sam_edge.masks.quality import iou
from sam_edge.photos import photos_in
from sam_edge_benchmarks.machine import fingerprint
from sam_edge_benchmarks.subjects.official import official_nano
from sam_edge_export.pipeline import export_bundle
from sam_edge_runtimes import ENGINES, FLOAT32, formats_of

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "export" / "training" / "nano.safetensors"
RESULT = Path(__file__).parent / "everything.json"
KNOBS: dict[str, Any] = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.5}
THREADS = 2
LIMITS = (0.99, 0.95, 0.9)

Generate = Callable[[RgbImage], list[Any]]


def main() -> None:
    """Export and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=2, help="of those in the box")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "nano"
        export_bundle(CHECKPOINT, bundle, verify=False)
        measure(generators(bundle), arguments.photos, arguments.rounds)


def measure(subjects: dict[str, Generate], photos: int, rounds: int) -> None:
    """Run every subject in turn, print and write."""
    report: dict[str, Any] = {}
    for path in photos_in(None)[:photos]:
        photo = read_image(path)
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
        masks: dict[str, list[dict[str, Any]]] = {}
        for _ in range(rounds):
            for name, generate in subjects.items():
                wall, cpu = time.perf_counter(), time.process_time()
                masks[name] = generate(photo)
                runs[name].append((time.perf_counter() - wall, time.process_time() - cpu))
        report[path.name] = {
            "size": list(photo.shape[:2]),
            "subjects": {
                name: {
                    "wall_s": [wall for wall, _ in runs[name]],
                    "cpu_s": [cpu for _, cpu in runs[name]],
                    "masks": len(masks[name]),
                    **agreement(masks["official"], masks[name]),
                }
                for name in subjects
            },
        }
        print(path.name, summary(report[path.name]), sep="\n", file=sys.stderr, flush=True)
    record = {
        "machine": fingerprint(),
        "knobs": KNOBS,
        "points_per_side": 32,
        "threads": THREADS,
        "photos": report,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


def generators(bundle: Path) -> dict[str, Generate]:
    """The official generator, exact and in bfloat16, and ours in every format, two ways."""
    sam = official_nano(CHECKPOINT)  # also supplies what the import below misses
    from segment_anything import SamAutomaticMaskGenerator as Official

    autocast = Official(sam, **KNOBS)
    exact = autocast.predictor.predict_torch

    def predict(*arguments: Any, **keywords: Any) -> Any:  # noqa: ANN401 - the official one's
        return [answer.float() for answer in exact(*arguments, **keywords)]  # numpy takes no other

    autocast.predictor.predict_torch = predict

    def in_bfloat16(photo: RgbImage) -> list[Any]:
        with torch.autocast("cpu", torch.bfloat16):
            found: list[Any] = autocast.generate(photo)
        return found

    subjects: dict[str, Generate] = {
        "official": Official(sam, **KNOBS).generate,
        "official, bfloat16 autocast": in_bfloat16,
    }
    for engine in ENGINES:
        for name in formats_of(engine):
            model = sam_edge.load_model(bundle, runtime=engine, compute=name, threads=THREADS)
            words = engine if name == FLOAT32 else f"{engine}, {name}"
            for label, coarse in (("", False), (", coarse first", True)):
                generator = SamAutomaticMaskGenerator(model, coarse_first=coarse, **KNOBS)
                subjects[f"{words}{label}"] = generator.generate
    return subjects


def agreement(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, float]:
    """How many of the official masks were found, at two overlaps."""
    best = [
        max((iou(one["segmentation"], other["segmentation"]) for other in ours), default=0.0)
        for one in theirs
    ]
    return {
        f"found_at_{limit}": sum(overlap >= limit for overlap in best) / max(1, len(best))
        for limit in LIMITS
    }


def summary(entry: dict[str, Any]) -> str:
    """One line a subject: ratios pair by pair against the official generator."""
    official = entry["subjects"]["official"]
    lines = []
    for name, subject in entry["subjects"].items():
        ratios = [
            statistics.median(a / b for a, b in zip(official[key], subject[key], strict=True))
            for key in ("wall_s", "cpu_s")
        ]
        lines.append(
            f"  {name:<28} {statistics.median(subject['wall_s']):7.2f} s  {ratios[0]:5.1f}x wall "
            f"{ratios[1]:5.1f}x cpu  {subject['masks']} masks, official ones found: "
            + ", ".join(f"{subject[f'found_at_{limit}']:.1%} at IoU {limit}" for limit in LIMITS)
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
