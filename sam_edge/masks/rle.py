"""Run-length encoded masks: COCO's order, both of COCO's spellings, vectorised.

Runs go down the columns, left to right, and the first run is background. A mask is written as
its run lengths (``Rle``) or as the string that pycocotools makes of them (``CocoRle``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.errors import SamEdgeError
from sam_edge.image import MAX_PIXELS

Mask = NDArray[np.bool_]


class MaskError(SamEdgeError, ValueError):
    """A mask, or the numbers one is made of, that cannot be meant."""


def as_mask(mask: ArrayLike) -> Mask:
    """Return a mask as ``(H, W)`` bool; of whole numbers, whatever is not 0 is foreground.

    Raises:
        MaskError: if it holds anything else (a threshold turns logits into a mask), or has
            another number of axes.

    >>> as_mask(np.array([[0, 255]], np.uint8)).tolist()
    [[False, True]]
    """
    array = np.asarray(mask)
    if array.ndim != 2:
        raise MaskError(f"a mask has shape (H, W), got {array.shape}")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iu":
        raise MaskError(f"a mask holds bools or whole numbers, got {array.dtype}; compare first")
    nonzero: Mask = array != 0
    return nonzero


class Rle(TypedDict):
    """Uncompressed run lengths: ``size`` is ``[height, width]``."""

    size: list[int]
    counts: list[int]


class CocoRle(TypedDict):
    """Run lengths as pycocotools' string: ``size`` is ``[height, width]``."""

    size: list[int]
    counts: str


def encode_rle(mask: Mask) -> Rle:
    """Encode a mask of shape ``(H, W)``: column by column, background run first.

    >>> encode_rle(np.array([[False, True], [False, True]]))
    {'size': [2, 2], 'counts': [2, 2]}
    >>> encode_rle(np.array([[True, False]]))
    {'size': [1, 2], 'counts': [0, 1, 1]}
    """
    mask = as_mask(mask)
    height, width = mask.shape
    return encode_window(mask, top=0, left=0, size=(height, width))


def encode_window(window: Mask, *, top: int, left: int, size: tuple[int, int]) -> Rle:
    """Encode a mask of which only a window is given: it is background everywhere else.

    Works row by row on the array as it lies in memory and sorts only the few places where a run
    ends, which is several times faster than transposing the mask.

    Args:
        window: shape ``(h, w)``, a part of the mask.
        top: the window's first row in the mask.
        left: the window's first column in the mask.
        size: ``(H, W)`` of the whole mask, in pixels.

    Raises:
        MaskError: if the window reaches out of the mask.

    >>> encode_window(np.array([[True]]), top=1, left=1, size=(2, 3))
    {'size': [2, 3], 'counts': [3, 1, 2]}
    """
    window = as_mask(window)
    height, width = size
    rows, columns = window.shape
    pixels = height * width
    if not (0 <= top <= height - rows and 0 <= left <= width - columns):
        raise MaskError(
            f"a window of {columns} x {rows} at {left},{top} reaches out of a mask of "
            f"{width} x {height}"
        )
    if window.size == 0:
        return {"size": [height, width], "counts": [pixels]}
    inner_rows, inner_columns = np.divmod(np.flatnonzero(window[1:] != window[:-1]), columns)
    edges = [(inner_columns + left) * height + inner_rows + top + 1]
    # A window as tall as the mask continues at the top of the next column; any other is
    # entered and left through background.
    enters, leaves = window[0], window[-1]
    if rows == height:
        enters = window[0] != np.concatenate([[False], window[-1, :-1]])
        leaves = np.zeros(columns, np.bool_)
        leaves[-1] = window[-1, -1]
    edges.append((np.flatnonzero(enters) + left) * height + top)
    edges.append((np.flatnonzero(leaves) + left) * height + top + rows)
    ends = np.concatenate(edges)
    ends.sort()
    if ends.size and ends[-1] == pixels:
        ends = ends[:-1]
    counts: list[int] = np.diff(ends, prepend=0, append=pixels).tolist()
    return {"size": [height, width], "counts": counts}


def decode_rle(rle: Rle) -> Mask:
    """Decode run lengths to a C-contiguous mask of shape ``(H, W)``.

    Raises:
        MaskError: if the runs do not add up to the mask's pixels, or there is no such mask.

    >>> decode_rle({"size": [2, 2], "counts": [2, 2]}).tolist()
    [[False, True], [False, True]]
    """
    height, width, counts = checked_runs(rle)
    foreground = np.arange(len(counts)) % 2 == 1
    return np.ascontiguousarray(np.repeat(foreground, counts).reshape(width, height).T)


def area(rle: Rle) -> int:
    """Return the number of foreground pixels.

    >>> area({"size": [2, 2], "counts": [1, 3]})
    3
    """
    return int(checked_runs(rle)[2][1::2].sum())


def rle_to_box(rle: Rle) -> tuple[int, int, int, int]:
    """Return the ``(x0, y0, x1, y1)`` of the outermost foreground pixels, without decoding.

    ``x1`` and ``y1`` are the last foreground column and row, as in the official generator
    (pycocotools' ``toBbox`` counts one further). An empty mask gives ``(0, 0, 0, 0)``.

    Source: ``segment_anything/utils/amg.py``, ``batched_mask_to_box``.

    >>> rle_to_box({"size": [2, 3], "counts": [3, 1, 2]})
    (1, 1, 1, 1)
    """
    height, _, counts = checked_runs(rle)
    ends = np.cumsum(counts)
    starts, stops = ends[:-1:2], ends[1::2]
    full = starts < stops
    if not full.any():
        return (0, 0, 0, 0)
    first_column, first_row = np.divmod(starts[full], height)
    last_column, last_row = np.divmod(stops[full] - 1, height)
    # A run that goes on into the next column passes the bottom row and the top row.
    wraps = first_column != last_column
    return (
        int(first_column[0]),
        0 if wraps.any() else int(first_row.min()),
        int(last_column[-1]),
        height - 1 if wraps.any() else int(last_row.max()),
    )


