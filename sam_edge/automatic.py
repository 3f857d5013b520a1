"""Everything in a photo: a grid of points, the official filters, no torch.

The official generator resizes every candidate mask to the photo before it looks at the scores.
Here the predicted IoU is looked at first, on the decoder's raw output; stability is counted on
the photo's pixels as the official definition says, but only where a mask's outline runs (see
``sam_edge.masks.upsample``); and a mask that stays is kept as run lengths.

Source: ``segment_anything/automatic_mask_generator.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Literal, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from sam_edge.ahead import answers
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import SamEdgeError
from sam_edge.image import ImageLike, RgbImage, read_image, to_encoder_frame
from sam_edge.masks import CocoRle, Mask, Rle, area, decode_rle, encode_window, to_coco_rle
from sam_edge.masks.boxes import (
    CropBox,
    crop_boxes,
    is_near_crop_edge,
    layer_point_grids,
    non_maximum_suppression,
)
from sam_edge.masks.regions import remove_small_regions_rle
from sam_edge.masks.rle import rle_to_box
from sam_edge.masks.upsample import Window, tiled
from sam_edge.prompts import PointLabel
from sam_edge.segmenter import MEMORY_LIMIT
from sam_edge.spec import ModelSpec
from sam_edge.text import shown
from sam_edge_runtimes import Float32
from sam_edge_runtimes.threads import cores_here

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]
OUTPUT_MODES: tuple[OutputMode, ...] = ("binary_mask", "uncompressed_rle", "coco_rle")

_LARGEST_BATCH = 64

# Coarse-first looks at every fourth point of the grid, then at every second, then at all.
COARSE_STRIDES = (4, 2)

COARSE_LARGEST_SHARE = 0.25
"""A mask above this share of the photo is likely to have things in it: its points stay."""


MOST_POINTS_PER_SIDE = 1024
MOST_POINTS_PER_BATCH = 4096
MOST_CROP_LAYERS = 5
"""Each layer has four times as many crops as the one before: five have 1,364."""


class CancelledError(SamEdgeError, RuntimeError):
    """The caller asked to stop."""


class GeneratorError(SamEdgeError, ValueError):
    """Arguments of the automatic generator that cannot be meant, or do not fit together."""


class MaskRecord(TypedDict):
    """One mask, with the official generator's keys.

    Attributes:
        segmentation: the mask, as ``output_mode`` says.
        area: in pixels.
        bbox: XYWH in pixels, from the first to the last column and row.
        predicted_iou: the model's own estimate of the mask's quality.
        point_coords: ``[[x, y]]`` of the point that gave the mask, in the photo's pixels.
        stability_score: see ``SamAutomaticMaskGenerator``.
        crop_box: XYWH of the crop it was found in.
    """

    segmentation: Mask | Rle | CocoRle
    area: int
    bbox: list[int]
    predicted_iou: float
    point_coords: list[list[float]]
    stability_score: float
    crop_box: list[int]


class PointDecoder(Protocol):
    """What the generator needs of a model; ``sam_edge.Model`` has it."""

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        ...

    def encode_image(self, image: ImageLike) -> ImageEmbedding:
        """Encode a photo once, for any number of prompts."""
        ...

    def decode_tensors(
        self,
        embedding: ImageEmbedding,
        point_coords: Float32,
        point_labels: Float32,
        mask_input: Float32 | None = None,
    ) -> tuple[Float32, Float32]:
        """Run the decoder on a batch of prompts; see ``Model.decode_tensors``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A mask that passed the filters, in the photo's pixels."""

    rle: Rle
    box: tuple[int, int, int, int]
    predicted_iou: np.float32
    stability_score: np.float32
    point: tuple[float, float]
    crop: CropBox


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    """What the decoder says of points of a crop.

    Attributes:
        points: shape ``(B, 2)``, x and y in the crop's pixels.
        passed: how many points of the grid are done with then, with those that are covered.
        low_res: logits, shape ``(B, K, s, s)``.
        scores: predicted IoUs, shape ``(B, K)``.
    """

    points: NDArray[np.float64]
    passed: int
    low_res: Float32
    scores: Float32


