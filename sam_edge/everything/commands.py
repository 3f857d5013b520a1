"""The commands ``everything`` and ``evaluate``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.cli import CommandLineError, Subparsers, add_command
from sam_edge.commands import add_model_arguments, banner_of, load_from
from sam_edge.everything.boxes import read_detections, segment_boxes
from sam_edge.everything.evaluate import ObjectScore, evaluate
from sam_edge.everything.truth import read_coco, read_sa1b
from sam_edge.formats import (
    LabelledMask,
    coco_document,
    draw_everything,
    label_map_picture,
    labelled,
    labelme_document,
    sa1b_document,
    svg_text,
)
from sam_edge.image import read_image
from sam_edge.model import Model

FORMATS = ("sa1b", "coco", "labelme", "png", "svg")

EVERYTHING_EXAMPLES = """\
examples:
  every mask, as SA-1B JSON, and a picture to look at:
    sam-edge everything photo.jpg -o photo.json --overlay over.png
  polygons to correct by hand in LabelMe:
    sam-edge everything photo.jpg -o photo.json --format labelme
  small things too: four crops beside the whole photo, a denser grid:
    sam-edge everything photo.jpg --crop-n-layers 1 --points-per-side 48 -o photo.svg
  several times faster, missing some of what lies inside larger masks:
    sam-edge everything photo.jpg --coarse-first -o photo.json
  masks for the boxes of a detector, instead of a grid:
    sam-edge everything photo.jpg --prompts detections.json --format coco -o masks.json

The knobs have the official generator's names and defaults, except that the model in the box,
which scores its masks lower than the large ones do, has lower thresholds. Without -o and
--overlay, PHOTO-everything.json and PHOTO-everything.png are written to the current folder.
"""

EVALUATE_EXAMPLES = """\
examples:
  sam-edge evaluate --dataset coco coco/ -m mobile_sam_bundle --limit 500
  sam-edge evaluate --dataset sa1b sa_000000/ --json scores.json

Each true object is segmented from its box, and from one click on its innermost point: the mask
that the model itself scores highest, and the best of its three.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``everything`` and ``evaluate`` to the command line."""
    everything = add_command(
        subparsers,
        "everything",
        "segment everything in a photo, or the boxes of a detector",
        description="Segment everything in a photo, or the boxes of a detector.",
        examples=EVERYTHING_EXAMPLES,
    )
    everything.add_argument("image", metavar="IMAGE", type=Path)
    add_model_arguments(everything)
    everything.add_argument("-o", "--output", type=Path, metavar="FILE")
    everything.add_argument(
        "--format",
        choices=FORMATS,
        help="default: what -o ends with: .svg, .png (a label map), else sa1b",
    )
    everything.add_argument("--overlay", type=Path, metavar="PNG", help="picture to look at")
    everything.add_argument(
        "--prompts", type=Path, metavar="JSON", help="a detector's boxes, as COCO JSON"
    )
    everything.add_argument(
        "--tolerance",
        type=float,
        default=1.0,
        metavar="PIXELS",
        help="labelme: how far polygons may leave the outline (default 1)",
    )
    knobs = everything.add_argument_group("the official generator's knobs")
    for flag, (kind, default, text) in _KNOBS.items():
        knobs.add_argument(
            f"--{flag}",
            type=kind,
            default=default,
            metavar="N",
            help=text if default is None else f"{text} (default {default:.3g})",
        )
    knobs.add_argument(
        "--coarse-first", action="store_true", help="skip points that a mask already covers"
    )
    everything.set_defaults(run=run_everything)

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
    evaluation.add_argument("--limit", type=int, metavar="N", help="only the first N photos")
    evaluation.add_argument("--json", type=Path, metavar="FILE", help="scores of every object")
    evaluation.set_defaults(run=run_evaluate)


THRESHOLDS = {"nano": (0.4, 0.3)}
"""Least predicted IoU and stability where a family needs other values than the large models.

