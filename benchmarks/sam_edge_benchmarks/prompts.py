"""The prompts that every subject answers: fixed, spread over the photo, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FIDELITY_CLICKS = 8
FIDELITY_BOXES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """One prompt an object: a click each, or a box each.

    Attributes:
        points: ``(B, 1, 2)``, x and y in the photo's pixels; None for boxes.
        boxes: ``(B, 4)``, XYXY in the photo's pixels; None for clicks.
    """

    points: NDArray[np.float64] | None = None
    boxes: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        given = self.boxes if self.points is None else self.points
        assert given is not None
        return len(given)


def halton(count: int, base: int) -> NDArray[np.float64]:
    """Return the first numbers of a low-discrepancy sequence in (0, 1).

    >>> halton(4, 2).tolist()
    [0.5, 0.25, 0.75, 0.125]
    """
    values = np.zeros(count)
    for index in range(count):
        fraction, number = 1.0, index + 1
        while number:
            fraction /= base
            values[index] += fraction * (number % base)
            number //= base
    return values


def clicks(count: int, height: int, width: int) -> Prompts:
    """Spread clicks over a photo; fewer clicks are the first ones of more clicks."""
    unit = np.stack([halton(count, 2), halton(count, 3)], axis=1)
    return Prompts(points=(unit * (width, height))[:, None])


def fidelity_prompts(height: int, width: int) -> tuple[Prompts, Prompts]:
    """Return the clicks and the boxes whose masks are compared with float32 PyTorch's."""
    centres = clicks(FIDELITY_BOXES, height, width).points
    assert centres is not None
    half = np.array([width, height]) / 6
    corners = np.concatenate([centres[:, 0] - half, centres[:, 0] + half], axis=1)
    boxes = np.clip(corners, 0, [width, height, width, height])
    return clicks(FIDELITY_CLICKS, height, width), Prompts(boxes=boxes)
