"""A large picture and its masks small enough to be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sam_edge.errors import ImageError
from sam_edge.formats.records import LabelledMask
from sam_edge.image import RgbImage
from sam_edge.masks.spans import Spans
from sam_edge.tiling.records import TiledMask
from sam_edge.tiling.windows import Windows

LONGEST_SIDE = 2048

_WINDOW = 1024


def reduced(
    picture: Windows, masks: Iterable[TiledMask], *, longest_side: int = LONGEST_SIDE
) -> tuple[RgbImage, list[LabelledMask]]:
    """Return a picture and its masks, a whole number of times smaller.

    A window that cannot be read is black; a mask that falls between the pixels is empty.

    Args:
        picture: read once more, a window at a time.
        masks: of it.
        longest_side: what the picture's longer side has at most, in pixels.
    """
    from PIL import Image

    height, width = picture.size
    factor = -(-max(height, width) // longest_side)
    small = np.zeros((-(-height // factor), -(-width // factor), 3), np.uint8)
    step = max(1, _WINDOW // factor)
    for y in range(0, small.shape[0], step):
        for x in range(0, small.shape[1], step):
            box = (x * factor, y * factor, (x + step) * factor, (y + step) * factor)
            try:
                window = picture.read((*box[:2], min(box[2], width), min(box[3], height)))
            except ImageError:  # it was reported when it was segmented
                continue
            target = small[y : y + step, x : x + step]
            target[:] = np.asarray(Image.fromarray(window).reduce(factor))
    size = (small.shape[0], small.shape[1])
    return small, [
        replace(mask, spans=_sampled(mask.spans, factor)).labelled(size) for mask in masks
    ]


def _sampled(spans: Spans, factor: int) -> Spans:
    """Keep of each square of pixels the one in its middle.

    >>> _sampled(np.array([[1, 0, 5], [2, 0, 3], [4, 4, 6]]), 3).tolist()
    [[0, 0, 2], [1, 1, 2]]
    """
    middle = factor // 2
    kept = spans[spans[:, 0] % factor == middle]
    rows = -(-(kept[:, 1:] - middle) // factor)
    seen: Spans = np.concatenate([kept[:, :1] // factor, rows], axis=1)[rows[:, 0] < rows[:, 1]]
    return seen
