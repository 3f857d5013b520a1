"""The flags of what ``everything`` finds and how it is written, for every command that does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from sam_edge.cli.flags import finite_number, whole_number


def add_tolerance_argument(parser: argparse.ArgumentParser) -> None:
    """Add how exact polygons are."""
    parser.add_argument(
        "--tolerance",
        type=_not_negative,
        default=1.0,
        metavar="PIXELS",
        help="labelme, yolo, geojson: how far polygons may leave the outline (default 1)",
    )


def add_tile_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how a large picture is cut."""
    tiles = parser.add_argument_group("pictures larger than the model sees well")
    tiles.add_argument(
        "--tile",
        type=whole_number(1),
        metavar="PIXELS",
        help="cut the picture into tiles of this side; masks that cross their edges become one",
    )
    tiles.add_argument(
        "--overlap",
        type=whole_number(1),
        metavar="PIXELS",
        help="what neighbouring tiles have in common at least (default: --tile / 8, 16 at least)",
    )


def add_generator_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the knobs of ``SamAutomaticMaskGenerator``."""
    knobs = parser.add_argument_group("the official generator's knobs")
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


def knobs_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the generator's arguments as the command line says them."""
    names = [flag.replace("-", "_") for flag in _KNOBS]
    return {name: getattr(arguments, name) for name in (*names, "coarse_first")}


def _not_negative(text: str) -> float:
    number = finite_number(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text!r}")
    return number


_whole = whole_number(-sys.maxsize)
"""The generator itself says which numbers its knobs may have."""

_KNOBS: dict[str, tuple[Callable[[str], float], float | None, str]] = {
    "points-per-side": (_whole, 32, "side of the point grid"),
    "points-per-batch": (_whole, None, "points per decoder call (default: what 512 MB allow)"),
    "pred-iou-thresh": (
        finite_number,
        None,
        "least predicted IoU (default: the model's, 0.88)",
    ),
    "stability-score-thresh": (
        finite_number,
        None,
        "least stability score (default: the model's, 0.95)",
    ),
    "stability-score-offset": (finite_number, 1.0, "how far the threshold moves for it, in logits"),
    "box-nms-thresh": (finite_number, 0.7, "box IoU from which a mask is a duplicate"),
    "crop-n-layers": (_whole, 0, "layers of crops beyond the whole photo"),
    "crop-nms-thresh": (finite_number, 0.7, "as --box-nms-thresh, between crops"),
    "crop-overlap-ratio": (finite_number, 512 / 1500, "overlap of crops"),
    "crop-n-points-downscale-factor": (_whole, 1, "how much sparser each layer's grid is"),
    "min-mask-region-area": (_whole, 0, "smaller islands and holes are removed, in pixels"),
}
