"""The flags that name what to look for, in words or by a detector, and what finds it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sam_edge.cli.console import say
from sam_edge.cli.flags import finite_number, whole_number
from sam_edge.cli.frame import CommandLineError
from sam_edge.detections import Detection
from sam_edge.detectors import detector_named
from sam_edge.formats.records import LabelledMask
from sam_edge.grounding.masks import segment_detections
from sam_edge.grounding.opening import load_grounder
from sam_edge.grounding.phrases import checked_phrases
from sam_edge.grounding.selection import DUPLICATE_IOU, NMS_IOU, Selection
from sam_edge.image import RgbImage
from sam_edge.model import Model
from sam_edge.zoo.grounders import DEFAULT_GROUNDER

GROUNDER_TOO = (
    "--runtime, --compute, --threads and --memory are for it, too (--compute auto: once `export` "
    "or `verify` has found a smaller format faster here and its boxes right)"
)
"""What the flags of ``add_model_arguments`` do for a grounder."""

_FLAGS = {
    "exclude": "--not",
    "text_threshold": "--text-threshold",
    "top_k": "--top-k",
    "best_phrase": "--best-phrase",
}
"""What says nothing without ``--text``."""


@dataclass(frozen=True, slots=True)
class Finder:
    """What finds the boxes of a photo.

    Attributes:
        find: from a photo's pixels to its boxes.
        nothing: what is said where there are none.
        duplicate_iou: masks that overlap by more are one object.
        record: what ``--json`` says of it.
        banner: what every picture of what it found must say, or nothing.
    """

    find: Callable[[RgbImage], list[Detection]]
    nothing: str
    duplicate_iou: float
    record: Mapping[str, Any]
    banner: str = ""

    def segment(
        self, name: str, image: RgbImage, model: Model, memory_limit: int
    ) -> list[LabelledMask]:
        """Segment what is found in a photo; where that is nothing, a line says so by its name."""
        found = self.find(image)
        if not found:
            say(f"{name}: {self.nothing}")
            return []
        embedding = model.encode_image(image)
        return segment_detections(
            model, embedding, found, self.duplicate_iou, memory_limit=memory_limit
        )


def add_word_arguments(parser: argparse.ArgumentParser, *, detector: bool = True) -> None:
    """Add the flags; ``detector``: that one, too."""
    group = parser.add_argument_group("what to look for")
    group.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="PHRASE",
        help="a short description in English, such as 'the red mug'; once for each kind of thing",
    )
    group.add_argument(
        "--not",
        action="append",
        default=[],
        dest="exclude",
        metavar="PHRASE",
        help="what must not match: a box that it fits better is left out",
    )
    group.add_argument(
        "--grounder",
        default=DEFAULT_GROUNDER,
        metavar="BUNDLE",
        help="what finds words: a grounding bundle's folder, or a name "
        f"(default {DEFAULT_GROUNDER}); {GROUNDER_TOO}",
    )
    group.add_argument(
        "--text-threshold",
        type=finite_number,
        metavar="X",
        help="least score of a box, from 0 to 1 (default: the grounder's, 0.1)",
    )
    group.add_argument(
        "--top-k", type=whole_number(1), metavar="N", help="the best N boxes of each phrase"
    )
    group.add_argument(
        "--best-phrase", action="store_true", help="give a box to its best phrase and no other"
    )
    if not detector:
        return
    group.add_argument(
        "--detector",
        metavar="NAME",
        help="boxes from an installed detector instead (entry point sam_edge.detectors)",
    )


def check_words(arguments: argparse.Namespace) -> None:
    """Refuse flags that say nothing without ``--text``.

    Raises:
        CommandLineError: naming one.
    """
    for name, flag in _FLAGS.items():
        if not arguments.text and getattr(arguments, name) not in (None, [], False):
            raise CommandLineError(f"{flag} needs --text: say what to look for")


def finder_from(arguments: argparse.Namespace) -> Finder | None:
    """Return what the flags say finds boxes; None if they say nothing.

    Phrases are checked and understood at once, so that a bad one costs no photo.

    Raises:
        CommandLineError: if flags do not fit together.
        SamEdgeError: as for ``load_grounder``, ``Grounder.ground`` and ``detector_named``.
    """
    check_words(arguments)
    if not arguments.text:
        if arguments.detector is None:
            return None
        return Finder(
            detector_named(arguments.detector),
            f"the detector {arguments.detector} found nothing",
            1.0,
            {"detector": arguments.detector},
        )
    if arguments.detector is not None:
        raise CommandLineError("--text and --detector both find boxes; give one of them")
    phrases = checked_phrases(arguments.text)
    grounder = load_grounder(
        arguments.grounder,
        runtime=arguments.runtime,
        threads=arguments.threads,
        memory=arguments.memory,
        compute=arguments.compute,
    )
    threshold = grounder.spec.threshold
    if arguments.text_threshold is not None:
        threshold = arguments.text_threshold
    Selection(threshold)  # says what is wrong with it
    grounder.encode_phrases([*phrases, *arguments.exclude])

    def find(image: RgbImage) -> list[Detection]:
        return grounder.ground(
            image,
            phrases,
            exclude=arguments.exclude,
            threshold=threshold,
            top_k=arguments.top_k,
            nms_iou=NMS_IOU,
            best_phrase=arguments.best_phrase,
        )

    spec = grounder.spec
    return Finder(
        find,
        f"nothing found for {', '.join(map(repr, phrases))} with a score of {threshold:g} or more",
        DUPLICATE_IOU,
        {
            "grounder": {
                "model": spec.variant,
                "precision": spec.precision,
                "engine": grounder.engine,
                "compute": grounder.compute.name,
            }
        },
        "random weights: boxes mean nothing" if spec.source.random else "",
    )
