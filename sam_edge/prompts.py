"""Prompts: what a person says about one object, as values that cannot be wrong once made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.errors import PromptError
from sam_edge.image import resized_shape, to_encoder_frame

MASK_PROMPT_LOGIT = 10.0
"""The logit of a pixel that a mask prompt is sure of; SAM's own confident pixels lie near it."""


class PointLabel(IntEnum):
    """The labels of SAM's sparse prompts, as its ONNX decoder expects them."""

    PADDING = -1
    BACKGROUND = 0
    FOREGROUND = 1
    BOX_TOP_LEFT = 2
    BOX_BOTTOM_RIGHT = 3


@dataclass(frozen=True, slots=True)
class Box:
    """A box prompt: corners in pixels of the photo, XYXY.

    Raises:
        PromptError: if a corner is no finite number or the box has no area.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.x0, self.y0, self.x1, self.y1))):
            raise PromptError(f"a box needs four finite numbers, got {self}")
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise PromptError(f"a box needs x0 < x1 and y0 < y1, got {self}")

    def __str__(self) -> str:
        return f"{self.x0:g},{self.y0:g},{self.x1:g},{self.y1:g}"

    def clipped(self, height: int, width: int) -> Box:
        """Return the part of the box inside a photo.

        Raises:
            PromptError: if nothing of it is.
        """
        x0, x1 = max(0.0, self.x0), min(float(width), self.x1)
        y0, y1 = max(0.0, self.y0), min(float(height), self.y1)
        if not (x0 < x1 and y0 < y1):
            raise PromptError(f"box {self} lies outside the photo, which is {width} x {height}")
        return Box(x0, y0, x1, y1)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """Everything said about one object: any points, at most one box, at most one mask.

    Attributes:
        points: shape ``(N, 2)`` float64, x and y in the photo's pixels.
        labels: shape ``(N,)`` int64: 1 on the object, 0 not on it.
        box: or None.
        mask: ``(H, W)`` bool in the photo's pixels, or low-resolution logits ``(S/4, S/4)``
            float32 as an earlier decode returned them; or None.

    Raises:
        PromptError: if there is nothing in it, or a part is malformed.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    box: Box | None = None
    mask: NDArray[Any] | None = None

    @classmethod
    def of(
        cls,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: Box | Iterable[float] | None = None,
        mask: NDArray[Any] | None = None,
    ) -> Prompt:
        """Make a prompt from whatever is at hand.

        Args:
            points: ``[(x, y), ...]``.
            labels: one a point, 1 or 0; None means that all are on the object.
            box: a ``Box`` or ``(x0, y0, x1, y1)``.
            mask: see the class.
        """
        coords = _array(points if points is not None else [], np.float64, "points")
        if coords.size == 0:
            coords = coords.reshape(0, 2)
        if coords.ndim != 2 or coords.shape[1] != 2:
            raise PromptError(f"points must have shape (N, 2), got {coords.shape}")
        given = _array(np.ones(len(coords)) if labels is None else labels, np.float64, "labels")
        if given.shape != (len(coords),):
            raise PromptError(
                f"one label a point: got {len(coords)} points and labels of shape {given.shape}"
            )
        for label in given:
            if label not in (PointLabel.BACKGROUND, PointLabel.FOREGROUND):
                raise PromptError(
                    f"a point's label is 1 (on the object) or 0 (not on it), got {label:g}"
                )
        if not np.isfinite(coords).all():
            raise PromptError(f"points must be finite numbers, got {coords.tolist()}")
        return cls(coords, given.astype(np.int64), _box(box), _mask(mask))

    def __post_init__(self) -> None:
        if len(self.points) == 0 and self.box is None and self.mask is None:
            raise PromptError("there is no prompt: give at least a point, a box or a mask")

    @property
    def is_lone_point(self) -> bool:
        """Whether it is one point and nothing else, the most ambiguous prompt there is."""
        return len(self.points) == 1 and self.box is None and self.mask is None


def _array(values: ArrayLike, dtype: type[np.float64], name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} must be numbers, got {values!r}") from error


def _box(box: Box | Iterable[float] | None) -> Box | None:
    if box is None or isinstance(box, Box):
        return box
    corners = np.ravel(_array(np.asarray(box), np.float64, "box"))
    if len(corners) != 4:
        raise PromptError(f"a box is four numbers, x0 y0 x1 y1, got {corners.tolist()}")
    return Box(*corners.tolist())


