"""Masks as spans: for each column the rows from where to where, wherever in whatever picture.

A span knows nothing of the picture's size, so that a mask of one tile is moved into a picture of
any size by an addition, and masks are cut, compared and joined without ever being an array of
pixels: what they take is their outline's length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam_edge.masks.rle import Mask, Rle, as_mask, checked_runs

Spans = NDArray[np.int32]
"""Shape ``(n, 3)``: a column, the first row of a run of pixels in it, and the row after its last.
Sorted by column and row; no two overlap or meet."""


def mask_to_spans(mask: Mask) -> Spans:
    """Return the spans of a mask of shape ``(H, W)``.

    >>> mask_to_spans(np.array([[True, False], [True, True], [False, True]])).tolist()
    [[0, 0, 2], [1, 1, 3]]
    """
    mask = as_mask(mask)
    height, width = mask.shape
    edges = np.zeros((height + 1, width), np.bool_)
    edges[0], edges[-1] = mask[:1].any(axis=0), mask[-1:].any(axis=0)
    np.not_equal(mask[1:], mask[:-1], out=edges[1:-1])
    rows, columns = np.nonzero(edges)
    order = np.argsort(columns, kind="stable")  # rows stay sorted within a column
    ends = rows[order].reshape(-1, 2)
    return np.concatenate([columns[order][::2, None], ends], axis=1).astype(np.int32)


def rle_to_spans(rle: Rle) -> Spans:
    """Return the spans of run lengths.

    >>> rle_to_spans({"size": [2, 2], "counts": [1, 3]}).tolist()
    [[0, 1, 2], [1, 0, 2]]
    """
    height, _, counts = checked_runs(rle)
    ends = np.cumsum(counts)
    starts, stops = ends[:-1:2], ends[1::2]
    full = starts < stops
    starts, stops = starts[full], stops[full]
    if not len(starts):
        return np.zeros((0, 3), np.int32)
    first, last = starts // height, (stops - 1) // height
    pieces = last - first + 1
    run = np.repeat(np.arange(len(starts)), pieces)
    column = first[run] + np.arange(len(run)) - (np.cumsum(pieces) - pieces)[run]
    return _merged(
        np.stack(
            [
                column,
                np.maximum(starts[run] - column * height, 0),
                np.minimum(stops[run] - column * height, height),
            ],
            axis=1,
        )
    )


def spans_to_rle(spans: Spans, size: tuple[int, int]) -> Rle:
    """Return the run lengths of spans that lie in a picture of ``size``, ``(H, W)``.

    >>> spans_to_rle(np.array([[0, 1, 2], [1, 0, 2]]), (2, 2))
    {'size': [2, 2], 'counts': [1, 3]}
    """
    height, width = size
    places = (spans[:, :1].astype(np.int64) * height + spans[:, 1:]).ravel()
    # A run that reaches the bottom goes on at the top of the next column.
    edges, times = np.unique(places, return_counts=True)
    edges = edges[times == 1]
    pixels = height * width
    counts: list[int] = np.diff(edges, prepend=0, append=pixels).tolist()
    if len(edges) and edges[-1] == pixels:
        counts.pop()
    return {"size": [height, width], "counts": counts}


def spans_to_window(spans: Spans) -> tuple[Mask, int, int]:
    """Return the pixels of a mask inside its own box, and the box's first row and column.

    >>> pixels, top, left = spans_to_window(np.array([[7, 5, 7], [8, 6, 7]]))
    >>> pixels.tolist(), top, left
    ([[True, False], [True, True]], 5, 7)
    """
    left, top, right, bottom = span_box(spans)
    columns = spans[:, :1].astype(np.int64) - left
    places = (columns * (bottom - top) + spans[:, 1:] - top).ravel()
    lengths = np.diff(places, prepend=0, append=(right - left) * (bottom - top))
    inside = np.arange(len(lengths)) % 2 == 1
    pixels = np.repeat(inside, lengths).reshape(right - left, bottom - top).T
    return np.ascontiguousarray(pixels), top, left


def span_box(spans: Spans) -> tuple[int, int, int, int]:
    """Return ``(x0, y0, x1, y1)`` around spans, ``x1`` and ``y1`` one past the last pixel.

    An empty mask gives ``(0, 0, 0, 0)``.
    """
    if not len(spans):
        return 0, 0, 0, 0
    return (
        int(spans[0, 0]),
        int(spans[:, 1].min()),
        int(spans[-1, 0]) + 1,
        int(spans[:, 2].max()),
    )


def span_area(spans: Spans) -> int:
    """Return the number of foreground pixels."""
    return int((spans[:, 2] - spans[:, 1]).sum(dtype=np.int64))


def moved_spans(spans: Spans, x: int, y: int) -> Spans:
    """Return spans moved to the right and down."""
    moved: Spans = spans + np.array([x, y, y], np.int32)
    return moved


def cropped_spans(spans: Spans, box: tuple[int, int, int, int]) -> Spans:
    """Return what of spans lies in a box; its ``x1`` and ``y1`` are one past the last pixel.

    >>> cropped_spans(np.array([[0, 0, 9], [4, 2, 5]]), (3, 3, 9, 9)).tolist()
    [[4, 3, 5]]
    """
    x0, y0, x1, y1 = box
    first, last = np.searchsorted(spans[:, 0], [x0, x1])
    cut = spans[first:last].copy()
    np.clip(cut[:, 1:], y0, y1, out=cut[:, 1:])
    return cut[cut[:, 1] < cut[:, 2]]


def shared_span_area(one: Spans, other: Spans) -> int:
    """Return how many pixels two masks have in common.

    >>> shared_span_area(np.array([[0, 0, 5]]), np.array([[0, 3, 9], [1, 0, 9]]))
    2
    """
    both = np.concatenate([one, other])
    return span_area(one) + span_area(other) - span_area(_merged(_sorted(both)))


def joined_spans(masks: Sequence[Spans]) -> Spans:
    """Return the union of masks.

    >>> joined_spans([np.array([[0, 0, 2]]), np.array([[0, 2, 3], [5, 0, 1]])]).tolist()
    [[0, 0, 3], [5, 0, 1]]
    """
    return _merged(_sorted(np.concatenate([np.zeros((0, 3), np.int32), *masks])))


def _sorted(spans: Spans) -> Spans:
    return spans[np.lexsort((spans[:, 1], spans[:, 0]))]


def _merged(spans: Spans) -> Spans:
    """Make one of sorted spans that overlap or meet."""
    if not len(spans):
        return spans
    # Columns are set apart by a row more than there are, so that no run reaches the next one.
    column, first, after = spans.T.astype(np.int64)
    lowest = first.min()
    pitch = after.max() - lowest + 1
    start = column * pitch + first - lowest
    stop = np.maximum.accumulate(column * pitch + after - lowest)
    begins = np.concatenate([[True], start[1:] > stop[:-1]])
    ends = np.concatenate([begins[1:], [True]])
    column = column[begins]
    rows = [first[begins], stop[ends] - column * pitch + lowest]
    return np.stack([column, *rows], axis=1).astype(np.int32)
