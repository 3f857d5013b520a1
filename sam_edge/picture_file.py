"""Picture files: known by their first bytes, and opened without decoding a pixel.

``PIL.Image.open`` is not used. It tries 40 formats, some of which decode while they open (icons) or
start other programs (PostScript), and it warns or refuses by a limit that belongs to the whole
process (``PIL.Image.MAX_IMAGE_PIXELS``), which a library must not change.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sam_edge.errors import ImageError, SamEdgeError
from sam_edge.text import printable

if TYPE_CHECKING:  # pillow is imported when a photo is, which keeps `import sam_edge` light
    from PIL import Image

PictureSource: TypeAlias = "Path | bytes"
Place: TypeAlias = tuple[slice, slice]

FORMATS = (
    *("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM", "QOI"),
    "HEIF",  # where the host program registered a plug-in for it
)
"""What photos and masks are stored in. Each tells its size before it decodes."""

PIECE_PIXELS = 1 << 18
"""Conversions need up to 16 bytes a pixel of their own: 4 MB for a piece of this size. A host's
own ``MAX_IMAGE_PIXELS``, which ``crop`` looks at, is larger."""

# Tags of TIFF and of EXIF.
_BITS, _PHOTOMETRIC, _ORIENTATION, _PLANAR, _SAMPLE_FORMAT = 258, 262, 274, 284, 339


LARGEST_PIPE_BYTES = 2**30
"""More is no photo."""


def name_of(source: PictureSource) -> str:
    """Return what messages call a source."""
    return printable(str(source)) if isinstance(source, Path) else "the photo's data"


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises at damaged data into an ``ImageError`` of one line.

    Decoders raise anything: ``struct.error``, ``IndexError``, ``NotImplementedError``,
    ``zlib.error``, ``OverflowError``, ``DecompressionBombError``, ...
    """
    try:
        yield
    except SamEdgeError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} cannot be decoded: there is not enough memory") from error
    except Exception as error:
        reason = printable(str(error)) or type(error).__name__
        raise ImageError(f"{name} cannot be decoded: {reason}") from error


@contextmanager
def open_picture(source: PictureSource) -> Iterator[Image.Image]:
    """Open a picture: its header is read, its pixels are not.

    What is raised inside the context is mapped, too, because decoding happens there.

    Args:
        source: a path (``~`` is the user's home), or the bytes of a file.

    Raises:
        ImageError: if there is no such file, or it is none of ``FORMATS``, or damaged.
    """
    name = name_of(source)
    with refusing(name), _stream(source, name) as stream:
        yield _open(stream, name)


@contextmanager
def _stream(source: PictureSource, name: str) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        if not source:
            raise ImageError(f"{name} is empty (0 bytes)")
        yield BytesIO(source)
        return
    try:
        path = source.expanduser()
    except RuntimeError:  # no HOME and no entry in the system's list of users
        raise ImageError(f"{name}: nobody knows where ~ is here; write the whole path") from None
    if not path.exists():
        raise ImageError(f"{name}: there is no such file")
    if path.is_dir():
        raise ImageError(f"{name} is a folder; name a picture in it")
    if path.is_fifo():
        with path.open("rb") as pipe:
            yield BytesIO(read_pipe(pipe))
        return
    if not path.is_file():
        raise ImageError(f"{name} is a device, not a file")
    if path.stat().st_size == 0:
        raise ImageError(f"{name} is empty (0 bytes)")
    with path.open("rb") as file:
        yield file


def read_pipe(stream: IO[bytes]) -> bytes:
    """Read a photo from a pipe, which does not say how long it is.

    Raises:
        ImageError: if it does not end.
    """
    data = stream.read(LARGEST_PIPE_BYTES + 1)
    if len(data) > LARGEST_PIPE_BYTES:
        raise ImageError(f"more than {LARGEST_PIPE_BYTES} bytes came; save the photo as a file")
    return data


def _open(stream: IO[bytes], name: str) -> Image.Image:
    from PIL import Image

    prefix = stream.read(16)
    tried = set()
    refused: Exception | None = None
    for load_plugins in (Image.preinit, Image.init):  # the second loads all of them
        load_plugins()
        for format_name in FORMATS:
            if format_name in tried or format_name not in Image.OPEN:
                continue
            tried.add(format_name)
            factory, accept = Image.OPEN[format_name]
            accepted = accept is not None and accept(prefix)
            if isinstance(accepted, str):  # this pillow was built without it
                refused = refused or ImageError(f"{name} cannot be decoded: {accepted}")
                continue
            if not accepted:
                continue
            stream.seek(0)
            try:
                # No file name: pillow would map the file into memory, where a file that is cut
                # short meanwhile kills the process.
                return factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error) as error:
                refused = refused or error  # AVIF and HEIF may begin with the same bytes
    if refused is not None:
        raise refused
    known = ", ".join(FORMATS[:-1])
    raise ImageError(f"{name} is not a picture that can be read ({known}); save it as PNG")


