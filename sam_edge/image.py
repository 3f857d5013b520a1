"""Photos in: read, orient, resize the longest side, normalise, pad; coordinates both ways.

Everything here gives what the official predictor gives on the same pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import repeat
from os import PathLike, fsdecode
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import ImageError
from sam_edge.picture_file import (
    PictureSource,
    Place,
    decode,
    decode_low_bytes,
    decoding_bytes,
    grey_numbers,
    is_deep_colour,
    name_of,
    open_picture,
    pieces,
    places,
    refusing,
    stated_bits,
    upright_canvas,
    upright_size,
)
from sam_edge.spec import ImageSpec, ModelSpec

if TYPE_CHECKING:  # pillow is imported when a photo is, which keeps `import sam_edge` light
    from PIL import Image

RgbImage: TypeAlias = NDArray[np.uint8]
ImageLike: TypeAlias = "str | PathLike[str] | bytes | Image.Image | NDArray[Any]"

logger = logging.getLogger("sam_edge")

MAX_PIXELS = 400_000_000
"""Photos with more pixels are refused before they are decoded."""

MAX_SIDE = 50_000_000
"""Longer photos are refused, too: the resize takes 16 bytes for each pixel of a side, and pillow
cannot hold rows of 90 million pixels."""

MAX_BYTES = 4_000_000_000
"""Photos whose decoder needs more memory are refused, too. ``MAX_PIXELS`` of a JPEG need 2.8 GB,
a third of it for the array that is returned."""

STRETCH_PERCENTILES = (2, 98)
"""What ``stretch`` makes black and white."""

_SAMPLES = 1 << 20
"""How many pixels a percentile is taken of: all, or as many as an even step leaves of a photo."""

_NARROW = 1 / 4
"""The share of its levels that a deep photo uses at least, or a warning is given: 14 bits in 16."""

_Pieces: TypeAlias = "Callable[[], Iterator[tuple[Place, NDArray[Any]]]]"
"""Where each piece of a photo lies and its numbers, ``(h, w, 1 or 3)``; may be asked for twice."""


def read_image(image: ImageLike, *, stretch: bool = False, channel_order: str = "RGB") -> RgbImage:
    """Return a photo as people see it: ``(H, W, 3)`` uint8 RGB, EXIF orientation applied.

    Grey becomes RGB, alpha is ignored (as by the official code's ``cv2.imread``), palettes and
    CMYK are converted, of 12 and 16 bits the upper 8 are taken (``cv2.imread`` again). A photo of
    more than 8 bits that uses less than a quarter of its levels would be nearly black: a warning
    is logged, and ``stretch`` is the way out. Of a file with several pictures, the first is read.

    Args:
        image: a path (``~`` is the user's home), the bytes of a file, a pillow image, or an array:
            ``(H, W)``, ``(H, W, 1)`` grey, ``(H, W, 2)`` grey + alpha, ``(H, W, 3)`` RGB or
            ``(H, W, 4)`` RGBA, uint8 or uint16 of either byte order.
        stretch: make the 2nd percentile of the numbers (all channels together) black and the 98th
            white. Signed, 32-bit and floating-point numbers, which say no white of their own, are
            then taken, too; NaN is black.
        channel_order: ``RGB``, or ``BGR`` for an array whose colours come that way round.

    Raises:
        ImageError: if it cannot be read as a photo.
    """
    if channel_order not in ("RGB", "BGR"):
        raise ImageError(f"the channel order is RGB or BGR, got {channel_order!r}")
    if isinstance(image, np.ndarray):
        return _from_array(image, stretch, channel_order)
    if channel_order != "RGB":
        raise ImageError(f"only an array can be BGR, not {type(image).__name__}")
    if isinstance(image, str | PathLike):
        return _from_file(Path(fsdecode(image)), stretch)
    if isinstance(image, bytes):
        return _from_file(image, stretch)
    from PIL import Image

    if isinstance(image, Image.Image):
        with refusing("the image"):
            return _from_pillow(image, "the image", stretch)
    raise ImageError(
        f"an image is a path, a file's bytes, a PIL.Image or a uint8 array, "
        f"not {type(image).__name__}"
    )


def photo_size(source: PictureSource) -> tuple[int, int]:
    """Return the height and width that ``read_image`` would give, from a file's header alone.

    Raises:
        ImageError: if it is no photo, or too large.
    """
    with open_picture(source) as picture:
        check_size(picture, name_of(source))
        return upright_size(picture)


def check_size(picture: Image.Image, name: str) -> None:
    """Refuse a picture that is too large, before it is decoded.

    Raises:
        ImageError: if it has no pixels, more than ``MAX_PIXELS`` or ``MAX_SIDE``, or needs more
            memory than ``MAX_BYTES``.
    """
    width, height = picture.size
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels: its size is {width} x {height}")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {width} x {height} pixels, more than {MAX_PIXELS}")
    _check_side(width, height, name)
    needed = decoding_bytes(picture)
    if needed > MAX_BYTES:
        raise ImageError(
            f"{name} has {width} x {height} pixels, and {picture.format} takes "
            f"{needed / 1e9:.1f} GB to decode them; save it smaller, or as PNG"
        )


def _check_side(width: int, height: int, name: str) -> None:
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{name} has {width} x {height} pixels, a side of more than {MAX_SIDE}")


def _from_file(source: PictureSource, stretch: bool) -> RgbImage:
    name = name_of(source)
    with open_picture(source) as picture:
        check_size(picture, name)
        if not (stretch and is_deep_colour(picture)):
            return _from_pillow(picture, name, stretch)
        with open_picture(source) as lower:
            decode_low_bytes(lower, name)
            return _from_pillow(picture, name, stretch, lower)


def _from_pillow(
    picture: Image.Image, name: str, stretch: bool, lower: Image.Image | None = None
) -> RgbImage:
    """Read an opened picture; ``lower`` is the same one, decoded to its lower bytes."""
    check_size(picture, name)
    deep_colour = is_deep_colour(picture)
    decode(picture, name)
    bits = stated_bits(picture)

    def numbers() -> Iterator[tuple[Place, NDArray[Any]]]:
        lower_pieces = repeat((None, None)) if lower is None else pieces(lower)
        for (place, piece), (_, lower_piece) in zip(
            pieces(picture), lower_pieces, strict=lower is not None
        ):
            if bits != 8:
                yield place, grey_numbers(picture, piece)[:, :, None]
            elif lower_piece is None:
                # Pillow's convert would copy what is RGB already.
                yield place, np.asarray(piece if piece.mode == "RGB" else piece.convert("RGB"))
            else:
                upper = np.asarray(piece.convert("RGB")).astype(np.uint16)
                yield place, upper << 8 | np.asarray(lower_piece.convert("RGB"))

    canvas, stored = upright_canvas(picture, np.uint8, (3,))
    if stretch:
        _stretch(numbers, stored, name)
    elif bits is None:
        raise ImageError(
            f"{name} holds signed, 32-bit or floating-point numbers, which say no white: "
            "use --stretch (in Python stretch=True), or save it with 8 or 16 bits"
        )
    else:
        _cut(numbers, stored, bits, name, deep=deep_colour or bits > 8)
    return canvas


def _from_array(pixels: NDArray[Any], stretch: bool, channel_order: str) -> RgbImage:
    name = "the image array"
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        hint = "; move the channels last" if pixels.ndim == 3 and pixels.shape[0] in (1, 3) else ""
        raise ImageError(f"an image array is (H, W) or (H, W, 1 to 4), got {pixels.shape}{hint}")
    if 0 in pixels.shape:
        raise ImageError(f"{name} has no pixels: its shape is {pixels.shape}")
    _check_side(pixels.shape[1], pixels.shape[0], name)
    if np.any(getattr(pixels, "mask", False)):
        raise ImageError(f"{name} has masked pixels; say what they are: image.filled(0)")
    bits = 8 * pixels.dtype.itemsize
    if pixels.dtype.kind not in ("uif" if stretch else "u") or (bits > 16 and not stretch):
        raise ImageError(
            f"an image array must be uint8 or uint16, got {pixels.dtype}{_dtype_hint(pixels)}"
        )
    pixels = np.asarray(pixels)  # no matrix or another class with rules of its own
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] <= 2:
        colours = pixels[:, :, :1]
    else:
        colours = pixels[:, :, :3] if channel_order == "RGB" else pixels[:, :, 2::-1]
    if bits == 8 and colours.shape[2] == 3 and not stretch:
        return np.ascontiguousarray(colours, np.uint8)

    def numbers() -> Iterator[tuple[Place, NDArray[Any]]]:
        return ((place, colours[place]) for place in places(*colours.shape[:2]))

    canvas = np.empty((*colours.shape[:2], 3), np.uint8)
    if stretch:
        _stretch(numbers, canvas, name)
    else:
        _cut(numbers, canvas, bits, name, deep=bits > 8)
    return canvas


def _dtype_hint(pixels: NDArray[Any]) -> str:
    if pixels.dtype.kind == "b":
        return "; use image.astype(np.uint8) * 255"
    if pixels.dtype.kind == "f":
        return "; if its values are 0..1 use (image * 255).round().astype(np.uint8)"
    if pixels.dtype.kind in "iu":
        return "; if its values are 0..255 use image.astype(np.uint8), or else stretch=True"
    return ""


def _cut(numbers: _Pieces, stored: RgbImage, bits: int, name: str, *, deep: bool) -> None:
    """Fill a photo with the upper 8 of its bits."""
    if deep:
        # One bright pixel in a thousand is a broken one.
        low, high = _percentiles(numbers, stored, (0.1, 99.9), name)
        levels = 1 << bits
        if high > low and high - low < _NARROW * levels:
            logger.warning(
                "%s uses only %.1f%% of its %d levels, so that little can be seen; --stretch (in "
                "Python stretch=True) makes its 2nd and 98th percentile black and white",
                *(name, 100 * (high - low) / levels, levels),
            )
    for place, values in numbers():
        stored[place] = values >> (bits - 8)


def _stretch(numbers: _Pieces, stored: RgbImage, name: str) -> None:
    """Fill a photo so that ``STRETCH_PERCENTILES`` of its numbers are black and white."""
    low, high = _percentiles(numbers, stored, STRETCH_PERCENTILES, name)
    if low == high:  # a small object before an even background
        low, high = _percentiles(numbers, stored, (0, 100), name)
    for place, values in numbers():
        stored[place] = stretched(values, low, high)


def stretched(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Return numbers as levels from 0 at ``low`` to 255 at ``high``; cut off, they are rounded.

    NaN is black.
    """
    scale = 255 / (high - low) if high > low else 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # infinities and NaN
        levels = (values.astype(np.float64) - low) * scale
        rounded: NDArray[np.float64] = np.clip(np.nan_to_num(levels, nan=0.0), 0, 255) + 0.5
    return rounded


def _percentiles(
    numbers: _Pieces, stored: RgbImage, percentages: tuple[float, float], name: str
) -> tuple[float, float]:
    step = max(1, stored.shape[0] * stored.shape[1] // _SAMPLES)
    samples = np.concatenate(
        [values.reshape(-1, values.shape[2])[::step].ravel() for _, values in numbers()]
    )
    samples = samples[np.isfinite(samples)]
    if samples.size == 0:
        raise ImageError(f"{name} holds no finite number")
    low, high = np.percentile(samples, percentages)
    return float(low), float(high)


def photo_sha256(image: RgbImage) -> str:
    """Identify a photo by its pixels, so that a copy in another file format has the same name."""
    import hashlib  # it loads OpenSSL, which `import sam_edge` has no use for

    digest = hashlib.sha256(f"{image.shape[0]}x{image.shape[1]}".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def resized_shape(height: int, width: int, long_side: int) -> tuple[int, int]:
    """Return the ``(height, width)`` of an image whose longest side becomes ``long_side`` pixels.

    Halves round up. Python's ``round`` goes to the even neighbour, which would make a
    2048 x 1365 image one row shorter than the one SAM was trained to see. No side falls below one
    pixel (the official code would make a 1 x 3000 photo 0 pixels high and fail).

    Source: ``segment_anything/utils/transforms.py``, ``ResizeLongestSide.get_preprocess_shape``.

    >>> resized_shape(1365, 2048, long_side=1024)
    (683, 1024)
    >>> resized_shape(1, 3000, long_side=1024)
    (1, 1024)
    """
    scale = long_side / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def input_shape(height: int, width: int, image: ImageSpec) -> tuple[int, int]:
    """Return the ``(height, width)`` that a photo has inside the encoder's frame.

    >>> input_shape(1365, 2048, ImageSpec(1024, (0, 0, 0), (1, 1, 1), resize="stretch"))
    (1024, 1024)
    """
    if image.resize == "stretch":
        return image.size, image.size
    return resized_shape(height, width, image.size)


def preprocess(image: RgbImage, spec: ModelSpec) -> NDArray[np.float32]:
    """Make the encoder's input from a photo: resize, normalise, then pad with zeros.

    Args:
        image: shape ``(H, W, 3)``, uint8 RGB.
        spec: gives the frame's side S, what of it is encoded, and the normalisation.

    Returns:
        Shape ``(1, 3, S, S)``, or what ``spec.frame_shape`` leaves of it. The photo stands at the
        top left; the rest is zero, which after normalisation is the mean colour.

    Source: ``ResizeLongestSide.apply_image`` and ``Sam.preprocess``.
    """
    from PIL import Image

    height, width = input_shape(image.shape[0], image.shape[1], spec.image)
    picture = Image.fromarray(image)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    resized = np.asarray(picture)
    frame = np.zeros((1, 3, *spec.frame_shape((height, width))), np.float32)
    for channel in range(3):
        plane = frame[0, channel, :height, :width]
        np.subtract(resized[:, :, channel], np.float32(spec.image.mean[channel]), out=plane)
        np.divide(plane, np.float32(spec.image.std[channel]), out=plane)
    return frame


def to_encoder_frame(
    points: NDArray[np.float64], original_size: tuple[int, int], input_size: tuple[int, int]
) -> NDArray[np.float32]:
    """Map points from the photo to the encoder's frame.

    Args:
        points: shape ``(..., 2)``, x and y in the photo's pixels.
        original_size: height and width of the photo.
        input_size: height and width of the resized photo inside the frame.

    Source: ``ResizeLongestSide.apply_coords``: the axes have scales of their own, because sizes
    are whole pixels.
    """
    scale = (input_size[1] / original_size[1], input_size[0] / original_size[0])
    mapped: NDArray[np.float32] = (points * np.asarray(scale)).astype(np.float32)
    return mapped
