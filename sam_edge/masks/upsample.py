"""From the decoder's low-resolution logits to masks in the photo's own pixels.

The official code resizes the logits twice, both times bilinearly: up to the encoder's frame
and, once the padding is cropped off, to the photo. Both steps are linear and separable, so
together they are one matrix per axis, with at most four taps a row. Its weights are never
negative and add up to one: an output pixel lies between the least and the greatest of its
sources. A tile of the photo whose sources are all foreground, or all background, is therefore
decided without being computed; only the tiles that a mask's outline runs through are.

Source: ``segment_anything/modeling/sam.py``, ``Sam.postprocess_masks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sam_edge.masks.boxes import mask_to_box
from sam_edge.masks.rle import Mask, MaskError
from sam_edge_runtimes import Float32

# Side of a tile, in pixels of the photo. Smaller tiles follow the outline more closely, larger
# ones cost fewer calls. Of a photo thinner than that, a tile has as many pixels, in another shape.
TILE = 48

# How many tiles' logits are held at once: 4096 tiles of 48 x 48 are 38 MB.
_TILES_AT_ONCE = 4096

# Of larger masks with a longer outline, this many are computed each time they are asked for.
_TILES_A_PIECE = 256

# Where more of the tiles than this have an edge, computing all of them at once is faster.
_MOSTLY_EDGE = 1 / 3

# The weights of an axis up to this long, 3 MB at most, are kept; of longer ones, which only thin
# photos have, they are computed each time they are asked for.
_LONGEST_KEPT = 2**16

# How many of the photo's rows ``upsample_logits`` computes at once.
_STRIP_ROWS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One axis of the resize, cut into tiles.

    Attributes:
        first: shape ``(tiles,)``: the first source sample of each tile's window.
        taps: width of a source window, in low-resolution samples.
        tile: a tile's length, in pixels of the photo.
        length: the photo's length along this axis, in pixels.
        weights: as arguments, some tiles' indices, shape ``(n,)``; returns shape
            ``(n, tile, taps)``: their pixels as weights on their own source window. Pixels past the
            photo's edge, in the last tile, are zero.
    """

    first: NDArray[np.intp]
    taps: int
    tile: int
    length: int
    weights: Callable[[NDArray[np.intp]], Float32]

    @property
    def tiles(self) -> int:
        """Number of tiles along this axis."""
        return len(self.first)

    @property
    def tile_lengths(self) -> NDArray[np.intp]:
        """Pixels of the photo in each tile: ``tile``, and what is left in the last one."""
        return np.diff(np.minimum(np.arange(self.tiles + 1) * self.tile, self.length))

    def extreme(self, reduce: np.ufunc, values: Float32, axis: int) -> Float32:
        """Reduce each tile's source window to its least or greatest value along ``axis``."""
        result: Float32 = np.take(values, self.first, axis)
        for tap in range(1, self.taps):
            reduce(result, np.take(values, self.first + tap, axis), out=result)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The part of a photo outside of which a mask is empty.

    Attributes:
        pixels: the mask there, shape ``(h, w)``. Its rim may be background all over.
        top: its first row in the photo.
        left: its first column in the photo.
    """

    pixels: Mask
    top: int
    left: int

    def box(self) -> tuple[int, int, int, int]:
        """Return the mask's box in the photo; see ``mask_to_box``."""
        if not self.pixels.any():
            return (0, 0, 0, 0)
        x0, y0, x1, y1 = mask_to_box(self.pixels)
        return x0 + self.left, y0 + self.top, x1 + self.left, y1 + self.top

    def covers(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which points of the photo lie on the mask; ``points`` has shape ``(N, 2)``."""
        x, y = points.astype(np.intp).T - [[self.left], [self.top]]
        height, width = self.pixels.shape
        result: NDArray[np.bool_] = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        result[result] = self.pixels[y[result], x[result]]
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """A few masks of one photo, decided tile by tile.

    Attributes:
        inside: shape ``(M, rows, columns)``: tiles above every threshold throughout.
        mask: shape ``(n,)``: which mask each tile that is neither in nor out belongs to, in order.
        row: shape ``(n,)``: its row of tiles.
        column: shape ``(n,)``: its column of tiles.
        logits: shape ``(n, rows.tile, columns.tile)``: its pixels, those past the photo's edge
            -inf; None if they are too many to hold.
        sources: shape ``(M, s, s)``: what they are computed from.
        rows: the vertical axis.
        columns: the horizontal axis.
    """

    inside: NDArray[np.bool_]
    mask: NDArray[np.intp]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    logits: Float32 | None
    sources: Float32
    rows: Axis
    columns: Axis

    def areas(self, threshold: float) -> NDArray[np.int64]:
        """Count each mask's pixels above a threshold, in the photo's pixels; shape ``(M,)``."""
        whole = self.inside @ self.columns.tile_lengths @ self.rows.tile_lengths
        areas: NDArray[np.int64] = whole.astype(np.int64)
        for piece, logits in self._pieces(0, len(self.mask)):
            above = logits > threshold
            # Tiles are in the masks' order. One count over a contiguous array is far faster than
            # counting along axes.
            bounds = np.searchsorted(self.mask[piece], np.arange(len(whole) + 1)).tolist()
            areas += [np.count_nonzero(above[lo:hi]) for lo, hi in pairwise(bounds)]
        return areas

    def stability(self, threshold: float, offset: float) -> Float32:
        """Return each mask's stability score, see ``stability_scores``; shape ``(M,)``."""
        high = self.areas(threshold + offset).astype(np.float32)
        low = self.areas(threshold - offset).astype(np.float32)
        return np.divide(high, low, out=np.zeros_like(low), where=low > 0)

    def window(self, index: int, threshold: float) -> Window:
        """Return one mask, cut at a threshold, without the tiles around it that are empty."""
        lo, hi = np.searchsorted(self.mask, [index, index + 1]).tolist()
        touched = self.inside[index].copy()
        touched[self.row[lo:hi], self.column[lo:hi]] = True
        tile_rows, tile_columns = np.nonzero(touched)
        if not len(tile_rows):
            return Window(np.zeros((0, 0), np.bool_), 0, 0)
        top, left = int(tile_rows.min()), int(tile_columns.min())
        bottom, right = int(tile_rows.max()) + 1, int(tile_columns.max()) + 1
        y, x = top * self.rows.tile, left * self.columns.tile
        height = min(bottom * self.rows.tile, self.rows.length) - y
        width = min(right * self.columns.tile, self.columns.length) - x
        window = np.zeros((height, width), np.bool_)
        self._paint(window, index, threshold, y, x)
        return Window(window, y, x)

    def paint(self, masks: Mask, threshold: float) -> None:
        """Write every mask into ``masks``, shape ``(M, H, W)``, which is False all over."""
        for index in range(len(masks)):
            self._paint(masks[index], index, threshold, 0, 0)

    def _paint(self, target: Mask, index: int, threshold: float, top: int, left: int) -> None:
        """Write one mask into a part of the photo that starts at a tile's corner."""
        height, width = target.shape
        inside = self.inside[index, :, left // self.columns.tile :]
        for row in np.flatnonzero(inside.any(axis=1)).tolist():
            y = row * self.rows.tile - top
            target[y : y + self.rows.tile] = np.repeat(inside[row], self.columns.tile)[:width]
        lo, hi = np.searchsorted(self.mask, [index, index + 1]).tolist()
        for piece, logits in self._pieces(lo, hi):
            above = logits > threshold
            ys = (self.row[piece] * self.rows.tile - top).tolist()
            xs = (self.column[piece] * self.columns.tile - left).tolist()
            for pixels, y, x in zip(above, ys, xs, strict=True):
                target[y : y + self.rows.tile, x : x + self.columns.tile] = pixels[
                    : height - y, : width - x
                ]

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[slice, Float32]]:
        """Yield the logits of some of the tiles, as many at a time as memory should hold."""
        if self.logits is not None:
            yield slice(start, stop), self.logits[start:stop]
            return
        for lo in range(start, stop, _TILES_A_PIECE):
            piece = slice(lo, min(lo + _TILES_A_PIECE, stop))
            mask, row, column = self.mask[piece], self.row[piece], self.column[piece]
            yield piece, _tile_logits(self.sources, self.rows, self.columns, mask, row, column)


def upsample_masks(
    low_res_logits: Float32,
    *,
    input_size: tuple[int, int],
    image_size: int,
    original_size: tuple[int, int],
    threshold: float = 0.0,
) -> Mask:
    """Resize mask logits to the photo and cut them at a threshold.

    Equal to resizing every logit, up to the rounding of logits that lie on the threshold.

    Args:
        low_res_logits: shape ``(M, s, s)``.
        input_size: ``(h, w)`` of the photo inside the encoder's frame.
        image_size: side S of that frame.
        original_size: ``(H, W)`` of the photo.
        threshold: the logit above which a pixel is foreground.

    Returns:
        Shape ``(M, H, W)``.

    >>> logits = np.array([[[1, 1, -1, -1]] * 4], np.float32)
    >>> upsample_masks(logits, input_size=(4, 16), image_size=16, original_size=(1, 6)).tolist()
    [[[True, True, True, False, False, False]]]
    """
    _check_thresholds(threshold, threshold)
    rows, columns = _axes(low_res_logits, input_size, image_size, original_size)
    masks = np.zeros((len(low_res_logits), *original_size), np.bool_)
    for piece in _pieces(len(masks), rows, columns):
        logits = low_res_logits[piece]
        inside, edge = _decided(logits, rows, columns, threshold, threshold)
        held = logits[..., 0].size * columns.length
        if edge.mean() > _MOSTLY_EDGE and held <= _TILES_AT_ONCE * TILE**2:
            _cut_everywhere(logits, rows, columns, threshold, masks[piece])
        else:
            _tiles(logits, rows, columns, inside, edge).paint(masks[piece], threshold)
    return masks


def _cut_everywhere(
    logits: Float32, rows: Axis, columns: Axis, threshold: float, masks: Mask
) -> None:
    """Cut masks whose edges are nearly everywhere: a product a row of tiles, not one a tile.

    Args:
        logits: shape ``(M, s, s)``.
        rows: the vertical axis.
        columns: the horizontal axis.
        threshold: the logit above which a pixel is foreground.
        masks: shape ``(M, H, W)``, written to.
    """
    wide = np.empty((*logits.shape[:2], columns.length), np.float32)
    for tile, first in enumerate(columns.first.tolist()):
        target = wide[:, :, tile * columns.tile : (tile + 1) * columns.tile]
        weights = columns.weights(np.array([tile]))[0, : target.shape[2]]
        target[:] = logits[:, :, first : first + columns.taps] @ weights.T
    for tile, first in enumerate(rows.first.tolist()):
        cut = masks[:, tile * rows.tile : (tile + 1) * rows.tile]
        weights = rows.weights(np.array([tile]))[0, : cut.shape[1]]
        np.greater(weights @ wide[:, first : first + rows.taps], threshold, out=cut)


def upsample_logits(
    low_res_logits: Float32,
    *,
    input_size: tuple[int, int],
    image_size: int,
    original_size: tuple[int, int],
) -> Float32:
    """Resize mask logits to the photo; the arguments are those of ``upsample_masks``.

    Returns:
        Shape ``(M, H, W)``, float32.
    """
    rows, columns = _axes(low_res_logits, input_size, image_size, original_size)
    windows = sliding_window_view(low_res_logits, rows.taps, axis=1)
    photo = np.empty((len(low_res_logits), *original_size), np.float32)
    # A few rows of tiles at a time: the strips between the two axes can be larger than the photo.
    at_once = max(1, _STRIP_ROWS // rows.tile)
    for start in range(0, rows.tiles, at_once):
        band = np.arange(start, min(start + at_once, rows.tiles))
        # (tiles, tile, taps) @ (M, tiles, taps, s), the photo's rows on the decoder's columns
        strips = rows.weights(band) @ windows[:, rows.first[band]].swapaxes(2, 3)
        strips = strips.reshape(len(low_res_logits), -1, strips.shape[-1])
        part = photo[:, start * rows.tile : (start + at_once) * rows.tile]
        strips = strips[:, : part.shape[1]]
        for tile, first in enumerate(columns.first.tolist()):
            target = part[:, :, tile * columns.tile : (tile + 1) * columns.tile]
            weights = columns.weights(np.array([tile]))[0, : target.shape[2]].T
            target[:] = strips[:, :, first : first + columns.taps] @ weights
    return photo


def stability_scores(
    low_res_logits: Float32,
    *,
    input_size: tuple[int, int],
    image_size: int,
    original_size: tuple[int, int],
    threshold: float = 0.0,
    offset: float = 1.0,
) -> Float32:
    """Measure how little each mask changes when its threshold moves.

    The score is the IoU, in [0, 1], of the masks cut at ``threshold + offset`` and at
    ``threshold - offset``, counted in the photo's pixels. The first lies inside the second, so it
    is a ratio of areas. The other arguments are those of ``upsample_masks``.

    Returns:
        Shape ``(M,)``. A mask that is empty at both thresholds scores 0 (the reference: nan).

    Source: ``segment_anything/utils/amg.py``, ``calculate_stability_score``.
    """
    decided = tiled(
        low_res_logits,
        input_size=input_size,
        image_size=image_size,
        original_size=original_size,
        lowest=threshold - offset,
        highest=threshold + offset,
    )
    scores = [tiles.stability(threshold, offset) for tiles in decided]
    return np.concatenate([np.zeros(0, np.float32), *scores])


def tiled(
    low_res_logits: Float32,
    *,
    input_size: tuple[int, int],
    image_size: int,
    original_size: tuple[int, int],
    lowest: float,
    highest: float,
) -> Iterator[Tiles]:
    """Decide masks tile by tile, for any threshold from ``lowest`` to ``highest``.

    The other arguments are those of ``upsample_masks``.

    Yields:
        The masks in their order, a few at a time, so that memory stays small.

    Raises:
        MaskError: if a threshold is no finite number, or a logit that is needed is NaN.
    """
    _check_thresholds(lowest, highest)
    rows, columns = _axes(low_res_logits, input_size, image_size, original_size)
    for piece in _pieces(len(low_res_logits), rows, columns):
        logits = low_res_logits[piece]
        yield _tiles(logits, rows, columns, *_decided(logits, rows, columns, lowest, highest))


def _check_thresholds(lowest: float, highest: float) -> None:
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise MaskError(f"a mask's threshold must be a number, got {lowest} and {highest}")


def _pieces(count: int, rows: Axis, columns: Axis) -> Iterator[slice]:
    """Yield as many masks at a time as their tiles may be held."""
    at_once = max(1, _TILES_AT_ONCE // (rows.tiles * columns.tiles))
    for start in range(0, count, at_once):
        yield slice(start, start + at_once)


def _decided(
    logits: Float32, rows: Axis, columns: Axis, lowest: float, highest: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which tiles are above every threshold throughout, and which have an edge in them."""
    least = columns.extreme(np.minimum, rows.extreme(np.minimum, logits, 1), 2)
    greatest = columns.extreme(np.maximum, rows.extreme(np.maximum, logits, 1), 2)
    if np.isnan(least).any():  # it would be background, without a word
        raise MaskError("mask logits that are NaN: the model or the embedding is damaged")
    inside = least > highest
    return inside, ~inside & (greatest > lowest)


def _tiles(
    logits: Float32,
    rows: Axis,
    columns: Axis,
    inside: NDArray[np.bool_],
    edge: NDArray[np.bool_],
) -> Tiles:
    mask, row, column = np.nonzero(edge)
    held = None
    thin = max(rows.length, columns.length) > _LONGEST_KEPT  # weights take more than the logits
    if len(mask) <= (_TILES_A_PIECE if thin else _TILES_AT_ONCE):
        held = _tile_logits(logits, rows, columns, mask, row, column)
    return Tiles(inside, mask, row, column, held, logits, rows, columns)


def _tile_logits(
    sources: Float32,
    rows: Axis,
    columns: Axis,
    mask: NDArray[np.intp],
    row: NDArray[np.intp],
    column: NDArray[np.intp],
) -> Float32:
    """Compute tiles; for the arguments and the result see ``Tiles``."""
    windows = sliding_window_view(sources, (rows.taps, columns.taps), axis=(1, 2))
    strips: Float32 = np.matmul(
        rows.weights(row), windows[mask, rows.first[row], columns.first[column]]
    )
    pixels: Float32 = np.matmul(strips, columns.weights(column).swapaxes(1, 2))
    past_bottom, past_right = rows.length % rows.tile, columns.length % columns.tile
    if past_bottom:
        pixels[row == rows.tiles - 1, past_bottom:] = -np.inf
    if past_right:
        pixels[column == columns.tiles - 1, :, past_right:] = -np.inf
    return pixels


def _axes(
    logits: Float32, input_size: tuple[int, int], image_size: int, original_size: tuple[int, int]
) -> tuple[Axis, Axis]:
    side = logits.shape[-1]
    height, width = original_size
    return (
        _axis(side, image_size, input_size[0], height, _tile_length(height, width)),
        _axis(side, image_size, input_size[1], width, _tile_length(width, height)),
    )


def _tile_length(length: int, across: int) -> int:
    """Return the length of a tile: ``TILE``, or more where the photo is thinner than that.

    >>> _tile_length(700, 500), _tile_length(7000, 16), _tile_length(16, 7000)
    (48, 144, 16)
    """
    return min(length, TILE * TILE // min(TILE, across))


@lru_cache(maxsize=64)
def _axis(low_res: int, frame: int, input_length: int, length: int, tile: int) -> Axis:
    """Compose the two resizes of one axis, ``low_res`` -> ``frame``, cropped -> ``length``."""
    inner_taps, inner_weights = _bilinear(np.arange(frame), low_res, frame)
    starts = np.arange(0, length, tile)
    # Taps never go back along the axis: a tile's window reaches from its first to its last pixel's.
    left, _ = _bilinear(starts, input_length, length)
    right, _ = _bilinear(np.minimum(starts + tile, length) - 1, input_length, length)
    first = inner_taps[left].min(axis=(1, 2))
    last = inner_taps[right].max(axis=(1, 2))
    width = int((last - first).max()) + 1
    first = np.minimum(first, low_res - width)

    def weights(tiles: NDArray[np.intp]) -> Float32:
        pixel = (tiles[:, None] * tile + np.arange(tile)).ravel()
        outer_taps, outer_weights = _bilinear(np.minimum(pixel, length - 1), input_length, length)
        outer_weights[pixel >= length] = 0
        taps = inner_taps[outer_taps].reshape(-1, 4) - np.repeat(first[tiles], tile)[:, None]
        products = (outer_weights[:, :, None] * inner_weights[outer_taps]).reshape(-1, 4)
        result = np.zeros((len(pixel), width), np.float32)
        # Taps of one pixel may fall on the same sample, so they are added rather than assigned.
        np.add.at(result, (np.arange(len(pixel))[:, None], taps), products)
        return result.reshape(len(tiles), tile, width)

    if length > _LONGEST_KEPT:
        return Axis(first, width, tile, length, weights)
    kept = weights(np.arange(len(starts)))
    return Axis(first, width, tile, length, kept.__getitem__)


def _bilinear(
    pixel: NDArray[np.intp], source: int, target: int
) -> tuple[NDArray[np.intp], Float32]:
    """Return the two taps and weights of each sample, as ``F.interpolate`` chooses them.

    Positions are computed in float32, as torch does: on a long axis float64 would land visibly
    elsewhere. There is no antialiasing when the target is shorter.

    Args:
        pixel: indices into the target, shape ``(n,)``.
        source: length of what is resized.
        target: length it is resized to.

    Returns:
        Indices into the source and their weights, both of shape ``(n, 2)``.

    Source: ``aten/src/ATen/native/UpSample.h``, ``area_pixel_compute_source_index``.
    """
    scale = np.float32(source) / np.float32(target)
    half = np.float32(0.5)
    position = np.maximum(scale * (pixel.astype(np.float32) + half) - half, 0)
    left = np.minimum(position.astype(np.intp), source - 1)
    right = np.minimum(left + 1, source - 1)
    weight = np.clip(position - left.astype(np.float32), 0, 1)
    return np.stack([left, right], axis=1), np.stack([1 - weight, weight], axis=1)