def _mask(mask: NDArray[Any] | None) -> NDArray[Any] | None:
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.ndim == 3 and len(array) == 1:  # the official predictor's (1, 256, 256)
        array = array[0]
    if array.ndim != 2 or array.dtype not in (np.bool_, np.float32):
        raise PromptError(
            "a mask prompt is an (H, W) bool mask or float32 low-resolution logits, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise PromptError("the mask prompt's logits must be finite numbers")
    return array


def sparse_prompts(
    prompt: Prompt, original_size: tuple[int, int], input_size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lay out points and a box as the decoder's ``point_coords`` and ``point_labels``.

    Returns:
        ``point_coords`` of shape ``(N, 2)``, in the encoder's frame, and ``point_labels`` of
        shape ``(N,)``. Points come first, then the box's corners. A padding point comes last when
        there are points and no box: SAM was trained that way. A mask alone gives N = 0.

    Raises:
        PromptError: if a point or the whole box lies outside the photo.

    Source: ``segment_anything/modeling/prompt_encoder.py``, ``PromptEncoder.forward`` and
    ``_embed_points`` (``pad=(boxes is None)``).
    """
    height, width = original_size
    for x, y in prompt.points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise PromptError(
                f"point {x:g},{y:g} lies outside the photo, which is {width} x {height}"
            )
    coords = to_encoder_frame(prompt.points, original_size, input_size)
    labels = prompt.labels.astype(np.float32)
    if prompt.box is not None:
        box = prompt.box.clipped(height, width)
        corners = np.array([(box.x0, box.y0), (box.x1, box.y1)])
        coords = np.concatenate([coords, to_encoder_frame(corners, original_size, input_size)])
        labels = np.append(labels, [PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT])
    elif len(coords):
        coords = np.concatenate([coords, np.zeros((1, 2), np.float32)])
        labels = np.append(labels, [PointLabel.PADDING])
    return coords, labels.astype(np.float32)


def mask_logits(
    mask: NDArray[Any], original_size: tuple[int, int], image_size: int
) -> NDArray[np.float32]:
    """Turn a mask prompt into the decoder's ``mask_input``.

    Logits pass through. A bool mask is laid into the encoder's frame as its photo is, averaged
    over each low-resolution cell, and its share of foreground p becomes ``(2 p - 1) * 10``: SAM
    takes logits, and a mask of zeros and ones would mean "maybe" everywhere.

    Args:
        mask: ``(H, W)`` bool in the photo's pixels, or ``(S/4, S/4)`` float32 logits.
        original_size: height and width of the photo.
        image_size: the frame's side S.

    Returns:
        Shape ``(S/4, S/4)``.

    Raises:
        PromptError: if the mask has another size.
    """
    check_mask_size(mask, original_size, image_size)
    if mask.dtype == np.float32:
        return np.ascontiguousarray(mask)
    side = image_size // 4
    from PIL import Image

    height, width = resized_shape(*original_size, image_size)
    picture = Image.fromarray(mask.astype(np.float32))
    frame = np.zeros((image_size, image_size), np.float32)
    frame[:height, :width] = np.asarray(picture.resize((width, height), Image.Resampling.BOX))
    share = frame.reshape(side, 4, side, 4).mean(axis=(1, 3), dtype=np.float32)
    logits: NDArray[np.float32] = (2 * share - 1) * np.float32(MASK_PROMPT_LOGIT)
    return logits


def check_mask_size(mask: NDArray[Any], original_size: tuple[int, int], image_size: int) -> None:
    """Refuse a mask prompt of another size; the arguments are those of ``mask_logits``.

    Raises:
        PromptError: naming both sizes.
    """
    side = image_size // 4
    if mask.dtype == np.float32 and mask.shape != (side, side):
        raise PromptError(
            f"logits of a mask prompt have shape ({side}, {side}) here, got {mask.shape}"
        )
    if mask.dtype != np.float32 and mask.shape != original_size:
        raise PromptError(
            f"the mask prompt has shape {mask.shape}, the photo has {original_size} (height, width)"
        )


def group_by_length(lengths: Sequence[tuple[int, bool]]) -> list[list[int]]:
    """Group prompts that may share a decoder call: as many tokens, and all or none with a mask.

    Padding the short ones with label -1 instead would change their masks: a padding token is
    attended to like any other.

    >>> group_by_length([(2, False), (3, False), (2, False), (2, True)])
    [[0, 2], [1], [3]]
    """
    groups: dict[tuple[int, bool], list[int]] = {}
    for index, length in enumerate(lengths):
        groups.setdefault(length, []).append(index)
    return list(groups.values())
