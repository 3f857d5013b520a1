"""Mean IoU with masks that people drew, from their boxes and from one click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ImageError
from sam_edge.evaluation.truth import TrueObject, TruePhoto
from sam_edge.fields import Skip, skipping
from sam_edge.image import RgbImage, read_image
from sam_edge.masks.quality import innermost_point, iou
from sam_edge.prompts import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.text import printable


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """How well one object was found; each number is an IoU in [0, 1].

    Attributes:
        photo: file name.
        area: of the true mask, in pixels.
        box: the single mask for the true box.
        click: the candidate that the model itself scores highest, for one click.
        click_best: the best of the three candidates for that click.
    """

    photo: str
    area: int
    box: float
    click: float
    click_best: float


def evaluate(
    model: Segmenter,
    photos: Sequence[TruePhoto],
    progress: Callable[[int, int], None] | None = None,
    *,
    skip: Skip | None = None,
) -> list[ObjectScore]:
    """Segment every true object from its box and from a click on its innermost point.

    Args:
        model: what is evaluated.
        photos: with their true masks.
        progress: called as ``progress(done, total)``, in photos.
        skip: called with one line for each photo and each annotation that is bad and left out;
            None raises at the first.

    Raises:
        ImageError: if a photo cannot be read, or has another size than its truth says.
        TruthError: if an annotation cannot be read.
    """
    scores = []
    for number, photo in enumerate(photos, start=1):
        with skipping(skip, ImageError):
            embedding = model.encode_image(_pixels(photo))
            # One object at a time: three masks of every object at once would fill the memory.
            scores += [_score(model, embedding, photo, truth) for truth in photo.objects(skip=skip)]
        if progress is not None:
            progress(number, len(photos))
    return scores


def _pixels(photo: TruePhoto) -> RgbImage:
    pixels = read_image(photo.path)
    if pixels.shape[:2] != photo.size:
        raise ImageError(
            f"{printable(str(photo.path))[-300:]} is {pixels.shape[1]} x {pixels.shape[0]}, its "
            f"annotations are for {photo.size[1]} x {photo.size[0]}"
        )
    return pixels


def _score(
    model: Segmenter, embedding: ImageEmbedding, photo: TruePhoto, truth: TrueObject
) -> ObjectScore:
    (boxed,) = model.decode_batch(embedding, [Prompt.of(box=truth.box)], multimask=False)
    (clicked,) = model.decode_batch(
        embedding, [Prompt.of(points=[innermost_point(truth.mask)])], multimask=True
    )
    candidates = [iou(mask, truth.mask) for mask in clicked.masks]
    return ObjectScore(
        photo=photo.path.name,
        area=int(np.count_nonzero(truth.mask)),
        box=iou(boxed.masks[0], truth.mask),
        click=candidates[int(np.argmax(clicked.scores))],
        click_best=max(candidates),
    )