def decoding_bytes(picture: Image.Image) -> int:
    """Return how much memory decoding takes at most: measured, 7 bytes a pixel of RGB.

    These are pillow's copy, of 4 bytes a pixel, and the array, of 3. Some decoders hold the whole
    picture once more.
    """
    bands = len(picture.getbands())
    more = {"WEBP": 9, "AVIF": 9, "HEIF": 9, "JPEG2000": 4 * bands}.get(picture.format or "", 0)
    if picture.info.get("progressive"):
        more = 2 * bands
    elif _is_compressed_tiff(picture):  # all of it may be one strip
        more = -(-sum(_tag(picture, _BITS, (8,))) // 8)
    return picture.width * picture.height * (7 + more)


def decode(picture: Image.Image, name: str) -> None:
    """Decode the pixels of an opened picture, right where pillow's own reading is wrong.

    Raises:
        ImageError: if pillow cannot give the pixels as they are stored.
    """
    from PIL import Image

    if _is_misread(picture):
        raise ImageError(f"{name} is a kind of TIFF that pillow reads wrongly; save it as PNG")
    file: Any = picture
    if _tiles(picture):
        file.tile = [_right_tile(picture, tile) for tile in file.tile]
        if picture.format == "TIFF":
            # Otherwise pillow makes it, and looks at the process's MAX_IMAGE_PIXELS when it does.
            size = getattr(picture, "_tile_size", picture.size)
            file.im = Image.new(picture.mode, size).im
    picture.load()


def decode_low_bytes(picture: Image.Image, name: str) -> None:
    """Decode the lower byte of each 16-bit sample of an opened ``is_deep_colour`` picture.

    Pillow keeps the upper byte of 16-bit colour. Read in the wrong byte order, that is the lower.

    Raises:
        ImageError: if pillow cannot be told another order.
    """
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    tiles = [_right_tile(picture, tile) for tile in _tiles(picture)]
    modes = [_raw_mode(tile) for tile in tiles]
    of_planes = _is_planar(picture) and _is_compressed_tiff(picture)
    if of_planes or not all(mode[0] in "RGBA" for mode in modes):
        raise ImageError(
            f"{name}: only the upper 8 of its 16 bits can be read; save it as 16-bit RGB PNG"
        )
    file: Any = picture
    file.tile = [
        _with_raw_mode(tile, mode[:-1] + other[mode[-1]])
        for tile, mode in zip(tiles, modes, strict=True)
    ]
    decode(picture, name)


def is_deep_colour(picture: Image.Image) -> bool:
    """Whether an opened, not yet decoded picture has 16-bit colour: pillow will keep 8 bits."""
    tiles = [_right_tile(picture, tile) for tile in _tiles(picture)]
    return picture.mode[0] not in "IF" and any(";16" in _raw_mode(tile) for tile in tiles)


def stated_bits(picture: Image.Image) -> int | None:
    """Return how many bits a decoded picture's numbers have, or None if it says no white."""
    if picture.mode.startswith("I;16"):
        return int(_tag(picture, _BITS, (16,))[0])
    if picture.mode == "I":
        # 16-bit PGM and older pillow's PNG. A TIFF is signed, or has 32 bits.
        low, high = np.asarray(picture.getextrema()).tolist()
        return 16 if picture.format != "TIFF" and low >= 0 and high <= 65535 else None
    return None if picture.mode == "F" else 8


def places(height: int, width: int) -> Iterator[Place]:
    """Cut a picture's area into pieces of at most ``PIECE_PIXELS``, by rows and columns.

    >>> list(places(2, 300_000))[:2]
    [(slice(0, 1, None), slice(0, 262144, None)), (slice(0, 1, None), slice(262144, 300000, None))]
    """
    columns = min(width, PIECE_PIXELS)
    rows = PIECE_PIXELS // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def pieces(picture: Image.Image) -> Iterator[tuple[Place, Image.Image]]:
    """Cut a decoded picture, as its file stores it, along ``places``."""
    for rows, columns in places(picture.height, picture.width):
        yield (rows, columns), picture.crop((columns.start, rows.start, columns.stop, rows.stop))


def grey_numbers(picture: Image.Image, piece: Image.Image) -> NDArray[Any]:
    """Return the numbers of a piece of a decoded picture of one channel, black the lowest.

    Returns:
        Shape ``(H, W)``, of the type that the file has.
    """
    values = np.asarray(piece)
    if picture.mode == "I" and picture.format == "TIFF":
        kind = _tag(picture, _SAMPLE_FORMAT, (1,))[0]
        values = values.view(np.uint32) if kind == 1 else values
    # Pillow turns a TIFF whose greatest number is black only up to 8 bits.
    if picture.format == "TIFF" and not _tag(picture, _PHOTOMETRIC, 0):
        return -values if values.dtype.kind == "f" else np.invert(values)
    return values


def upright_canvas(
    picture: Image.Image, dtype: DTypeLike, channels: tuple[int, ...] = ()
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make an empty array for a decoded picture as people see it.

    Returns:
        The array, ``(H, W, *channels)``, and a view of it that is laid out as the file stores its
        pixels: what is written there stands upright in the array.
    """
    orientation = stated_orientation(picture)
    canvas = np.empty((*upright_size(picture), *channels), dtype)
    stored = np.swapaxes(canvas, 0, 1) if orientation >= 5 else canvas
    stored = stored[::-1] if orientation in (3, 4, 6, 7) else stored
    return canvas, stored[:, ::-1] if orientation in (2, 3, 7, 8) else stored


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Return height and width of an opened picture as people see it."""
    width, height = picture.size
    return (width, height) if stated_orientation(picture) >= 5 else (height, width)


def stated_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none that can be meant."""
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # what camera notes hold is no reason to refuse the pixels
        return 1
    return orientation if orientation in range(1, 9) else 1


def _is_misread(picture: Image.Image) -> bool:
    """Whether a picture is a TIFF that pillow reads wrongly, and not because of its tiles alone."""
    if picture.format != "TIFF":
        return False
    native = b"II" if sys.byteorder == "little" else b"MM"
    signed = 2 in _tag(picture, _SAMPLE_FORMAT, (1,))
    if signed and max(_tag(picture, _BITS, (1,))) <= 8:
        return True  # as unsigned
    wide = picture.mode in ("I", "F")
    if wide and _is_compressed_tiff(picture) and _byte_order(picture) != native:
        return True
    if not _is_planar(picture) or _is_compressed_tiff(picture):
        return False
    loaded = not _tiles(picture)
    deep = max(_tag(picture, _BITS, (1,))) > 8
    inverted = not _tag(picture, _PHOTOMETRIC, 0)
    return wide or (deep and loaded) or (inverted and not deep)


def _right_tile(picture: Image.Image, tile: Any) -> Any:  # noqa: ANN401 - a tuple of pillow's
    """Return a tile with the layout that its data really have in the file."""
    codec, _, _, arguments = tile
    if codec == "ppm" and arguments == ("RGB", 65535):
        return _with_raw_mode(tile, "RGB;16B")  # pillow would round what it cuts off elsewhere
    if codec == "raw" and _is_planar(picture) and max(_tag(picture, _BITS, (1,))) == 16:
        if picture.mode.startswith("I;16"):
            return _with_raw_mode(tile, picture.mode)
        if len(_raw_mode(tile)) == 1:  # one channel, of which pillow would take 8 bits
            order = ";16L" if _byte_order(picture) == b"II" else ";16B"
            return _with_raw_mode(tile, _raw_mode(tile) + order)
    return tile


def _tiles(picture: Image.Image) -> list[Any]:
    """Return what is not decoded yet: tuples of codec, area, offset and arguments."""
    tiles: list[Any] = getattr(picture, "tile", [])
    return tiles


def _raw_mode(tile: Any) -> str:  # noqa: ANN401 - a tuple of pillow's
    """Return the layout of a tile's data, as pillow's decoders name it, or nothing."""
    arguments = tile[3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:  # noqa: ANN401 - a tuple of pillow's
    codec, area, offset, arguments = tile
    if codec == "ppm":
        codec, arguments = "raw", (raw_mode, 0, 1)
    elif isinstance(arguments, str):
        arguments = raw_mode
    else:
        arguments = (raw_mode, *arguments[1:])
    # A plain tuple before pillow 11, a named one since.
    return getattr(type(tile), "_make", tuple)((codec, area, offset, arguments))


def _is_planar(picture: Image.Image) -> bool:
    return bool(_tag(picture, _PLANAR, 1) == 2)


def _is_compressed_tiff(picture: Image.Image) -> bool:
    return picture.format == "TIFF" and picture.info.get("compression", "raw") != "raw"


def _byte_order(picture: Any) -> bytes:  # noqa: ANN401 - a TiffImageFile
    return bytes(picture.tag_v2.prefix)


def _tag(picture: Image.Image, tag: int, default: Any) -> Any:  # noqa: ANN401 - as the tag has it
    tags = getattr(picture, "tag_v2", None)
    return default if tags is None else tags.get(tag, default)
