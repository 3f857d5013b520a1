"""Which of a detector's candidate boxes are kept, and for which phrase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import ArgumentError
from sam_edge.masks import Rle, non_maximum_suppression
from sam_edge_runtimes import Float32

NMS_IOU = 0.5
"""Boxes of one phrase whose intersection over union is more than this are one object."""

DUPLICATE_IOU = 0.8
"""Masks that overlap by more than this are one object, whatever phrases found it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which boxes are wanted.

    Attributes:
        threshold: boxes with a lower score are dropped; in [0, 1].
        top_k: how many boxes of each phrase are kept, the best first; None keeps all.
        nms_iou: boxes of one phrase that overlap a better one by more than this are dropped; 1
            keeps all.
        best_phrase: whether a box is given to the phrase with its highest score alone.

    Raises:
        ArgumentError: if a number has no meaning.
    """

    threshold: float
    top_k: int | None = None
    nms_iou: float = NMS_IOU
    best_phrase: bool = False

    def __post_init__(self) -> None:
        for name in ("threshold", "nms_iou"):
            value = getattr(self, name)
            if not 0 <= value <= 1:  # nor is a NaN
                raise ArgumentError(f"{name} is a number from 0 to 1, got {value!r}")
        if self.top_k is not None and self.top_k < 1:
            raise ArgumentError(f"top_k must be at least 1, got {self.top_k!r}")


def select(
    boxes: Float32, wanted: Float32, unwanted: Float32, selection: Selection
) -> list[tuple[int, int]]:
    """Choose boxes.

    A box is dropped where an unwanted phrase scores at least as high as the wanted one, or where
    it overlaps, by more than ``nms_iou``, a box that an unwanted phrase scores higher.

    Args:
        boxes: shape ``(N, 4)``, XYXY.
        wanted: shape ``(N, P)``: how well each box fits each phrase.
        unwanted: shape ``(N, Q)``, the same for what must not match; Q may be 0.
        selection: which are wanted.

    Returns:
        Pairs of a box's and a phrase's index, the best score first.
    """
    rival = unwanted.max(axis=1, initial=-np.inf)
    best = wanted.argmax(axis=1)
    chosen: list[tuple[int, int]] = []
    for phrase in range(wanted.shape[1]):
        scores = wanted[:, phrase]
        fits = scores >= selection.threshold
        if selection.best_phrase:
            fits &= best == phrase
        # An unwanted box takes part, and takes its neighbours with it; it is left out at the end.
        scored = np.where(rival >= scores, rival, scores)
        fits |= rival >= selection.threshold
        asked = np.flatnonzero(fits)
        kept = asked[non_maximum_suppression(boxes[asked], scored[asked], selection.nms_iou)]
        kept = kept[(rival[kept] < scores[kept]) & (scores[kept] >= selection.threshold)]
        if selection.best_phrase:
            kept = kept[best[kept] == phrase]
        chosen += [(int(box), phrase) for box in kept[: selection.top_k]]
    return sorted(chosen, key=lambda pair: -wanted[pair])


def without_duplicates(
    masks: Sequence[Rle], scores: Sequence[float], iou: float = DUPLICATE_IOU
) -> list[int]:
    """Return which masks are kept where several show one object: that of the highest score.

    Args:
        masks: of one photo.
        scores: one a mask.
        iou: masks that overlap a better one by more than this, as intersection over union, are
            dropped; 1 keeps all.

    Returns:
        Their indices, in the given order.

    Raises:
        ArgumentError: if ``iou`` is not from 0 to 1.
    """
    if not 0 <= iou <= 1:
        raise ArgumentError(f"the overlap of duplicates is a number from 0 to 1, got {iou!r}")
    runs = [_runs(mask) for mask in masks]
    kept: list[int] = []
    for index in sorted(range(len(masks)), key=lambda index: -scores[index]):
        if all(_overlap(runs[index], runs[better]) <= iou for better in kept):
            kept.append(index)
    return sorted(kept)


_Runs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where each run of foreground starts and where it ends."""


def _runs(mask: Mapping[str, list[int]] | Rle) -> _Runs:
    ends = np.cumsum(np.asarray(mask["counts"], np.int64))
    starts = ends[0::2][: len(ends) // 2]
    return starts, ends[1::2]


def _overlap(one: _Runs, other: _Runs) -> float:
    """Return the intersection of two masks over their union; two empty ones are the same."""
    areas = [int((ends - starts).sum()) for starts, ends in (one, other)]
    if min(areas) == 0:
        return float(areas[0] == areas[1])
    starts, ends = one
    # How much foreground of the first lies before each pixel: exact, as float64 is to 2^53.
    places = np.stack([starts, ends], axis=1).ravel()
    before = np.stack(
        [np.cumsum(ends - starts) - (ends - starts), np.cumsum(ends - starts)], axis=1
    )
    shared = np.interp(other[1], places, before.ravel()) - np.interp(
        other[0], places, before.ravel()
    )
    intersection = float(shared.sum())
    return intersection / (sum(areas) - intersection)
