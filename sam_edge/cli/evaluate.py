"""The command ``evaluate``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sam_edge.cli.console import progress_bar, show
from sam_edge.cli.failures import Failures
from sam_edge.cli.flags import (
    add_model_arguments,
    load_from,
    whole_number,
)
from sam_edge.cli.frame import FAILED, CommandLineError, Subparsers, add_command
from sam_edge.cli.targets import json_target, prepare, write_json
from sam_edge.evaluation.scores import ObjectScore, evaluate
from sam_edge.evaluation.truth import read_coco, read_sa1b

EVALUATE_EXAMPLES = """\
examples:
  sam-edge evaluate --dataset coco coco/ -m mobile_sam_bundle --limit 500
  sam-edge evaluate --dataset sa1b sa_000000/ --json scores.json

Each true object is segmented from its box, and from one click on its innermost point: the mask
that the model itself scores highest, and the best of its three.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``evaluate`` to the command line."""
    evaluation = add_command(
        subparsers,
        "evaluate",
        "mean IoU with masks that people drew",
        description="Measure mean IoU with masks that people drew, from boxes and from clicks.",
        examples=EVALUATE_EXAMPLES,
    )
    evaluation.add_argument("directory", metavar="DIR", type=Path)
    evaluation.add_argument("--dataset", required=True, choices=("coco", "sa1b"))
    add_model_arguments(evaluation)
    evaluation.add_argument(
        "--annotations", type=Path, metavar="JSON", help="coco: default: instances_val*.json"
    )
    evaluation.add_argument("--images", type=Path, metavar="DIR", help="coco: the photos' folder")
    evaluation.add_argument(
        "--limit", type=whole_number(1), metavar="N", help="only the first N photos"
    )
    evaluation.add_argument("--json", metavar="FILE", help="scores of every object; - prints")
    evaluation.set_defaults(run=run_evaluate)


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Measure IoU with a data set as the command line says."""
    is_coco = arguments.dataset == "coco"
    if not is_coco and (arguments.annotations is not None or arguments.images is not None):
        raise CommandLineError("--annotations and --images are for --dataset coco")
    inputs = [] if arguments.annotations is None else [arguments.annotations]
    prepare(json_target(arguments.json), inputs)
    failures = Failures()
    skip = failures.skip()
    if is_coco:
        photos = read_coco(arguments.directory, arguments.annotations, arguments.images, skip=skip)
    else:
        photos = read_sa1b(arguments.directory, skip=skip)
    photos = photos[: arguments.limit]
    model = load_from(arguments)
    scores: list[ObjectScore] = []
    show_progress = progress_bar("photos")
    stopped = {"stopped": True}
    try:
        for number, photo in enumerate(photos, start=1):
            scores += evaluate(model, [photo], skip=skip)
            if show_progress is not None:
                show_progress(number, len(photos))
        stopped = {}
    finally:
        # Hours of work outlive Ctrl-C.
        if arguments.json is not None and (scores or failures.entries):
            objects = [asdict(score) for score in scores]
            write_json(arguments.json, {"objects": objects, **failures.record(), **stopped})
    if arguments.json != "-":
        show(summary(scores))
    return FAILED if failures.entries else 0


def summary(scores: list[ObjectScore]) -> str:
    """Return mean IoUs as a table for people."""
    if not scores:
        return "no objects\n"
    photos = len({score.photo for score in scores})
    lines = [f"{len(scores)} objects on {photos} photos, mean IoU"]
    for label, values in (
        ("from the true box", [score.box for score in scores]),
        ("from one click, top-scored mask", [score.click for score in scores]),
        ("from one click, best of three", [score.click_best for score in scores]),
    ):
        lines.append(f"  {label:<34}{np.mean(values):.4f}")
    return "\n".join(lines) + "\n"
