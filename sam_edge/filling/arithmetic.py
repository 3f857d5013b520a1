"""How weights are computed on their way into a graph: the one place, for exporter and filling.

Only operations that every processor rounds alike (sums, products, quotients, square roots, powers
of two), in float32 and one after the other: the same checkpoint gives the same bytes everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sam_edge_runtimes import Float32

LARGEST = {8: 127, 7: 63}
"""The largest weight by bits. With 7, a sum of two products, 2 x 255 x 63, fits 16 bits: that is
what x86 without VNNI adds up in, and where it would saturate with 8 (``vpmaddubsw``)."""

NORM_EPSILON = 1e-5
"""Of every BatchNorm here, which is PyTorch's default."""


def folded_norm(
    weight: Float32, gain: Float32, bias: Float32, mean: Float32, variance: Float32
) -> tuple[Float32, Float32]:
    """Put the BatchNorm that follows a convolution into its weights.

    Args:
        weight: ``(outputs, inputs, h, w)`` of a convolution that has no bias.
        gain: ``(outputs,)`` of the norm, as are the others.
        bias: what it adds.
        mean: what it subtracts.
        variance: what it divides by the root of.

    Returns:
        Weights and bias of the convolution that does both.
    """
    factor = gain / np.sqrt(variance + np.float32(NORM_EPSILON))
    return weight * factor[:, None, None, None], bias - mean * factor


def integer_columns(matrix: Float32, bits: int = 8) -> tuple[NDArray[np.int8], Float32]:
    """Round a matrix to integers, each column with a scale of its own.

    Args:
        matrix: ``(rows, columns)``.
        bits: 8, or 7 for processors that saturate; see ``LARGEST``.

    Returns:
        ``(rows, columns)`` int8, symmetric, and ``(columns,)`` float32; their product is within
        half a scale of the matrix.

    >>> integer_columns(np.float32([[1, 0], [-0.5, 0]]))[0].tolist()
    [[127, 0], [-64, 0]]
    """
    largest = np.abs(matrix).max(0)
    scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(LARGEST[bits])
    return np.rint(matrix / scale).astype(np.int8), scale


def integers_along(values: Float32, axis: int, bits: int = 8) -> tuple[NDArray[np.int8], Float32]:
    """Round weights to integers, each output channel with a scale of its own.

    Args:
        values: of any shape.
        axis: of the output channels.
        bits: as in ``integer_columns``.

    Returns:
        int8 in the shape of ``values``, and ``(channels,)`` float32.
    """
    moved = np.moveaxis(values, axis, -1)
    integers, scale = integer_columns(moved.reshape(-1, moved.shape[-1]), bits)
    return np.ascontiguousarray(np.moveaxis(integers.reshape(moved.shape), -1, axis)), scale


def equalizing_factors(gain: Float32, bias: Float32, peaks: Float32) -> Float32:
    """Return by how much a LayerNorm's channels are divided, and the rows that follow multiplied.

    One scale for a whole tensor suffers from channels that are far larger than the others, which
    trained ViTs have; a norm's gains say which, without data. Powers of two, so that nothing but
    the exponent of a weight changes.
    Source of the idea: Xiao et al., "SmoothQuant" (2023), section 4.1, there with measured
    activations.

    Args:
        gain: ``(channels,)`` of the norm.
        bias: ``(channels,)`` of the norm.
        peaks: ``(channels,)``, the largest weight of the rows that each channel is multiplied with.

    >>> equalizing_factors(np.float32([8, 0.5]), np.float32([0, 0]), np.float32([1, 1])).tolist()
    [2.0, 0.5]
    """
    # A normalised channel is seldom over 3: this is how large it gets after gain and bias.
    size = 3 * np.abs(gain) + np.abs(bias)
    smallest = np.float32(1e-5)
    root = np.sqrt(np.maximum(size, smallest) / np.maximum(peaks, smallest))
    mantissa, exponent = np.frexp(root)
    exponent = exponent - (mantissa < np.sqrt(np.float32(0.5)))  # the nearest power, not the next
    middle = round(int(exponent.sum()) / len(exponent))
    factors: Float32 = np.ldexp(np.float32(1), exponent - middle).astype(np.float32)
    return factors
