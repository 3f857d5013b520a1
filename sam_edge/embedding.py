"""What the encoder makes of a photo, and its portable form on disk."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from math import prod
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EmbeddingError
from sam_edge.files import replacing
from sam_edge.image import MAX_PIXELS, resized_shape
from sam_edge.spec import FRAME_STEP, IMAGE_EMBEDDINGS, LARGEST_FRAME, ModelSpec
from sam_edge.text import is_printable, printable

if TYPE_CHECKING:
    from zipfile import ZipFile

FORMAT = 2
"""What is written. Format 1, of one tensor called ``features``, is read, too."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """A photo's embedding. Decoding it needs neither the photo nor the encoder.

    Attributes:
        features: name -> tensor, as ``ModelSpec.embeddings`` names them: for SAM
            ``image_embeddings``, ``(1, 256, S/16, S/16)`` float32.
        original_size: height and width of the photo.
        input_size: height and width of the resized photo inside the encoder's frame.
        photo_sha256: of the photo's pixels, see ``sam_edge.image.photo_sha256``.
        source_sha256: of the checkpoint behind the encoder.
        image_size: side S of the encoder's frame.
        engine: what computed it. Recorded, but no part of the key: engines agree.
        precision: of the encoder; recorded likewise.
        frame: what of the square frame was encoded, see ``ModelSpec``; recorded likewise.
    """

    features: Mapping[str, NDArray[np.float32]]
    original_size: tuple[int, int]
    input_size: tuple[int, int]
    photo_sha256: str
    source_sha256: str
    image_size: int
    engine: str
    precision: str
    frame: str = "square"

    @property
    def key(self) -> tuple[str, str, int]:
        """What an embedding belongs to: photo, source checkpoint and image size."""
        return self.photo_sha256, self.source_sha256, self.image_size

    def check_made_for(self, spec: ModelSpec) -> None:
        """Refuse to be decoded by a model that it was not made for.

        Raises:
            EmbeddingError: if the checkpoint or the image size is another.
        """
        made = (self.source_sha256, self.image_size)
        if made != (spec.source.sha256, spec.image_size):
            raise EmbeddingError(
                f"the embedding was made by checkpoint {self.source_sha256[:12]} at "
                f"{self.image_size} px, the model is {spec.source.sha256[:12]} at "
                f"{spec.image_size} px; encode the photo with this model"
            )
        for tensor in spec.embeddings:
            side = spec.image_size // tensor.stride
            found = getattr(self.features.get(tensor.name), "shape", None)
            square = (1, tensor.channels, side, side)
            if found != square:
                raise EmbeddingError(
                    f"the embedding's {tensor.name} has shape {found}, the model takes {square}; "
                    "encode the photo with this model"
                )

    def save(self, path: str | PathLike[str], *, dtype: str = "float32") -> None:
        """Write the embedding to a ``.npz`` file.

        Args:
            path: written whole or not at all.
            dtype: ``float32`` (4 MiB at 1024 px) or ``float16`` (half of that).

        Raises:
            EmbeddingError: if the dtype is another, or cannot hold the features.
        """
        data = self.to_bytes(dtype=dtype)
        with replacing(Path(path)) as partial:
            partial.write_bytes(data)

    def to_bytes(self, *, dtype: str = "float32") -> bytes:
        """Return what ``save`` writes: the same embedding gives the same bytes.

        Raises:
            EmbeddingError: as ``save``.
        """
        if dtype not in ("float32", "float16"):
            raise EmbeddingError(f"embeddings are saved as float32 or float16, not {dtype!r}")
        values = {name: getattr(self, name) for name in _FACTS}
        for name, tensor in self.features.items():
            with np.errstate(over="ignore"):
                features = tensor.astype(dtype)
            if not np.isfinite(features).all():
                raise EmbeddingError(
                    f"the features hold NaN or values beyond {dtype}; save as float32, or encode "
                    "the photo with another model"
                )
            values[f"{_FEATURES}{name}"] = features
        file = BytesIO()
        np.savez(file, format=FORMAT, **values)
        return file.getvalue()

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ImageEmbedding:
        """Read what ``save`` wrote.

        The file may come from anyone. Each part's type and shape are checked before it is
        unpacked, so that a small file cannot fill the memory.

        Raises:
            FileNotFoundError: if there is no such file.
            EmbeddingError: if it is no embedding, or is damaged.
        """
        path = Path(path)
        import zlib  # loaded late: with zipfile it would be a fifth of `import sam_edge`
        from zipfile import BadZipFile, ZipFile

        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
                raise ValueError("it is no regular file")
            with path.open("rb") as raw:
                _check_directory(raw)
                with ZipFile(raw) as archive:
                    return _from_archive(archive)
        except FileNotFoundError:
            raise
        except (
            BadZipFile,
            EOFError,
            KeyError,
            NotImplementedError,  # a compression of later zip versions
            OSError,
            OverflowError,
            RuntimeError,  # a password
            ValueError,
            struct.error,
            zlib.error,
        ) as error:
            # Names in a zip file may be as long as the file.
            reason = printable(str(error))[:200] or type(error).__name__
            raise EmbeddingError(
                f"{path} is not a saved embedding: {reason}; encode the photo again"
            ) from error


_FACTS = tuple(item.name for item in fields(ImageEmbedding) if item.name != "features")

_FEATURES = "features."
"""Before the name of a tensor, so that no name can be a fact's."""

