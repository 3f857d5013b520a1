"""How faithful a grounding bundle is: the same photos and phrases through it and float32."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge.compute import LEAST_BOX_IOU, MOST_SCORE_ERROR, format_name
from sam_edge.fidelity import PYTORCH, finite_or_none
from sam_edge.grounding.grounder import Candidates, Grounder, match
from sam_edge.photos import Photo
from sam_edge_runtimes import FLOAT32, FORMATS, Float32, engine_version

PHRASES = ("a person", "a red cup", "two dogs on the grass", "car", "a photo of a house")
"""What each photo is asked."""

BEST = 10
"""Of how many boxes of each photo and phrase, those that PyTorch scores highest, are compared."""


@dataclass(frozen=True, slots=True)
class GroundingFidelity:
    """What was measured of a grounding bundle on one engine.

    Attributes:
        engine: its name.
        engine_version: its version.
        precision: of the bundle.
        photos: how many.
        phrases: how many, asked of each photo.
        box_max_px: the largest error of a box's side, in pixels of the photo.
        box_iou_mean: mean IoU of the ``BEST`` boxes of each photo and phrase.
        score_max_error: largest difference of a score, over all boxes.
        seconds: what a look at a photo takes here, once the tower is open: the median over photos.
        reference: what was compared with.
        compute: the format that each graph computed in, by role.
    """

    engine: str
    engine_version: str
    precision: str
    photos: int
    phrases: int
    box_max_px: float
    box_iou_mean: float
    score_max_error: float
    seconds: float
    reference: str = PYTORCH
    compute: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The engine, with the format if it is a reduced one."""
        reduced = format_name(self.compute)
        return self.engine if reduced == FLOAT32 else f"{self.engine} {FORMATS[reduced]}"

    def record(self) -> dict[str, Any]:
        """Return the manifest's entry, without ``seconds``: a bundle goes to other machines.

        What is not finite, which no limit allows, is None: JSON.
        """
        values = asdict(self)
        del values["seconds"]
        return finite_or_none(values)


@dataclass(frozen=True, slots=True)
class GroundingLimits:
    """What a grounding bundle must reach."""

    box_max_px: float
    box_iou_mean: float
    score_max_error: float

    def missed(self, found: GroundingFidelity) -> list[str]:
        """Say in words which limits a measurement misses; a NaN misses every one."""
        lines = [
            f"{name} {value:.6g} is not within {limit:g}"
            for name in ("box_max_px", "score_max_error")
            if not (value := getattr(found, name)) <= (limit := getattr(self, name))
        ]
        if not found.box_iou_mean >= self.box_iou_mean:
            lines.append(
                f"box_iou_mean {found.box_iou_mean:.6g} is not within {self.box_iou_mean:g}"
            )
        return lines


FEWER_BITS = GroundingLimits(math.inf, LEAST_BOX_IOU, MOST_SCORE_ERROR)
"""For what is known to change the numbers."""

LIMITS = {
    "fp32": GroundingLimits(0.5, 0.999, 1e-3),
    # Weights rounded to 11 bits, and boxes that are a sigmoid of what that adds up to.
    "fp16": GroundingLimits(math.inf, 0.99, 1e-2),
    "int8-weights": FEWER_BITS,
    "int8": FEWER_BITS,
}
"""By precision."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundingTruth:
    """What bundles are compared with: a float32 model's answers to photos and phrases.

    Attributes:
        photos: the files.
        candidates: one a photo.
        scores: one a photo, ``(N, P)``.
        seconds: as in ``GroundingFidelity``.
        reference: what the model is, for messages and the manifest.
    """

    photos: tuple[Path, ...]
    candidates: tuple[Candidates, ...]
    scores: tuple[Float32, ...]
    seconds: float
    reference: str = PYTORCH


def truth_of(
    grounder: Grounder,
    photos: Sequence[Path],
    progress: Callable[[str], None] = lambda _: None,
    reference: str = PYTORCH,
) -> GroundingTruth:
    """Ask a float32 grounder about photos, once for every bundle that is compared."""
    candidates, seconds = _looks(
        grounder, photos, lambda photo: progress(f"{reference} looks at {photo.name}")
    )
    queries = grounder.encode_phrases(PHRASES)
    scores = tuple(match(found, queries) for found in candidates)
    return GroundingTruth(tuple(photos), tuple(candidates), scores, seconds, reference)


def compare(
    truth: GroundingTruth, candidate: Grounder, progress: Callable[[str], None] = lambda _: None
) -> GroundingFidelity:
    """Measure one bundle on one engine: each photo and each phrase through both, on their own."""
    sides, overlaps, errors = [], [], []
    queries = candidate.encode_phrases(PHRASES)
    looks, seconds = _looks(
        candidate, truth.photos, lambda photo: progress(f"comparing on {photo.name}")
    )
    for theirs, ours, scores in zip(looks, truth.candidates, truth.scores, strict=True):
        sides.append(float(np.abs(ours.boxes - theirs.boxes).max()))
        errors.append(float(np.abs(scores - match(theirs, queries)).max()))
        for column in scores.T:
            best = np.argsort(-column)[:BEST]
            overlaps.append(float(_overlaps(ours.boxes[best], theirs.boxes[best]).mean()))
    return GroundingFidelity(
        engine=candidate.engine,
        engine_version=engine_version(candidate.engine),
        precision=candidate.spec.precision,
        photos=len(truth.photos),
        phrases=len(PHRASES),
        box_max_px=max(sides),
        box_iou_mean=float(np.mean(overlaps)),
        score_max_error=max(errors),
        seconds=seconds,
        reference=truth.reference,
        compute=dict(candidate.compute.formats),
    )


def _looks(
    grounder: Grounder, photos: Sequence[Path], begin: Callable[[Path], None]
) -> tuple[list[Candidates], float]:
    """Look at photos, and return what was seen and the median of what a look took, in seconds."""
    found: list[Candidates] = []
    taken = []
    for photo in photos:
        begin(photo)
        image = Photo(photo).read()
        if not found:
            grounder.encode_image(image)  # opens the tower
        began = time.perf_counter()
        found.append(grounder.encode_image(image))
        taken.append(time.perf_counter() - began)
    return found, statistics.median(taken)


def table(results: Sequence[GroundingFidelity]) -> str:
    """Return the measurements as a text table."""
    first = results[0]
    head = f"against {first.reference}: {first.photos} photos, {first.phrases} phrases"
    lines = [f"{head:<46}" + "".join(f"{result.name:>15}" for result in results)]
    rows = [
        ("box side, largest error in pixels", "box_max_px", ".2e"),
        (f"IoU of the best {BEST} boxes, mean", "box_iou_mean", ".6f"),
        ("score, largest error", "score_max_error", ".2e"),
        ("a look at a photo here, seconds", "seconds", ".2f"),
    ]
    for label, name, form in rows:
        values = "".join(f"{format(getattr(result, name), form):>15}" for result in results)
        lines.append(f"  {label:<44}{values}")
    return "\n".join(lines) + "\n"


def _overlaps(one: Float32, other: Float32) -> Float32:
    """Return the IoU of boxes, pair by pair."""
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, 2:], other[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    overlaps: Float32 = shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
    return overlaps
