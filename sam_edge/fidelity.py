"""How faithful a bundle is: the same photos and prompts through it and through a float32 model."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.compute import LEAST_IOU, LEAST_IOU_P05, format_name
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ImageError, SamEdgeError
from sam_edge.image import resized_shape
from sam_edge.masks.quality import iou
from sam_edge.model import Model
from sam_edge.photos import Photo
from sam_edge.prompts import Prompt
from sam_edge.segmenter import Segmentation
from sam_edge.spec import ModelSpec
from sam_edge_runtimes import FLOAT32, FORMATS

logger = logging.getLogger("sam_edge")

PYTORCH = "float32 PyTorch"


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What was measured of a bundle on one engine.

    Attributes:
        engine: its name.
        engine_version: its version.
        precision: of the bundle.
        frame: of the bundle. The reference always encodes the whole square.
        photos: how many.
        prompts: how many, over all photos.
        embedding_rel_l2: relative L2 error of the embedding, the worst photo's.
        logits_rel_l2: relative L2 error of the low-resolution logits, the mean over prompts.
        equal_pixels: share of equal mask pixels, over all masks.
        mask_iou_mean: mean IoU of the masks; two empty masks count 1.
        mask_iou_p05: its 5th percentile.
        score_max_error: largest difference of a predicted IoU.
        reference: what was compared with.
        compute: the format that each graph computed in, by role.
    """

    engine: str
    engine_version: str
    precision: str
    frame: str
    photos: int
    prompts: int
    embedding_rel_l2: float
    logits_rel_l2: float
    equal_pixels: float
    mask_iou_mean: float
    mask_iou_p05: float
    score_max_error: float
    reference: str = PYTORCH
    compute: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The engine, with the format if it is a reduced one."""
        reduced = format_name(self.compute)
        return self.engine if reduced == FLOAT32 else f"{self.engine} {FORMATS[reduced]}"

    def record(self) -> dict[str, Any]:
        """Return the manifest's entry. What is not finite, which no limit allows, is None: JSON."""
        return finite_or_none(asdict(self))