_MOST_TENSORS = 8

_LARGEST_TENSOR = 1 << 28
"""Values: SAM 2's largest has 2 million at 1024 pixels."""

_LARGEST_DIRECTORY = 64 * 2**10
"""Bytes of a zip file's list of members; ours has about ten."""

_LONGEST_TEXT = 256

_COMPRESSIONS = (0, 8)  # stored and deflated, as np.savez and np.savez_compressed write


def _check_directory(raw: BinaryIO) -> None:
    """Refuse a zip file with a long list of members, which ``zipfile`` would read whole.

    Where the list is lies in the last 22 bytes, of a file without a comment as ``save`` writes it;
    a 64-bit length would stand in the 20 bytes before.

    Source: APPNOTE.TXT of the zip format, 4.3.15 and 4.3.16.
    """
    raw.seek(max(0, raw.seek(0, os.SEEK_END) - 42))
    tail = raw.read()
    if tail[-22:-18] != b"PK\5\6":
        raise ValueError("it is no zip file, or not all of one")
    (length,) = struct.unpack("<I", tail[-10:-6])
    if length > _LARGEST_DIRECTORY or tail[:-22].startswith(b"PK\6\7"):
        raise ValueError("it is a zip file with too many members")


def _from_archive(archive: ZipFile) -> ImageEmbedding:
    names = archive.namelist()
    # Files of before frames had shapes lack "frame".
    facts = {f"{name}.npy" for name in (*_FACTS, "format")}
    if len(names) != len(set(names)) or not facts - {"frame.npy"} <= set(names):
        raise ValueError(f"it holds {', '.join(names[:12])[:200]}")
    version = _whole(archive, "format")
    if not 1 <= version <= FORMAT:
        raise ValueError(f"its format {version} is unknown, this sam-edge reads 1 to {FORMAT}")
    rest = sorted(set(names) - facts)
    tensors = {IMAGE_EMBEDDINGS: "features"}
    if version > 1:
        tensors = {
            name.removeprefix(_FEATURES)[:-4]: name[:-4] for name in names if name not in facts
        }
    if (
        sorted(f"{member}.npy" for member in tensors.values()) != rest
        or not all(map(str.isidentifier, tensors))
        or (version > 1 and not all(name.startswith(_FEATURES) for name in rest))
        or not 1 <= len(tensors) <= _MOST_TENSORS
    ):
        raise ValueError(f"it holds {', '.join(names[:12])[:200]}")
    image_size = _whole(archive, "image_size")
    if not 64 <= image_size <= LARGEST_FRAME or image_size % FRAME_STEP:
        raise ValueError(f"image_size {image_size} is not a multiple of 64 up to {LARGEST_FRAME}")
    original_size, input_size = _size(archive, "original_size"), _size(archive, "input_size")
    if (
        min(original_size) < 1
        or max(original_size) > MAX_PIXELS
        or prod(original_size) > MAX_PIXELS
    ):
        raise ValueError(f"no photo has original_size {original_size}")
    stretched = (image_size, image_size)
    if input_size not in (resized_shape(*original_size, image_size), stretched):
        raise ValueError(
            f"input_size {input_size} is not that of a photo of {original_size} at {image_size} px"
        )
    texts = {name: _text(archive, name) for name in ("photo_sha256", "source_sha256")}
    texts |= {name: _text(archive, name) for name in ("engine", "precision")}
    texts["frame"] = _text(archive, "frame") if "frame.npy" in names else "square"
    features = {
        name: _features(archive, member, image_size, version) for name, member in tensors.items()
    }
    return ImageEmbedding(
        features=features,
        original_size=original_size,
        input_size=input_size,
        image_size=image_size,
        **texts,
    )


