"""Words to boxes: two towers, the photo's and the phrases', and the host code around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pickle import PicklingError
from threading import Lock
from typing import Any

import numpy as np

from sam_edge.compute import EXACT, Compute
from sam_edge.detections import Detection
from sam_edge.errors import EmbeddingError, PromptError
from sam_edge.grounding.phrases import Phrases, checked_phrases
from sam_edge.grounding.pixels import box_scale, preprocess
from sam_edge.grounding.selection import NMS_IOU, Selection, select
from sam_edge.image import ImageLike, read_image
from sam_edge.prompts import Box
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER, GroundingSpec
from sam_edge_runtimes import EngineError, Float32, Session

PHRASES_PER_CALL = 16
"""A larger batch takes more memory and is no faster a phrase."""

REMEMBERED_PHRASES = 4096
"""Phrases whose embedding is kept, 2 KB each: those that were asked first are forgotten first."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What an image tower says of one photo, for any number of phrases.

    Attributes:
        boxes: ``(N, 4)`` float32, XYXY in the photo's pixels, a box a patch; parts of them may lie
            outside the photo.
        class_embeds: ``(N, D)`` float32 of unit length: what is in each box.
        logit_shift: ``(N,)`` float32.
        logit_scale: ``(N,)`` float32, before its ELU.
        objectness: ``(N,)`` float32: the logit that there is anything, for OWLv2; else None.
        original_size: height and width of the photo.
        source_sha256: of the checkpoint.
    """

    boxes: Float32
    class_embeds: Float32
    logit_shift: Float32
    logit_scale: Float32
    objectness: Float32 | None
    original_size: tuple[int, int]
    source_sha256: str


class Grounder:
    """An open-vocabulary detector: the boxes of what words name. Any number of threads may use it.

    A grounder from ``load_grounder`` can be pickled, for a pool of workers.

    Args:
        spec: what the sessions are.
        sessions: role -> session: ``image_tower`` and ``text_tower``, whose tensors
            ``docs/bundle.md`` describes.
        phrases: opens what turns phrases into tokens, when the first is asked.
        engine: what the sessions run on, for records.
        reopen: opens the same grounder again, elsewhere; None if sessions made it.
        compute: the format that each graph is computed in, and why.
    """

    def __init__(
        self,
        spec: GroundingSpec,
        sessions: Mapping[str, Session],
        phrases: Callable[[], Phrases],
        engine: str,
        reopen: Callable[[], Grounder] | None = None,
        compute: Compute = EXACT,
    ) -> None:
        self.spec = spec
        self.engine = engine
        self.compute = compute
        self.sessions = sessions
        self._open_phrases = phrases
        self._phrases: Phrases | None = None
        self._known: dict[str, Float32] = {}
        self._lock = Lock()
        self._reopen = reopen

    def __reduce__(self) -> tuple[Callable[[Callable[[], Grounder]], Grounder], tuple[Any, ...]]:
        if self._reopen is None:
            raise PicklingError(
                "this grounder was made from open sessions, which cannot leave their process; "
                "pickle one that load_grounder opened"
            )
        return _reopened, (self._reopen,)

    def ground(
        self,
        image: ImageLike | Candidates,
        phrases: str | Iterable[str],
        *,
        exclude: str | Iterable[str] = (),
        threshold: float | None = None,
        top_k: int | None = None,
        nms_iou: float = NMS_IOU,
        best_phrase: bool = False,
    ) -> list[Detection]:
        """Find what phrases name.

        Args:
            image: a photo as for ``Model.encode_image``, or what ``encode_image`` answered.
            phrases: what to look for: short English descriptions, one or several.
            exclude: what must not match: a box that one of these fits better is left out.
            threshold: boxes with a lower score are dropped; None takes the model's.
            top_k: how many boxes of each phrase are kept, the best first; None keeps all.
            nms_iou: boxes of one phrase that overlap a better one by more than this are dropped.
            best_phrase: give a box to the phrase that fits it best, and to no other.

        Returns:
            Boxes inside the photo with their phrase as ``label`` and their ``score``, the best
            first; an empty list if there is nothing of the kind.

        Raises:
            PromptError: if a phrase is empty, has control characters or too many tokens, or is both
                wanted and excluded.
            ImageError: if it is no photo.
            ArgumentError: if a number has no meaning.
        """
        selection = Selection(
            self.spec.threshold if threshold is None else threshold, top_k, nms_iou, best_phrase
        )
        names = checked_phrases(phrases)
        rivals = [] if exclude == () or exclude == [] else checked_phrases(exclude)
        for name in rivals:
            if name in names:
                raise PromptError(f"{name!r} is both looked for and excluded")
        queries = self.encode_phrases([*names, *rivals])  # before the photo, which takes longest
        candidates = image if isinstance(image, Candidates) else self.encode_image(image)
        if candidates.source_sha256 != self.spec.source.sha256:
            raise EmbeddingError("these candidates are of another checkpoint's image tower")
        scores = match(candidates, queries)
        height, width = candidates.original_size
        limits = np.array([width, height, width, height], np.float32)
        clipped = np.clip(candidates.boxes, 0, limits)
        seen = np.flatnonzero((clipped[:, :2] < clipped[:, 2:]).all(axis=1))
        boxes, scores = clipped[seen], scores[seen]
        chosen = select(boxes, scores[:, : len(names)], scores[:, len(names) :], selection)
        return [
            Detection(Box(*boxes[box].tolist()), names[phrase], score=float(scores[box, phrase]))
            for box, phrase in chosen
        ]

    def encode_image(self, image: ImageLike) -> Candidates:
        """Look at a photo once, for any number of phrases.

        Raises:
            ImageError: if it is no photo.
        """
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        prepared = preprocess(pixels, self.spec.image)
        del pixels  # a photo can be larger than what the tower has to work with
        answer = self.sessions[IMAGE_TOWER].run({"image": prepared})
        if any(np.isnan(tensor).any() for tensor in answer.values()):
            raise EngineError("the image tower's answers are NaN: the bundle is damaged")
        centre, size = answer["boxes"][0, :, :2], answer["boxes"][0, :, 2:]
        corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        objectness = answer.get("objectness")
        return Candidates(
            boxes=corners * box_scale((height, width), self.spec.image),
            class_embeds=answer["class_embeds"][0],
            logit_shift=answer["logit_shift"][0],
            logit_scale=answer["logit_scale"][0],
            objectness=None if objectness is None else objectness[0],
            original_size=(height, width),
            source_sha256=self.spec.source.sha256,
        )

    def encode_phrases(self, phrases: Iterable[str]) -> Float32:
        """Return the embeddings of phrases, ``(P, D)`` float32 of unit length.

        Each phrase goes through the text tower once in this grounder's life.

        Raises:
            PromptError: as for ``ground``.
        """
        names = checked_phrases(phrases)
        with self._lock:
            if self._phrases is None:
                self._phrases = self._open_phrases()
            known = {name: self._known[name] for name in names if name in self._known}
            tokens = {name: self._phrases.tokens(name) for name in names if name not in known}
        new = list(tokens)
        for start in range(0, len(new), PHRASES_PER_CALL):
            group = new[start : start + PHRASES_PER_CALL]
            ids = np.stack([tokens[name] for name in group])
            answer = self.sessions[TEXT_TOWER].run({"input_ids": ids})["query_embeds"]
            if np.isnan(answer).any():
                raise EngineError("the text tower's answers are NaN: the bundle is damaged")
            known |= dict(zip(group, answer.copy(), strict=True))
        with self._lock:
            self._known |= {name: known[name] for name in new}
            for name in list(self._known)[: len(self._known) - REMEMBERED_PHRASES]:
                del self._known[name]
        return np.stack([known[name] for name in names])


def match(candidates: Candidates, query_embeds: Float32) -> Float32:
    """Return how well each candidate fits each phrase: ``(N, P)`` float32, in [0, 1].

    Args:
        candidates: a photo's.
        query_embeds: ``(P, D)`` of unit length.

    Source: ``OwlViTClassPredictionHead`` and ``post_process_object_detection`` of transformers.
    """
    cosine = candidates.class_embeds @ query_embeds.T
    # ELU + 1: always positive
    scale = np.where(
        candidates.logit_scale > 0,
        candidates.logit_scale + 1,
        np.exp(np.minimum(candidates.logit_scale, 0)),
    )
    logits = (cosine + candidates.logit_shift[:, None]) * scale[:, None]
    # The same as 1 / (1 + exp(-x)), which would overflow
    scores: Float32 = (0.5 * (1 + np.tanh(0.5 * logits))).astype(np.float32)
    return scores


def _reopened(reopen: Callable[[], Grounder]) -> Grounder:
    return reopen()