def finite_or_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with None for every float that is not finite, as JSON has no word for those.

    >>> finite_or_none({"error": math.inf, "photos": 3})
    {'error': None, 'photos': 3}
    """
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


@dataclass(frozen=True, slots=True)
class Limits:
    """What a bundle must reach. None: not asked of this precision."""

    embedding_rel_l2: float
    equal_pixels: float
    score_max_error: float
    mask_iou_mean: float
    mask_iou_p05: float

    def missed(self, fidelity: Fidelity) -> list[str]:
        """Say in words which limits a measurement misses."""
        over = ("embedding_rel_l2", "score_max_error")
        under = ("equal_pixels", "mask_iou_mean", "mask_iou_p05")
        found = {name: (getattr(fidelity, name), getattr(self, name)) for name in (*over, *under)}
        return [
            f"{name} {value:.6g} is not within {limit:g}"
            for name, (value, limit) in found.items()
            # "not <=" so that a NaN is a miss, too
            if not (value <= limit if name in over else value >= limit)
        ]


@dataclass(frozen=True)
class Truth:
    """What bundles are compared with: a float32 model, and its embeddings of the photos.

    Attributes:
        model: the float32 model.
        photos: the files.
        embeddings: one a photo, 4 MiB each at 1024 pixels.
        reference: what the model is, for messages and the manifest.
    """

    model: Model
    photos: tuple[Path, ...]
    embeddings: tuple[ImageEmbedding, ...]
    reference: str = PYTORCH


def truth_of(
    model: Model,
    photos: Sequence[Path],
    spec: ModelSpec,
    progress: Callable[[str], None] = lambda _: None,
    reference: str = PYTORCH,
) -> Truth:
    """Encode the photos with a float32 model, once for every bundle that is compared.

    Args:
        model: the float32 model.
        photos: the files.
        spec: of the bundle. One of photo frames is not asked about photos that fill the square,
            where nothing is left out.
        progress: told what is being done.
        reference: as in ``Truth``.

    Returns:
        The truth on those photos that can be read. The log names the others.

    Raises:
        SamEdgeError: if no photo can be read, or there is nothing to ask a bundle of photo frames.
    """
    asked, embeddings = [], []
    unread = 0
    for photo in photos:
        try:
            pixels = Photo(photo).read()
        except (ImageError, MemoryError) as error:
            logger.warning("%s; left out", error if str(error) else f"{photo}: out of memory")
            unread += 1
            continue
        height, width = pixels.shape[:2]
        shape = spec.frame_shape(resized_shape(height, width, spec.image_size))
        if spec.image.frame == "photo" and shape == (spec.image_size, spec.image_size):
            continue
        progress(f"{reference} encodes {photo.name}")
        asked.append(photo)
        embeddings.append(model.encode_image(pixels))
    if unread == len(photos):
        raise SamEdgeError(f"none of {unread} photos can be read; name others with --images")
    if not asked:
        raise SamEdgeError(
            "every photo fills the square frame, so --frame photo leaves nothing out of it; name "
            "photos of other shapes with --images"
        )
    return Truth(model, tuple(asked), tuple(embeddings), reference)


MASKS_ALONE = Limits(math.inf, 0, math.inf, LEAST_IOU, LEAST_IOU_P05)
"""For what is known to change the numbers, so that only the masks are asked."""

LIMITS = {
    "fp32": Limits(1e-5, 0.9999, 1e-3, 0.999, 0.99),
    # Weights rounded to 11 bits: relative 2^-12 each, which adds up over the depth of a ViT.
    "fp16": Limits(5e-3, 0.999, 2e-2, 0.99, 0.95),
    "int8": MASKS_ALONE,
    "int8-weights": MASKS_ALONE,
}
"""Of bundles with a square frame, by precision; of others ``MASKS_ALONE``."""


def prompts_for(height: int, width: int) -> list[Prompt]:
    """Return the prompts that each photo is asked: a point, two points, a box, box and correction.

    They stand at fixed fractions of the photo, so that every run asks the same.
    """

    def at(x: float, y: float) -> tuple[float, float]:
        return x * width, y * height

    box = (*at(0.2, 0.15), *at(0.75, 0.8))
    return [
        Prompt.of([at(0.5, 0.5)]),
        Prompt.of([at(0.3, 0.4), at(0.7, 0.6)], [1, 0]),
        Prompt.of(box=box),
        Prompt.of([at(0.25, 0.75)], [0], box=box),
    ]


def compare(
    truth: Truth,
    candidate: Model,
    engine_version: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Fidelity:
    """Measure one bundle on one engine.

    Args:
        truth: a float32 model, and the photos.
        candidate: the bundle.
        engine_version: for the record.
        progress: told what is being done.

    Returns:
        The measurements. Each photo is encoded and decoded by both sides on their own; the
        refinement prompt gives both sides the reference's logits.
    """
    embedding_errors, logits_errors, score_errors, ious = [], [], [], []
    equal = total = prompts = 0
    for photo, ours in zip(truth.photos, truth.embeddings, strict=True):
        progress(f"comparing on {photo.name}")
        theirs = candidate.encode_image(photo)
        embedding_errors.append(_largest_error(theirs.features, ours.features))
        for one, other in _answers(truth.model, candidate, ours, theirs):
            prompts += 1
            logits_errors.append(relative_l2(other.low_res_logits, one.low_res_logits))
            score_errors.append(float(np.abs(one.scores - other.scores).max()))
            equal += int(np.count_nonzero(one.masks == other.masks))
            total += one.masks.size
            ious += [iou(a, b) for a, b in zip(one.masks, other.masks, strict=True)]
    return Fidelity(
        engine=candidate.engine,
        engine_version=engine_version,
        precision=candidate.spec.precision,
        frame=candidate.spec.image.frame,
        photos=len(truth.photos),
        prompts=prompts,
        embedding_rel_l2=max(embedding_errors),
        logits_rel_l2=float(np.mean(logits_errors)),
        equal_pixels=equal / total,
        mask_iou_mean=float(np.mean(ious)),
        mask_iou_p05=float(np.percentile(ious, 5)),
        score_max_error=max(score_errors),
        reference=truth.reference,
        compute=dict(candidate.compute.formats),
    )


def _largest_error(theirs: Mapping[str, NDArray[Any]], ours: Mapping[str, NDArray[Any]]) -> float:
    """Return the largest relative error of the tensors that the encoders answer."""
    return max(relative_l2(theirs[name], tensor) for name, tensor in ours.items())


def _answers(
    reference: Model, candidate: Model, ours: ImageEmbedding, theirs: ImageEmbedding
) -> Iterator[tuple[Segmentation, Segmentation]]:
    for prompt in prompts_for(*ours.original_size):
        for multimask in (True, False):
            one = reference.decode_batch(ours, [prompt], multimask)[0]
            other = candidate.decode_batch(theirs, [prompt], multimask)[0]
            yield one, other
        refined = Prompt(prompt.points, prompt.labels, prompt.box, one.low_res_logits[0])
        yield (
            reference.decode_batch(ours, [refined], False)[0],
            candidate.decode_batch(theirs, [refined], False)[0],
        )


def relative_l2(value: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Return ``|value - truth| / |truth|`` in the Euclidean norm; of nothing, nothing is lost.

    >>> relative_l2(np.float32([3, 4.5]), np.float32([3, 4]))
    0.1
    """
    error, size = float(np.linalg.norm(value - truth)), float(np.linalg.norm(truth))
    if size == 0:
        return math.inf if error else 0.0
    return error / size