def _features(archive: ZipFile, member: str, image_size: int, version: int) -> NDArray[np.float32]:
    """Read a tensor of any number of channels on a grid of whole strides."""
    with archive.open(archive.getinfo(f"{member}.npy")) as file:
        shape, _, _ = _header(file, member)
    if version == 1 or len(shape) != 4:
        shape = (1, 256, image_size // 16, image_size // 16)
    sides = shape[2:]
    if (
        shape[0] != 1
        or not 1 <= shape[1] <= 4096
        or sides[0] != sides[1]
        or not 0 < sides[0] <= image_size
        or image_size % sides[0]
        or prod(shape) > _LARGEST_TENSOR
    ):
        raise ValueError(f"{member} has shape {shape}, not (1, channels, side, side)")
    features = _member(archive, member, shape, "f", 4).astype(np.float32)
    if not np.isfinite(features).all():
        raise ValueError("its features hold NaN or infinity")
    return np.ascontiguousarray(features)


def _member(
    archive: ZipFile, name: str, shape: tuple[int, ...], kinds: str, widest: int
) -> NDArray[Any]:
    """Read one array, once its header says what it must.

    Args:
        archive: the file.
        name: of the array.
        shape: that it must have.
        kinds: ``dtype.kind`` is one of these letters.
        widest: bytes a value.

    Raises:
        ValueError: if it is another array, or there are more or fewer bytes than it needs.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in _COMPRESSIONS:
        raise ValueError(f"{name} is compressed in a way that numpy does not write")
    with archive.open(info) as member:
        found, columns_first, dtype = _header(member, name)
        if found != shape or dtype.kind not in kinds or not 0 < dtype.itemsize <= widest:
            raise ValueError(f"{name} is {dtype} of shape {found}, not of shape {shape}")
        # A zip file may say that its members are smaller than they are.
        length = dtype.itemsize * prod(shape)
        data = member.read(length)
        if len(data) != length or member.read(1):
            raise ValueError(f"{name} has not the bytes of its shape")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if columns_first else "C")


_HEADER = re.compile(
    rb"{'descr': '([<>|=]?[a-zA-Z]\d{0,6})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), } *\n"
)
"""What numpy writes before an array that is no record. Its own reader evaluates any Python."""


def _header(member: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape, whether it is stored column by column, and the type of an array."""
    start = member.read(10)
    # Later versions have longer headers, for names of fields, which these arrays have not.
    if len(start) != 10 or not start.startswith(b"\x93NUMPY\1\0"):
        raise ValueError(f"{name} is no array of .npy version 1.0")
    header = _HEADER.fullmatch(member.read(int.from_bytes(start[8:], "little")))
    try:
        if header is not None:
            shape = tuple(map(int, header[3].replace(b",", b" ").split()))
            return shape, header[2] == b"True", np.dtype(header[1].decode())
    except TypeError:  # a type that numpy does not know
        pass
    raise ValueError(f"{name} has a header that numpy does not write")


def _whole(archive: ZipFile, name: str) -> int:
    return int(_member(archive, name, (), "iu", 8))


def _size(archive: ZipFile, name: str) -> tuple[int, int]:
    height, width = _member(archive, name, (2,), "iu", 8).tolist()
    return height, width


def _text(archive: ZipFile, name: str) -> str:
    text = str(_member(archive, name, (), "U", 4 * _LONGEST_TEXT))
    if not is_printable(text):
        raise ValueError(f"{name} holds control characters")
    return text
