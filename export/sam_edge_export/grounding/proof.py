"""How faithful a grounding bundle is: the same photos and phrases through it and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge.fidelity import PYTORCH, finite_or_none
from sam_edge.gates import FidelityError
from sam_edge.grounding.grounder import Candidates, Grounder, match
from sam_edge.grounding.opening import load_grounder, open_phrases
from sam_edge.photos import Photo
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER, GroundingSpec
from sam_edge_export.grounding.towers import Towers
from sam_edge_export.reference import TorchSession
from sam_edge_runtimes import Float32, engine_version

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
        reference: what was compared with.
    """

    engine: str
    engine_version: str
    precision: str
    photos: int
    phrases: int
    box_max_px: float
    box_iou_mean: float
    score_max_error: float
    reference: str = PYTORCH

    def record(self) -> dict[str, Any]:
        """Return the manifest's entry. What is not finite, which no limit allows, is None: JSON."""
        return finite_or_none(asdict(self))


@dataclass(frozen=True, slots=True)
class GroundingLimits:
    """What a grounding bundle must reach."""

    box_max_px: float
    box_iou_mean: float
    score_max_error: float

    def missed(self, found: GroundingFidelity) -> list[str]:
        """Say in words which limits a measurement misses; a NaN misses every one."""
        lines = [
            f"{found.engine}: {name} {value:.6g} is not within {limit:g}"
            for name in ("box_max_px", "score_max_error")
            if not (value := getattr(found, name)) <= (limit := getattr(self, name))
        ]
        if not found.box_iou_mean >= self.box_iou_mean:
            lines.append(
                f"{found.engine}: box_iou_mean {found.box_iou_mean:.6g} is not within "
                f"{self.box_iou_mean:g}"
            )
        return lines


LIMITS = {
    "fp32": GroundingLimits(0.5, 0.999, 1e-3),
    # Weights rounded to 11 bits, and boxes that are a sigmoid of what that adds up to.
    "fp16": GroundingLimits(math.inf, 0.99, 1e-2),
    "int8-weights": GroundingLimits(math.inf, 0.9, 0.05),
    "int8": GroundingLimits(math.inf, 0.9, 0.05),
}
"""By precision."""


def reference_grounder(towers: Towers, spec: GroundingSpec, bundle: Path) -> Grounder:
    """Return the PyTorch towers as a grounder, with a bundle's tokenizer."""
    sessions = {
        IMAGE_TOWER: TorchSession(towers.image, ("image",), towers.image.outputs),
        TEXT_TOWER: TorchSession(towers.text, ("input_ids",), ("query_embeds",)),
    }
    return Grounder(spec, sessions, lambda: open_phrases(bundle, spec), "torch")


@dataclass(frozen=True, slots=True, eq=False)
class GroundingTruth:
    """What bundles are compared with: a float32 model's answers to photos and phrases.

    Attributes:
        photos: the files.
        candidates: one a photo.
        scores: one a photo, ``(N, P)``.
    """

    photos: tuple[Path, ...]
    candidates: tuple[Candidates, ...]
    scores: tuple[Float32, ...]


def truth_of(
    grounder: Grounder, photos: Sequence[Path], progress: Callable[[str], None]
) -> GroundingTruth:
    """Ask a float32 grounder about photos, once for every bundle that is compared."""
    candidates = []
    for photo in photos:
        progress(f"{PYTORCH} looks at {photo.name}")
        candidates.append(grounder.encode_image(Photo(photo).read()))
    queries = grounder.encode_phrases(PHRASES)
    scores = tuple(match(found, queries) for found in candidates)
    return GroundingTruth(tuple(photos), tuple(candidates), scores)


def compare(
    truth: GroundingTruth, candidate: Grounder, progress: Callable[[str], None] = lambda _: None
) -> GroundingFidelity:
    """Measure one bundle on one engine: each photo and each phrase through both, on their own."""
    sides, overlaps, errors = [], [], []
    queries = candidate.encode_phrases(PHRASES)
    for photo, ours, scores in zip(truth.photos, truth.candidates, truth.scores, strict=True):
        progress(f"comparing on {photo.name}")
        theirs = candidate.encode_image(Photo(photo).read())
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
    )


def measure(
    bundle: Path,
    truth: GroundingTruth,
    engines: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> list[GroundingFidelity]:
    """Measure a bundle on engines, all of which must run it."""
    results = []
    for engine in engines:
        progress(f"opening {engine}")
        results.append(compare(truth, load_grounder(bundle, engine, cache=False), progress))
    return results


def refuse_misses(results: Sequence[GroundingFidelity], min_iou: float | None = None) -> None:
    """Stop an export whose measurements miss a limit.

    Args:
        results: of one bundle.
        min_iou: what the mean IoU of boxes must reach instead of all limits; None keeps them.

    Raises:
        FidelityError: naming engines and limits.
    """
    misses = []
    for found in results:
        limits = LIMITS[found.precision]
        if min_iou is not None:
            limits = GroundingLimits(math.inf, min_iou, math.inf)
        misses += limits.missed(found)
    if misses:
        raise FidelityError(
            f"the bundle does not give the boxes and scores of {PYTORCH} ({'; '.join(misses)}); "
            "nothing was written; try another --precision, or allow less with --min-iou"
        )


def table(results: Sequence[GroundingFidelity]) -> str:
    """Return the measurements as a text table."""
    first = results[0]
    head = f"against {first.reference}: {first.photos} photos, {first.phrases} phrases"
    lines = [f"{head:<46}" + "".join(f"{result.engine:>14}" for result in results)]
    rows = [
        ("box side, largest error in pixels", "box_max_px", ".2e"),
        (f"IoU of the best {BEST} boxes, mean", "box_iou_mean", ".6f"),
        ("score, largest error", "score_max_error", ".2e"),
    ]
    for label, name, form in rows:
        values = "".join(f"{format(getattr(result, name), form):>14}" for result in results)
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
