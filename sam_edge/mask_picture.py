"""Masks from picture files: any picture of two values is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import PromptError
from sam_edge.image import check_size
from sam_edge.picture_file import (
    Place,
    decode,
    grey_numbers,
    name_of,
    open_picture,
    pieces,
    upright_canvas,
)

if TYPE_CHECKING:
    from PIL import Image

_LUMINANCE = np.array([299, 587, 114])
"""ITU-R 601-2, in thousandths, as pillow turns colours into grey."""


def mask_picture(mask: NDArray[np.bool_]) -> Image.Image:
    """Return a mask, shape ``(H, W)``, as a grey picture: white is on the object."""
    from PIL import Image

    return Image.fromarray(mask.view(np.uint8) * np.uint8(255))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask from a picture of two values.

    The brighter of the two is on the object: 1 of 0 and 1, white of black and white, the colour on
    a black ground (as in the palettes of VOC, DAVIS and LabelMe). Where transparency varies it is
    the mask, whatever the colours: what is opaque is on the object. As in a photo, EXIF
    orientation is applied.

    Args:
        path: of a file in any format that photos are read from; ``~`` is the user's home.

    Returns:
        Shape ``(H, W)``, True on the object; some of it is True, and some is not.

    Raises:
        ImageError: if the file cannot be read as a picture.
        PromptError: if it holds more than two values or only one.
    """
    name = name_of(path)
    with open_picture(path) as picture:
        check_size(picture, name)
        decode(picture, name)
        for values in [_alpha, _colours] if picture.has_transparency_data else [_colours]:
            canvas, stored = upright_canvas(picture, np.bool_)
            found = _split(values(picture), stored)
            if len(found) > 2:
                lossy = picture.format in ("JPEG", "MPO")
                hint = "a mask saved as JPEG is not two-valued; " if lossy else ""
                raise PromptError(
                    f"{name} holds more than two values; {hint}save it as black and white PNG"
                )
            if len(found) == 2:
                first, other = map(_brightness, found)
                if first == other:
                    raise PromptError(
                        f"{name}: its two colours are equally bright; make what is on the object "
                        "white and the rest black"
                    )
                return canvas if other > first else np.invert(canvas)
    raise PromptError(
        f"{name} is of one value everywhere, which says nothing about an object; "
        "make what is on the object white and the rest black"
    )


def _alpha(picture: Image.Image) -> Iterator[tuple[Place, NDArray[Any]]]:
    for place, piece in pieces(picture):
        yield place, np.asarray(piece.convert("RGBA"))[:, :, 3:]


def _colours(picture: Image.Image) -> Iterator[tuple[Place, NDArray[Any]]]:
    for place, piece in pieces(picture):
        if picture.mode[0] in "IF":
            yield place, grey_numbers(picture, piece)[:, :, None]
        elif picture.mode in ("1", "L"):
            yield place, np.asarray(piece)[:, :, None]
        else:
            yield place, np.asarray(piece.convert("RGB"))


def _split(
    values: Iterator[tuple[Place, NDArray[Any]]], stored: NDArray[np.bool_]
) -> list[NDArray[Any]]:
    """Fill ``stored`` with where a picture differs from its first pixel.

    Args:
        values: the pieces of a picture, ``(h, w, channels)``.
        stored: shape ``(H, W)``.

    Returns:
        The values that were found, ``(channels,)`` each, that of the first pixel first. It stops at
        a third.
    """
    found: list[NDArray[Any]] = []
    for place, piece in values:
        found = found or [piece[0, 0]]
        differs = _unlike(piece, found[0])
        stored[place] = differs
        if len(found) == 1 and differs.any():
            found.append(piece.reshape(-1, piece.shape[2])[differs.argmax()])
        third = differs & _unlike(piece, found[-1])
        if third.any():
            return [*found, piece.reshape(-1, piece.shape[2])[third.argmax()]]
    return found


def _unlike(piece: NDArray[Any], value: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where a piece, ``(h, w, channels)``, has another value, ``(channels,)``."""
    unlike: NDArray[np.bool_] = piece[:, :, 0] != value[0]
    for channel in range(1, len(value)):  # ten times as fast as any(axis=2)
        unlike |= piece[:, :, channel] != value[channel]
    return unlike


def _brightness(value: NDArray[Any]) -> float:
    numbers = value.astype(np.float64)
    return float(numbers @ _LUMINANCE) if len(numbers) == 3 else float(numbers[0])
