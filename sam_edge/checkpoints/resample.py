"""Position tables for another image size, as PyTorch resamples them.

Sums run over the few neighbours of a cell, one after the other, so that every processor gives the
same bits: a matrix product would not. Where cells lie is computed in float32, because PyTorch does:
exact places would be some 1e-5 away from its answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_edge_runtimes import Float32

CUBIC = -0.5
"""The cubic kernel's parameter, where PyTorch antialiases."""


def resampled(table: Float32, shape: tuple[int, ...]) -> Float32:
    """Resize a position table.

    Absolute positions are resampled as images are: bicubic, antialiased, as the official
    fine-tuning code does. Relative positions are resampled linearly, as the official
    ``get_rel_pos`` does. As ``torch.nn.functional.interpolate`` answers, within 1e-6 of the table's
    largest value.

    Args:
        table: ``(1, h, w, channels)`` absolute or ``(2 * side - 1, channels)`` relative positions.
        shape: what it is to be.
    """
    if table.ndim == 2:
        return _along(table, 0, *_linear(table.shape[0], shape[0]))
    for axis in (1, 2):
        table = _along(table, axis, *_bicubic(table.shape[axis], shape[axis]))
    return table


def _along(
    table: Float32, axis: int, cells: NDArray[np.intp], weights: NDArray[np.float32]
) -> Float32:
    """Sum ``weights[k, i]`` times the table's ``cells[k, i]``, for each new cell i of an axis."""
    moved = np.moveaxis(table, axis, -1)
    total = np.zeros((*moved.shape[:-1], cells.shape[1]), np.float32)
    for cell, weight in zip(cells, weights, strict=True):
        total += moved[..., cell] * weight
    return np.ascontiguousarray(np.moveaxis(total, -1, axis))


def _linear(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return each new cell's two neighbours and their weights, ``(2, new)``."""
    at = np.maximum(_scale(old, new) * _centres(new) - np.float32(0.5), 0)
    below = at.astype(np.intp)
    share = at - below.astype(np.float32)
    return np.stack([below, np.minimum(below + 1, old - 1)]), np.stack([1 - share, share])


def _bicubic(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return each new cell's neighbours and their weights, ``(neighbours, new)``.

    Source: ``_compute_indices_weights_aa`` in PyTorch's ``UpSampleKernel.cpp``.
    """
    scale, half = _scale(old, new), np.float32(0.5)
    stretch = max(scale, np.float32(1))  # shrinking widens the kernel: that is antialiasing
    centre = scale * _centres(new)
    first = np.maximum((centre - 2 * stretch + half).astype(np.intp), 0)
    last = np.minimum((centre + 2 * stretch + half).astype(np.intp), old)
    steps = np.arange(int((last - first).max()))[:, None]
    cells = first + steps
    away = steps.astype(np.float32) + (first.astype(np.float32) - centre) + half
    weights = _cubic(away * (np.float32(1) / stretch)) * (cells < last)
    weights /= weights.sum(0)
    return np.minimum(cells, old - 1), weights.astype(np.float32)


def _scale(old: int, new: int) -> np.float32:
    return np.float32(old) / np.float32(new)


def _centres(count: int) -> Float32:
    return np.arange(count, dtype=np.float32) + np.float32(0.5)


def _cubic(x: Float32) -> Float32:
    x = np.abs(x)
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * CUBIC
    return np.where(x < 1, near, np.where(x < 2, far, 0))
