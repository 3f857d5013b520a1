"""Connected regions of a mask, found on its run lengths.

A mask has thousands of runs where it has millions of pixels, and runs can be joined without a
loop over either: neighbours in adjacent columns are found by bisection, and labels spread along
them by pointer jumping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sam_edge.masks.rle import Mask, MaskError, Rle, as_mask, checked_runs, decode_rle, encode_rle

Ints = NDArray[np.int64]


def remove_small_regions(
    mask: Mask, area_thresh: float, mode: Literal["holes", "islands"]
) -> tuple[Mask, bool]:
    """Fill small holes or remove small islands; see ``remove_small_regions_rle``.

    >>> ring = np.array([[True, True, True], [True, False, True], [True, True, True]])
    >>> remove_small_regions(ring, 2, "holes")[0].all()
    np.True_
    """
    mask = as_mask(mask)
    rle, changed = remove_small_regions_rle(encode_rle(mask), area_thresh, mode)
    return (decode_rle(rle), True) if changed else (mask, False)


def remove_small_regions_rle(
    rle: Rle, area_thresh: float, mode: Literal["holes", "islands"]
) -> tuple[Rle, bool]:
    """Fill small holes or remove small islands. Pixels that touch at a corner are connected.

    Args:
        rle: the mask.
        area_thresh: regions with fewer pixels are small.
        mode: ``holes`` looks at the background, ``islands`` at the foreground. Where every
            island is small, the largest stays.

    Returns:
        The mask, and whether it was changed.

    Source: ``segment_anything/utils/amg.py``, ``remove_small_regions``.
    """
    if mode not in ("holes", "islands"):
        raise ValueError(f"mode is 'holes' or 'islands', got {mode!r}")
    if not np.isfinite(area_thresh):
        raise MaskError(f"area_thresh must be a number of pixels, got {area_thresh}")
    height, width, counts = checked_runs(rle)
    ends = np.cumsum(counts)
    starts = np.concatenate([[0], ends[:-1]])
    phase = 0 if mode == "holes" else 1
    pieces = _columns(starts[phase::2], ends[phase::2], height)
    labels = _connect(pieces, height)
    sizes = np.bincount(labels, pieces.stop - pieces.start, minlength=len(labels))
    small = sizes < area_thresh
    occupied = np.unique(labels)
    if not small[occupied].any():
        return rle, False
    if mode == "holes":
        filled = small[labels]
        first = np.concatenate([starts[1::2], pieces.start[filled]])
        last = np.concatenate([ends[1::2], pieces.stop[filled]])
    else:
        if small[occupied].all():
            small[np.argmax(sizes)] = False
        kept = ~small[labels]
        first, last = pieces.start[kept], pieces.stop[kept]
    return _from_intervals(first, last, height, width), True


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Runs cut at the ends of columns. Positions count pixels column by column."""

    start: Ints
    stop: Ints
    column: Ints


def _columns(starts: Ints, ends: Ints, height: int) -> _Pieces:
    full = starts < ends
    starts, ends = starts[full], ends[full]
    first, last = starts // height, (ends - 1) // height
    run = np.repeat(np.arange(len(starts)), last - first + 1)
    before = np.cumsum(last - first + 1) - (last - first + 1)
    column = first[run] + np.arange(len(run)) - before[run]
    return _Pieces(
        start=np.maximum(starts[run], column * height),
        stop=np.minimum(ends[run], (column + 1) * height),
        column=column,
    )


def _connect(pieces: _Pieces, height: int) -> Ints:
    """Return each piece's label: the index of the first piece of its region."""
    # Columns are set apart by more than a corner's reach, so that bisection cannot leave one.
    top = pieces.start + 2 * pieces.column
    bottom = pieces.stop + 2 * pieces.column
    pitch = height + 2
    first = np.searchsorted(bottom, top + pitch, side="left")
    beyond = np.searchsorted(top, bottom + pitch, side="right")
    neighbours = np.maximum(beyond - first, 0)
    left = np.repeat(np.arange(len(top)), neighbours)
    before = np.cumsum(neighbours) - neighbours
    right = first[left] + np.arange(len(left)) - before[left]
    labels = np.arange(len(top))
    while True:
        one, other = labels[left], labels[right]
        if np.array_equal(one, other):
            return labels
        np.minimum.at(labels, np.maximum(one, other), np.minimum(one, other))
        # A label points to a piece whose label may be lower still.
        while not np.array_equal(labels, labels[labels]):
            labels = labels[labels]


def _from_intervals(first: Ints, last: Ints, height: int, width: int) -> Rle:
    """Write disjoint intervals as run lengths; intervals that meet become one."""
    edges, times = np.unique(np.concatenate([first, last]), return_counts=True)
    edges = edges[times == 1]
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if len(edges) and edges[-1] == height * width:
        counts.pop()
    return {"size": [height, width], "counts": counts}