def to_coco_rle(rle: Rle) -> CocoRle:
    """Spell run lengths as pycocotools' string.

    From the fourth run on, each is written as its difference from the run two before it, in
    groups of five bits, the lowest first; a sixth bit says that a group follows.

    Source: ``cocoapi/common/maskApi.c``, ``rleToString``.

    >>> to_coco_rle({"size": [2, 3], "counts": [3, 1, 2]})
    {'size': [2, 3], 'counts': '312'}
    """
    values = checked_runs(rle)[2].copy()
    values[3:] -= values[1:-2].copy()
    groups = values[:, None] >> _GROUP_SHIFTS
    # The last group is the first one whose top bit already is the sign of what is left.
    follows = ((groups >> 4) != 0) & ((groups >> 4) != -1)
    present = np.ones_like(follows)
    present[:, 1:] = np.logical_and.accumulate(follows[:, :-1], axis=1)
    letters = (groups & 0x1F) + 0x20 * follows + ord("0")
    text = letters[present].astype(np.uint8).tobytes().decode("ascii")
    return {"size": list(rle["size"]), "counts": text}


def from_coco_rle(rle: CocoRle) -> Rle:
    """Read pycocotools' string; see ``to_coco_rle``.

    ``counts`` may be bytes, as pycocotools itself returns it.

    Raises:
        MaskError: if the string is not one that pycocotools could have written.

    >>> from_coco_rle({"size": [2, 3], "counts": "312"})
    {'size': [2, 3], 'counts': [3, 1, 2]}
    """
    height, width = _checked_size(rle)
    text: object = rle["counts"]
    unreadable = MaskError(f"not a COCO run-length string: {ascii(text)[:22]}")
    if not isinstance(text, str | bytes):
        raise unreadable
    letters = text if isinstance(text, bytes) else text.encode("ascii", "replace")
    groups = np.frombuffer(letters, np.uint8).astype(np.int64) - ord("0")
    if groups.size == 0 or groups.min() < 0 or groups.max() > 0x3F or groups[-1] & 0x20:
        raise unreadable
    last = np.flatnonzero(groups & 0x20 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    if (last - first).max() >= len(_GROUP_SHIFTS):
        raise unreadable
    shifts = 5 * (np.arange(groups.size) - np.repeat(first, last - first + 1))
    values = np.add.reduceat((groups & 0x1F) << shifts, first)
    values -= np.where(groups[last] & 0x10, np.int64(1) << (shifts[last] + 5), 0)
    # Sums of so small numbers cannot leave 64 bits.
    if np.abs(values).max() > height * width:
        raise unreadable
    # Undo the differences: runs 1, 3, 5, ... and runs 2, 4, 6, ... are two running sums.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    decoded: Rle = {"size": [height, width], "counts": values.tolist()}
    checked_runs(decoded)
    return decoded


_GROUP_SHIFTS = np.arange(0, 35, 5)
"""Runs of a mask of ``MAX_PIXELS``, and their differences, fit seven groups."""


def _checked_size(rle: Mapping[str, Any]) -> tuple[int, int]:
    """Return a mask's size, once it is one that a photo can have."""
    size = rle["size"]
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise MaskError(f"size must be [height, width], got {ascii(size)[:60]}")
    height, width = size
    for side in size:
        if isinstance(side, bool) or not isinstance(side, int | np.integer) or side < 0:
            raise MaskError(f"size must be two whole numbers, got {ascii(size)[:60]}")
    if max(size) > MAX_PIXELS or int(height) * int(width) > MAX_PIXELS:
        raise MaskError(f"a mask has up to {MAX_PIXELS} pixels, got {height} x {width}")
    return int(height), int(width)


def checked_runs(rle: Rle) -> tuple[int, int, NDArray[np.int64]]:
    """Return a mask's height, width and runs, once nothing can go wrong with them."""
    height, width = _checked_size(rle)
    pixels = height * width
    counts = rle["counts"]
    try:
        # JSON's lists are told from numpy's arrays: [] would be an array of floats.
        values = np.asarray(counts) if len(counts) else np.zeros(0, np.int64)
    except (TypeError, ValueError):
        values = np.asarray("")
    # Among numbers True is one to numpy.
    truths = isinstance(counts, list) and bool in set(map(type, counts))
    if values.ndim != 1 or values.dtype.kind not in "iu" or truths:
        raise MaskError("run lengths must be a list of whole numbers")
    # Each alone first: their sum could leave 64 bits and come back as the right one.
    if values.size and not 0 <= int(values.min()) <= int(values.max()) <= pixels:
        raise MaskError(
            f"run lengths of a {height} x {width} mask lie between 0 and {pixels}, "
            f"got {int(values.min())} to {int(values.max())}"
        )
    values = values.astype(np.int64, copy=False)
    if int(values.sum()) != pixels:
        raise MaskError(
            f"run lengths of a {height} x {width} mask add up to {pixels}, "
            f"got {len(values)} that add up to {int(values.sum())}"
        )
    return height, width, values
