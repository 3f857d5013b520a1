"""Photos in: read, orient, resize the longest side, normalise, pad; coordinates both ways.

Everything here gives what the official predictor gives on the same pixels.
"""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import ImageError
from sam_edge.spec import ModelSpec

if TYPE_CHECKING:  # pillow is imported when a photo is, which keeps `import sam_edge` light
    from PIL import Image

RgbImage: TypeAlias = NDArray[np.uint8]
ImageLike: TypeAlias = "str | PathLike[str] | Image.Image | NDArray[Any]"

MAX_PIXELS = 400_000_000
"""Photos with more pixels are refused before they are decoded: 1.2 GB as RGB."""


def read_image(image: ImageLike) -> RgbImage:
    """Return a photo as people see it: ``(H, W, 3)`` uint8 RGB, EXIF orientation applied.

    Grey becomes RGB, alpha is ignored (as by the official code's ``cv2.imread``), palettes and
    CMYK are converted, 16 bits map by ``value / 257``.

    Args:
        image: a path, a pillow image, or an array: ``(H, W)``, ``(H, W, 1)`` grey,
            ``(H, W, 2)`` grey + alpha, ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA, uint8 or uint16.

    Raises:
        ImageError: if it cannot be read as a photo.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, str | PathLike):
        return _from_file(Path(fspath(image)))
    from PIL import Image

    if isinstance(image, Image.Image):
        return _from_pillow(image, "the image")
    raise ImageError(
        f"an image is a path, a PIL.Image or a uint8 array, not {type(image).__name__}"
    )


def _from_file(path: Path) -> RgbImage:
    from PIL import Image, UnidentifiedImageError

    if not path.exists():
        raise ImageError(f"{path}: there is no such file")
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name the photos in it")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes)")
    limit = Image.MAX_IMAGE_PIXELS
    try:
        # Our own limit below is checked on the header, before any pixel is decoded.
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(path) as picture:
            return _from_pillow(picture, str(path))
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture that pillow can read") from None
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{path} cannot be decoded: {error}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _from_pillow(picture: Image.Image, name: str) -> RgbImage:
    from PIL import ImageOps

    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name} has {width} x {height} pixels, more than {MAX_PIXELS}")
    upright = ImageOps.exif_transpose(picture)
    if upright.mode == "F":
        raise ImageError(f"{name} holds floating-point pixels; save it with 8 or 16 bits")
    if upright.mode.startswith("I"):
        return _from_array(_sixteen_bits(np.asarray(upright), name))
    return np.asarray(upright.convert("RGB"))


def _sixteen_bits(pixels: NDArray[Any], name: str) -> NDArray[np.uint16]:
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ImageError(f"{name} has values beyond 16 bits; save it with 8 or 16 bits")
    return pixels.astype(np.uint16)


def _from_array(pixels: NDArray[Any]) -> RgbImage:
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        hint = "; move the channels last" if pixels.ndim == 3 and pixels.shape[0] in (1, 3) else ""
        raise ImageError(f"an image array is (H, W) or (H, W, 1 to 4), got {pixels.shape}{hint}")
    if 0 in pixels.shape:
        raise ImageError(f"the image array has no pixels: its shape is {pixels.shape}")
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        hint = ""
        if np.issubdtype(pixels.dtype, np.floating):
            hint = "; if its values are 0..1 use (image * 255).round().astype(np.uint8)"
        raise ImageError(f"an image array must be uint8 or uint16, got {pixels.dtype}{hint}")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] in (1, 2):
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])


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

    height, width = resized_shape(image.shape[0], image.shape[1], spec.image_size)
    picture = Image.fromarray(image)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    resized = np.asarray(picture)
    frame = np.zeros((1, 3, *spec.frame_shape((height, width))), np.float32)
    for channel in range(3):
        plane = frame[0, channel, :height, :width]
        np.subtract(resized[:, :, channel], np.float32(spec.pixel_mean[channel]), out=plane)
        np.divide(plane, np.float32(spec.pixel_std[channel]), out=plane)
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