Small models score their masks lower, and their outlines are softer. See docs/formats.md.
"""

OFFICIAL_THRESHOLDS = (0.88, 0.95)

_KNOBS: dict[str, tuple[type[int] | type[float], int | float | None, str]] = {
    "points-per-side": (int, 32, "side of the point grid"),
    "points-per-batch": (int, None, "points per decoder call (default: what 512 MB allow)"),
    "pred-iou-thresh": (float, None, "least predicted IoU (default 0.88; nano 0.4)"),
    "stability-score-thresh": (float, None, "least stability score (default 0.95; nano 0.3)"),
    "stability-score-offset": (float, 1.0, "how far the threshold moves for it, in logits"),
    "box-nms-thresh": (float, 0.7, "box IoU from which a mask is a duplicate"),
    "crop-n-layers": (int, 0, "layers of crops beyond the whole photo"),
    "crop-nms-thresh": (float, 0.7, "as --box-nms-thresh, between crops"),
    "crop-overlap-ratio": (float, 512 / 1500, "overlap of crops"),
    "crop-n-points-downscale-factor": (int, 1, "how much sparser each layer's grid is"),
    "min-mask-region-area": (int, 0, "smaller islands and holes are removed, in pixels"),
}


def run_everything(arguments: argparse.Namespace) -> int:
    """Segment a photo as the command line says."""
    output, overlay = arguments.output, arguments.overlay
    if output is None and overlay is None:
        output = Path(f"{arguments.image.stem}-everything.json")
        overlay = Path(f"{arguments.image.stem}-everything.png")
    image = read_image(arguments.image)
    if arguments.prompts is not None:
        detections = read_detections(arguments.prompts, arguments.image)
        model = load_from(arguments)
        masks = segment_boxes(model, model.encode_image(image), detections)
    else:
        model = load_from(arguments)
        generator = _generator(model, arguments)
        masks = labelled(generator.generate(image, progress=progress_bar("points")))
        if not masks:
            _say(
                f"no mask passed --pred-iou-thresh {generator.pred_iou_thresh} and "
                f"--stability-score-thresh {generator.stability_score_thresh}; try lower ones"
            )
    if output is not None:
        kind = arguments.format or {".svg": "svg", ".png": "png"}.get(output.suffix, "sa1b")
        output.parent.mkdir(parents=True, exist_ok=True)
        write_masks(masks, kind, output, arguments.image, image.shape[:2], arguments.tolerance)
        _say(f"{output}  {len(masks)} masks")
    if overlay is not None:
        overlay.parent.mkdir(parents=True, exist_ok=True)
        draw_everything(image, masks, banner=banner_of(model.spec)).save(overlay)
        _say(f"{overlay}")
    return 0


def _generator(model: Model, arguments: argparse.Namespace) -> SamAutomaticMaskGenerator:
    knobs = {flag.replace("-", "_"): getattr(arguments, flag.replace("-", "_")) for flag in _KNOBS}
    usual = THRESHOLDS.get(model.spec.variant, OFFICIAL_THRESHOLDS)
    for name, value in zip(("pred_iou_thresh", "stability_score_thresh"), usual, strict=True):
        if knobs[name] is None:
            knobs[name] = value
    try:
        return SamAutomaticMaskGenerator(
            model,
            output_mode="uncompressed_rle",
            coarse_first=arguments.coarse_first,
            **knobs,
        )
    except ValueError as error:
        raise CommandLineError(str(error)) from error


def write_masks(
    masks: list[LabelledMask],
    kind: str,
    path: Path,
    photo: Path,
    size: tuple[int, int],
    tolerance: float = 1.0,
) -> None:
    """Write one photo's masks.

    Args:
        masks: of that photo.
        kind: one of ``FORMATS``.
        path: the file to write.
        photo: the photo's file.
        size: ``(H, W)`` of the photo.
        tolerance: see ``labelme_document``.
    """
    if kind == "png":
        label_map_picture(masks, size).save(path, format="PNG")
        return
    if kind == "svg":
        path.write_text(svg_text(masks, size=size), encoding="utf-8")
        return
    if kind == "sa1b":
        document = sa1b_document(masks, file_name=photo.name, size=size)
    elif kind == "coco":
        document = coco_document(masks, file_name=photo.name, size=size)
    else:
        # LabelMe looks for the photo from the JSON file's folder.
        name = os.path.relpath(photo.resolve(), path.resolve().parent)
        document = labelme_document(
            masks, file_name=Path(name).as_posix(), size=size, tolerance=tolerance
        )
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Measure IoU with a data set as the command line says."""
    if arguments.limit is not None and arguments.limit < 1:
        raise CommandLineError(f"--limit {arguments.limit}: expected a whole number from 1 up")
    if arguments.dataset == "sa1b":
        if arguments.annotations is not None or arguments.images is not None:
            raise CommandLineError("--annotations and --images are for --dataset coco")
        photos = read_sa1b(arguments.directory)
    else:
        photos = read_coco(arguments.directory, arguments.annotations, arguments.images)
    model = load_from(arguments)
    scores = evaluate(model, photos[: arguments.limit], progress=progress_bar("photos"))
    if arguments.json is not None:
        arguments.json.write_text(
            json.dumps({"objects": [asdict(score) for score in scores]}, indent=1) + "\n",
            encoding="utf-8",
        )
    print(summary(scores), end="")
    return 0


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


def progress_bar(unit: str) -> Callable[[int, int], None] | None:
    """Return a callback that draws a bar, or None where nobody watches."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        filled = 30 * done // total
        end = "\n" if done == total else ""
        print(f"\r{'█' * filled:░<30} {done}/{total} {unit}", end=end, file=sys.stderr, flush=True)

    return show


def _say(line: str) -> None:
    print(line, file=sys.stderr)
