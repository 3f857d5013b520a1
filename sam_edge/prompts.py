"""Prompts: what a person says about one object, as values that cannot be wrong once made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.errors import PromptError
from sam_edge.image import to_encoder_frame
from sam_edge.text import printable

MASK_PROMPT_LOGIT = 10.0
"""The logit of a pixel that a mask prompt is sure of; SAM's own confident pixels lie near it."""

MAX_POINTS = 500
"""Points of one prompt at most: decoding takes 0.64 MB for each, 12.8 GB for 20,000."""


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
        corners = as_array((self.x0, self.y0, self.x1, self.y1), "a box's corners")
        if corners.shape != (4,) or not np.isfinite(corners).all():
            raise PromptError(f"a box needs four finite numbers, got {_short(corners)}")
        for name, corner in zip(self.__slots__, corners.tolist(), strict=True):
            object.__setattr__(self, name, corner)
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
        PromptError: if there is nothing in it, more than ``MAX_POINTS`` points, an empty mask, or a
            part that is malformed.
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
        coords = _points([] if points is None else points)
        given = np.ones(len(coords), np.int64) if labels is None else _labels(labels)
        return cls(coords, given, _box(box), mask)

    def __post_init__(self) -> None:
        points, labels = _points(self.points), _labels(self.labels)
        if labels.shape != (len(points),):
            raise PromptError(
                f"one label a point: got {len(points)} points and labels of shape {labels.shape}"
            )
        if len(points) == 0 and self.box is None and self.mask is None:
            raise PromptError("there is no prompt: give at least a point, a box or a mask")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "box", _box(self.box))
        object.__setattr__(self, "mask", _mask(self.mask))

    @property
    def is_lone_point(self) -> bool:
        """Whether it is one point and nothing else, the most ambiguous prompt there is."""
        return len(self.points) == 1 and self.box is None and self.mask is None


def _points(points: ArrayLike) -> NDArray[np.float64]:
    coords = as_array(points, "points")
    if coords.size == 0:
        coords = coords.reshape(0, 2)
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise PromptError(f"points must have shape (N, 2), got {coords.shape}")
    if len(coords) > MAX_POINTS:
        raise PromptError(
            f"one prompt takes {MAX_POINTS} points at most, got {len(coords)}; "
            "give fewer, or a mask instead"
        )
    for point in coords:
        if not np.isfinite(point).all():
            raise PromptError(f"points must be finite numbers, got {_short(point)}")
    return coords


def _labels(labels: ArrayLike) -> NDArray[np.int64]:
    given = as_array(labels, "labels")
    for label in given.flat:
        if label not in (PointLabel.BACKGROUND, PointLabel.FOREGROUND):
            raise PromptError(
                f"a point's label is 1 (on the object) or 0 (not on it), got {label:g}"
            )
    return given.astype(np.int64)


def _box(box: Box | Iterable[float] | None) -> Box | None:
    if box is None or isinstance(box, Box):
        return box
    corners = np.ravel(as_array(box, "a box's corners"))
    if len(corners) != 4:
        raise PromptError(f"a box is four numbers, x0 y0 x1 y1, got {_short(corners)}")
    return Box(*corners.tolist())


def as_array(values: Any, name: str) -> NDArray[np.float64]:  # noqa: ANN401 - checked here
    """Return values as a new array that no one else can change.

    Args:
        values: anything that numpy takes for an array of numbers, or an iterable of them.
        name: what they are, in the plural, for messages.

    Raises:
        PromptError: if they are not numbers, or of rows of different lengths.
    """
    try:
        # numpy would take a generator for one value
        is_array = hasattr(values, "__array__") or not isinstance(values, Iterable)
        array = np.asarray(values if is_array else [*values])
        if np.any(getattr(values, "mask", False)):
            raise TypeError("some are masked")
        if array.dtype.kind not in "biufO":  # texts, times and complex numbers would be converted
            raise TypeError(f"they are of type {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's
        reason = printable(str(error))
        raise PromptError(f"{name} must be numbers, got what is not: {reason}") from error


def _short(numbers: NDArray[np.float64]) -> str:
    """Return the first few of some numbers for a message."""
    texts = [f"{number:g}" for number in np.ravel(numbers)[:4]]
    return ",".join(texts) + (",..." if numbers.size > 4 else "")


def _mask(mask: NDArray[Any] | None) -> NDArray[Any] | None:
    if mask is None:
        return None
    try:
        array = np.asarray(mask)
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises the others
        raise PromptError(f"a mask prompt is an array: {printable(str(error))}") from error
    if array.ndim == 3 and len(array) == 1:  # the official predictor's (1, 256, 256)
        array = array[0]
    if array.ndim != 2 or array.dtype not in (np.bool_, np.float32):
        raise PromptError(
            "a mask prompt is an (H, W) bool mask or float32 low-resolution logits, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if array.dtype == np.bool_ and not array.any():
        raise PromptError("the mask prompt is empty: no pixel of it is on the object")
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
    mask: NDArray[Any], original_size: tuple[int, int], input_size: tuple[int, int], image_size: int
) -> NDArray[np.float32]:
    """Turn a mask prompt into the decoder's ``mask_input``.

    Logits pass through. A bool mask is laid into the encoder's frame as its photo is, averaged
    over each low-resolution cell, and its share of foreground p becomes ``(2 p - 1) * 10``: SAM
    takes logits, and a mask of zeros and ones would mean "maybe" everywhere.

    Args:
        mask: ``(H, W)`` bool in the photo's pixels, or ``(S/4, S/4)`` float32 logits.
        original_size: height and width of the photo.
        input_size: height and width of the resized photo inside the frame.
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

    height, width = input_size
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
