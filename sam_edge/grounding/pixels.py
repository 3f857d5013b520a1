"""Photos into an image tower, as the image processors of its checkpoint make them.

Source: ``transformers/models/owlvit/image_processing_pil_owlvit.py`` and
``transformers/models/owlv2/image_processing_pil_owlv2.py``, whose resize is scikit-image's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sam_edge.image import RgbImage
from sam_edge.spec import STRETCH_BICUBIC, ImageSpec
from sam_edge_runtimes import Float32


def preprocess(image: RgbImage, spec: ImageSpec) -> Float32:
    """Make an image tower's input from a photo.

    Args:
        image: shape ``(H, W, 3)``, uint8 RGB.
        spec: its side S, how the photo becomes a square, and the normalisation.

    Returns:
        Shape ``(1, 3, S, S)``. Where the photo is padded, at the bottom and right, it is black
        before it is normalised, as the model was trained: not the mean colour.
    """
    tensor = np.empty((1, 3, spec.size, spec.size), np.float32)
    if spec.resize == STRETCH_BICUBIC:
        from PIL import Image

        picture = Image.fromarray(image)
        resized = np.asarray(picture.resize((spec.size, spec.size), Image.Resampling.BICUBIC))
        tensor[0] = resized.transpose(2, 0, 1)
    else:
        for channel in range(3):
            tensor[0, channel] = padded_and_shrunk(image[:, :, channel], spec.size)
    for plane, mean, std in zip(tensor[0], spec.mean, spec.std, strict=True):
        plane -= np.float32(mean)
        plane /= np.float32(std)
    return tensor


def box_scale(original_size: tuple[int, int], spec: ImageSpec) -> Float32:
    """Return what boxes in 0..1 are multiplied with to be in the photo's pixels, ``(x, y, x, y)``.

    >>> padded = ImageSpec(960, (0, 0, 0), (1, 1, 1), resize="pad_square")
    >>> box_scale((480, 640), padded).tolist()  # what is padded at the bottom counts
    [640.0, 640.0, 640.0, 640.0]
    """
    height, width = original_size
    if spec.resize != STRETCH_BICUBIC:
        height = width = max(height, width)
    return np.array([width, height, width, height], np.float32)


def padded_and_shrunk(plane: NDArray[np.uint8], size: int) -> Float32:
    """Pad a channel with zeros to a square at the bottom and right, blur it and resize it.

    The blur is a Gaussian of ``(scale - 1) / 2`` pixels, the resize bilinear. Both are linear and
    separable, so that together they are some taps a row, and none where the padding is.

    Args:
        plane: shape ``(H, W)``.
        size: side of the result.

    Returns:
        Shape ``(size, size)``, in 0..255.
    """
    side = max(plane.shape)
    rows = _weighted_rows(plane, _taps(plane.shape[0], side, size))
    columns = _weighted_rows(np.ascontiguousarray(rows.T), _taps(plane.shape[1], side, size))
    return np.ascontiguousarray(columns.T)


def _weighted_rows(
    values: NDArray[np.uint8] | Float32, taps: tuple[NDArray[np.intp], Float32]
) -> Float32:
    """Return sums of rows: the k-th of some rows that ``taps`` numbers, by their weights."""
    indices, weights = taps
    total = np.zeros((len(indices), values.shape[1]), np.float32)
    for index, weight in zip(indices.T, weights.T, strict=True):
        total += values[index] * weight[:, None]
    return total


@lru_cache(maxsize=16)
def _taps(length: int, side: int, size: int) -> tuple[NDArray[np.intp], Float32]:
    """Return which of an axis' samples make each resized one, ``(size, taps)``, and their weights.

    Args:
        length: samples of the photo along this axis.
        side: the same with padding.
        size: samples afterwards.
    """
    scale = side / size
    sigma = max(0.0, (scale - 1) / 2)
    radius = int(4 * sigma + 0.5)
    blur = np.ones(1)
    if sigma:
        blur = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        blur /= blur.sum()
    centre = (np.arange(size) + 0.5) * scale - 0.5
    first = np.floor(centre)
    part = (centre - first)[:, None]
    # A bilinear sample lies between two blurred ones, whose taps are one apart.
    weights = (1 - part) * np.append(blur, 0.0) + part * np.append(0.0, blur)
    period = max(1, 2 * (side - 1))
    indices = np.abs(first.astype(np.intp)[:, None] - radius + np.arange(2 * radius + 2)) % period
    indices = np.where(indices < side, indices, period - indices)  # mirrored about the last sample
    inside = indices < length
    return np.where(inside, indices, 0), np.where(inside, weights, 0).astype(np.float32)