@dataclass(slots=True)
class _Work:
    """How far a photo is, for the caller who watches it."""

    total: int
    progress: Callable[[int, int], None] | None
    cancelled: Callable[[], bool] | None
    done: int = 0

    def advance(self, points: int) -> None:
        self.done += points
        if self.progress is not None:
            self.progress(self.done, self.total)

    def stop_if_cancelled(self) -> None:
        if self.cancelled is not None and self.cancelled():
            raise CancelledError(f"stopped after {self.done} of {self.total} points")


class SamAutomaticMaskGenerator:
    """Segments everything in a photo. The arguments are the official generator's.

    Args:
        model: from ``sam_edge.load_model``.
        points_per_side: side of the point grid; None if ``point_grids`` gives the points.
        points_per_batch: points per decoder call; None for as many as ``memory_ceiling_bytes``
            allows, up to 64.
        pred_iou_thresh: masks whose predicted IoU is not above it are dropped; 0 keeps all; None is
            the model's own, ``ModelSpec.everything``: officially 0.88.
        stability_score_thresh: masks with a lower stability are dropped; 0 keeps all; None is the
            model's own: officially 0.95. The
            stability is the IoU of the mask cut at ``mask_threshold`` plus and minus
            ``stability_score_offset``; a mask that is empty at both has 0 (officially: nan).
        stability_score_offset: in logits.
        box_nms_thresh: of two masks of one crop whose boxes' IoU is above it, the one with the
            lower predicted IoU is dropped.
        crop_n_layers: layers of crops beyond the photo itself; layer n has ``4**n``.
        crop_nms_thresh: as ``box_nms_thresh``, between crops; smaller crops win.
        crop_overlap_ratio: overlap of the first layer's crops, as a share of the short side.
        crop_n_points_downscale_factor: layer n has a grid sparser by this factor to the n.
        point_grids: one array of points a layer, ``(N, 2)`` in the unit square, x and y.
        min_mask_region_area: islands and holes with fewer pixels are removed; 0 keeps them.
        output_mode: ``binary_mask`` ``(H, W)`` bool, ``uncompressed_rle`` or ``coco_rle``.
        coarse_first: look at every fourth point first and skip points that a mask already found
            covers. Several times fewer points; what lies inside a mask already found may be
            missed. Not in the official code.
        memory_ceiling_bytes: for one decoder call.

    Raises:
        GeneratorError: if an argument is out of its range, or they do not fit together. Numbers
            are finite and not negative; suppression thresholds and the overlap lie in [0, 1].
    """

    def __init__(
        self,
        model: PointDecoder,
        points_per_side: int | None = 32,
        points_per_batch: int | None = None,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[np.float64]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
        *,
        coarse_first: bool = False,
        memory_ceiling_bytes: int = MEMORY_LIMIT,
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise GeneratorError("give either points_per_side or point_grids")
        if output_mode not in OUTPUT_MODES:
            raise GeneratorError(
                f"output_mode is one of {', '.join(OUTPUT_MODES)}, got {shown(output_mode)}"
            )
        if points_per_batch is not None:
            _check_whole("points_per_batch", points_per_batch, 1, MOST_POINTS_PER_BATCH)
        _check_whole("memory_ceiling_bytes", memory_ceiling_bytes, 1, sys.maxsize)
        _check_whole("crop_n_layers", crop_n_layers, 0, MOST_CROP_LAYERS)
        _check_whole(
            "crop_n_points_downscale_factor",
            crop_n_points_downscale_factor,
            1,
            MOST_POINTS_PER_SIDE,
        )
        usual = model.spec.everything
        if pred_iou_thresh is None:
            pred_iou_thresh = usual.pred_iou_thresh
        if stability_score_thresh is None:
            stability_score_thresh = usual.stability_score_thresh
        for name, value, highest in (
            ("pred_iou_thresh", pred_iou_thresh, inf),
            ("stability_score_thresh", stability_score_thresh, inf),
            ("stability_score_offset", stability_score_offset, inf),
            ("box_nms_thresh", box_nms_thresh, 1),
            ("crop_nms_thresh", crop_nms_thresh, 1),
            ("crop_overlap_ratio", crop_overlap_ratio, 1),
            ("min_mask_region_area", min_mask_region_area, 1e15),
        ):
            _check_real(name, value, highest)
        grids = _point_grids(point_grids)
        if points_per_side is not None:
            _check_whole("points_per_side", points_per_side, 1, MOST_POINTS_PER_SIDE)
            if points_per_side < crop_n_points_downscale_factor**crop_n_layers:
                raise GeneratorError(
                    f"crop layer {crop_n_layers} would have no points: points_per_side "
                    f"{points_per_side} is less than crop_n_points_downscale_factor "
                    f"{crop_n_points_downscale_factor} to the {crop_n_layers}; lower one"
                )
            grids = layer_point_grids(
                points_per_side, crop_n_layers, crop_n_points_downscale_factor
            )
        elif coarse_first:
            raise GeneratorError("coarse_first needs points_per_side: point_grids have no rows")
        if len(grids) <= crop_n_layers:
            raise GeneratorError(
                f"{crop_n_layers} crop layers need {crop_n_layers + 1} point grids, "
                f"got {len(grids)}"
            )
        self.model = model
        self.point_grids = grids
        self.points_per_batch = points_per_batch or _batch_size(model.spec, memory_ceiling_bytes)
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.min_mask_region_area = min_mask_region_area
        self.output_mode = output_mode
        self.coarse_first = coarse_first

    def generate(
        self,
        image: ImageLike,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> list[MaskRecord]:
        """Segment everything in a photo.

        Args:
            image: whatever ``Model.encode_image`` takes.
            progress: called as ``progress(done, total)``, in points, after each decoder call.
            cancelled: asked before each encoder and decoder call; True stops the work.

        Returns:
            One record a mask, the best predicted IoU first (with crops: the smallest crops').

        Raises:
            ImageError: if it is no photo.
            CancelledError: if ``cancelled`` said so.
        """
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        crops = crop_boxes((height, width), self.crop_n_layers, self.crop_overlap_ratio)
        total = sum(len(self.point_grids[layer]) for _, layer in crops)
        work = _Work(total, progress, cancelled)
        found: list[_Candidate] = []
        for crop, layer in crops:
            found += self._crop(pixels, crop, self.point_grids[layer], work)
        if len(crops) > 1:
            sizes = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (item.crop for item in found)]
            found = _suppress(
                found, np.reciprocal(np.array(sizes, np.float32)), self.crop_nms_thresh
            )
        if self.min_mask_region_area > 0:
            found = self._without_small_regions(found)
        return [self._record(candidate) for candidate in found]

    def _crop(
        self, pixels: RgbImage, crop: CropBox, grid: NDArray[np.float64], work: _Work
    ) -> list[_Candidate]:
        """Segment one crop and drop its duplicates."""
        x0, y0, x1, y1 = crop
        size = (pixels.shape[0], pixels.shape[1])
        work.stop_if_cancelled()
        embedding = self.model.encode_image(pixels[y0:y1, x0:x1])
        points = grid * (x1 - x0, y1 - y0)
        covered = np.zeros(len(points), np.bool_)
        found: list[_Candidate] = []

        def calls() -> Iterator[Callable[[], _Decoded]]:
            for waiting in self._levels(len(points)):
                while len(waiting):
                    work.stop_if_cancelled()
                    fresh = waiting[~covered[waiting]]
                    batch, rest = np.split(fresh, [self.points_per_batch])
                    passed = len(waiting) - len(rest)
                    if len(batch):
                        yield partial(self._decode, embedding, points[batch], passed)
                    else:
                        work.advance(passed)
                    waiting = rest

        # Coarse first, which points come next depends on the masks that were found.
        ahead = not self.coarse_first and cores_here() > 1
        for decoded in answers(calls(), ahead=ahead):
            for candidate, window in self._masks(embedding, decoded, crop, size):
                found.append(candidate)
                if self.coarse_first and area(candidate.rle) <= _settled_area(crop):
                    covered |= window.covers(points)
            work.advance(decoded.passed)
        scores = np.array([candidate.predicted_iou for candidate in found], np.float32)
        return _suppress(found, scores, self.box_nms_thresh)

    def _levels(self, points: int) -> list[NDArray[np.intp]]:
        """Return the order in which a grid's points are looked at."""
        if not self.coarse_first:
            return [np.arange(points)]
        side = round(points**0.5)
        column, row = np.arange(points) % side, np.arange(points) // side
        levels = []
        seen = np.zeros(points, np.bool_)
        for stride in COARSE_STRIDES:
            middle = stride // 2
            level = (column % stride == middle) & (row % stride == middle) & ~seen
            seen |= level
            levels.append(np.flatnonzero(level))
        return [*levels, np.flatnonzero(~seen)]

    def _decode(
        self, embedding: ImageEmbedding, points: NDArray[np.float64], passed: int
    ) -> _Decoded:
        coords = np.zeros((len(points), 2, 2), np.float32)
        coords[:, 0] = to_encoder_frame(points, embedding.original_size, embedding.input_size)
        # A padding point follows: SAM was trained that way where there is no box.
        labels = np.full((len(points), 2), PointLabel.FOREGROUND, np.float32)
        labels[:, 1] = PointLabel.PADDING
        return _Decoded(points, passed, *self.model.decode_tensors(embedding, coords, labels))

    def _masks(
        self, embedding: ImageEmbedding, decoded: _Decoded, crop: CropBox, size: tuple[int, int]
    ) -> Iterator[tuple[_Candidate, Window]]:
        """Yield the masks that pass every filter but suppression.

        Args:
            embedding: the crop's.
            decoded: what the decoder says of some of its points.
            crop: where it lies in the photo.
            size: ``(H, W)`` of the photo.
        """
        scores = decoded.scores
        candidates = np.array(self.model.spec.masks.candidates)
        prompt, output = np.nonzero(
            scores[:, candidates] > self.pred_iou_thresh
            if self.pred_iou_thresh > 0
            else np.ones((len(scores), len(candidates)), np.bool_)
        )
        predicted_iou = scores[prompt, candidates[output]]
        threshold = self.model.spec.masks.threshold
        left, top = crop[:2]
        seen = 0
        for tiles in tiled(
            decoded.low_res[prompt, candidates[output]],
            input_size=embedding.input_size,
            image_size=embedding.image_size,
            original_size=embedding.original_size,
            lowest=threshold - self.stability_score_offset,
            highest=threshold + self.stability_score_offset,
        ):
            stability = tiles.stability(threshold, self.stability_score_offset)
            for index, score in enumerate(stability):
                number, seen = seen, seen + 1
                if 0 < self.stability_score_thresh > score:
                    continue
                window = tiles.window(index, threshold)
                x0, y0, x1, y1 = window.box()
                box = (x0 + left, y0 + top, x1 + left, y1 + top)
                if is_near_crop_edge(np.array([box], np.float32), crop, size)[0]:
                    continue
                rle = encode_window(
                    window.pixels, top=window.top + top, left=window.left + left, size=size
                )
                x, y = (decoded.points[prompt[number]] + (left, top)).tolist()
                yield (
                    _Candidate(rle, box, predicted_iou[number], score, (x, y), crop),
                    window,
                )

    def _without_small_regions(self, found: list[_Candidate]) -> list[_Candidate]:
        """Remove small islands and holes, and the duplicates that this makes."""
        cleaned = []
        untouched = []
        for candidate in found:
            rle, filled = remove_small_regions_rle(
                candidate.rle, self.min_mask_region_area, "holes"
            )
            rle, cut = remove_small_regions_rle(rle, self.min_mask_region_area, "islands")
            untouched.append(not (filled or cut))
            cleaned.append(replace(candidate, rle=rle, box=rle_to_box(rle)))
        # Masks that needed no repair win.
        return _suppress(
            cleaned,
            np.array(untouched, np.float32),
            max(self.box_nms_thresh, self.crop_nms_thresh),
        )

    def _record(self, candidate: _Candidate) -> MaskRecord:
        segmentation: Mask | Rle | CocoRle = candidate.rle
        if self.output_mode == "binary_mask":
            segmentation = decode_rle(candidate.rle)
        elif self.output_mode == "coco_rle":
            segmentation = to_coco_rle(candidate.rle)
        return {
            "segmentation": segmentation,
            "area": area(candidate.rle),
            "bbox": _xywh(candidate.box),
            "predicted_iou": float(candidate.predicted_iou),
            "point_coords": [list(candidate.point)],
            "stability_score": float(candidate.stability_score),
            "crop_box": _xywh(candidate.crop),
        }


def _check_whole(name: str, value: object, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise GeneratorError(f"{name} must be a whole number, got {shown(value)}")
    if not lowest <= value <= highest:
        least = f"at least {lowest}" if value < lowest else f"at most {highest}"
        raise GeneratorError(f"{name} must be {least}, got {shown(value)}")


def _check_real(name: str, value: object, highest: float) -> None:
    """Refuse what is no number, NaN, infinite, negative or above ``highest``."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    # Compared as it is: a Python integer may be larger than any float.
    if not real or not 0 <= value <= highest or value == inf:  # type: ignore[operator]
        bounds = "a number from 0 up" if highest == inf else f"between 0 and {highest}"
        raise GeneratorError(f"{name} must be {bounds}, got {shown(value)}")


def _point_grids(layers: object) -> list[NDArray[np.float64]]:
    """Return the points of each layer, once they are points in the unit square; none of None."""
    if layers is None:
        return []
    if not isinstance(layers, list | tuple | np.ndarray):
        raise GeneratorError(f"point_grids is a list of arrays, not {type(layers).__name__}")
    grids = []
    for layer in layers:
        try:
            grid = np.asarray(layer, np.float64)
        except (TypeError, ValueError, OverflowError):
            grid = np.zeros(0)
        if grid.ndim != 2 or grid.shape[1] != 2 or len(grid) > MOST_POINTS_PER_SIDE**2:
            raise GeneratorError(
                f"a point grid is numbers of shape (N, 2), N up to {MOST_POINTS_PER_SIDE**2}, "
                f"got {type(layer).__name__} of shape {grid.shape}"
            )
        if not ((grid >= 0) & (grid <= 1)).all():  # NaN is neither
            raise GeneratorError("the points of a point grid lie in the unit square, from 0 to 1")
        grids.append(grid)
    return grids


def _batch_size(spec: ModelSpec, memory_ceiling_bytes: int) -> int:
    return max(1, min(_LARGEST_BATCH, memory_ceiling_bytes // spec.decoder_bytes()))


def _suppress(
    found: list[_Candidate], scores: NDArray[np.float32], iou_threshold: float
) -> list[_Candidate]:
    boxes = np.array([candidate.box for candidate in found], np.float32).reshape(-1, 4)
    kept = non_maximum_suppression(boxes, scores, iou_threshold)
    return [found[index] for index in kept]


def _settled_area(crop: CropBox) -> float:
    """Return the area up to which a mask is taken for one thing, in pixels."""
    x0, y0, x1, y1 = crop
    return COARSE_LARGEST_SHARE * (x1 - x0) * (y1 - y0)


def _xywh(box: tuple[int, int, int, int]) -> list[int]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]
