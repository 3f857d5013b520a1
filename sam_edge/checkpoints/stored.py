"""What a container holds of a checkpoint: tensors that are not read yet, and what is no tensor."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sam_edge.text import printable

NUMPY_TYPES: Mapping[str, str] = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",  # numpy has none: ``values`` widens its bits
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint8": "|u1",
    "bool": "|b1",
    "complex64": "<c8",
    "complex128": "<c16",
}
"""The types whose size is known: torch's name -> how numpy reads their bytes."""

MAX_DIMENSIONS = 8
"""Of a tensor; no weight has more than four."""


@dataclass(slots=True, eq=False)
class Storage:
    """Bytes of a file that one or more tensors are views of.

    Attributes:
        dtype: torch's name of its elements' type; ``untyped`` where only the tensor tells.
        size: in elements.
        data: its bytes, in place in the mapped file; empty until the container is read.
        crc: what the container says their checksum is; None where it says nothing.
    """

    dtype: str
    size: int
    data: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    crc: int | None = None

    def checked(self) -> NDArray[np.uint8]:
        """Return the bytes, compared with their checksum the first time.

        Raises:
            ValueError: if they are not those that were written.
        """
        if self.crc is not None and zlib.crc32(self.data.data) != self.crc:
            raise ValueError("is damaged: its checksum is another")
        self.crc = None
        return self.data


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """A tensor in a file: where it lies. Nothing is read before ``values``.

    Attributes:
        dtype: torch's name of its type.
        shape: of the tensor.
        strides: in elements.
        offset: of its first element in the storage, in elements.
        storage: what it is a view of.

    Raises:
        ValueError: if these cannot be.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    storage: Storage

    def __post_init__(self) -> None:
        checked_shape(self.shape)
        checked_shape((*self.strides, self.offset))
        if len(self.shape) != len(self.strides):
            raise ValueError("a tensor of other dimensions than its strides")

    def values(self) -> NDArray[Any]:
        """Return the tensor: in place where numpy has its type; bfloat16 becomes float32.

        Who calls this has compared ``shape`` with what is expected: a stride of 0 makes any size of
        a few bytes.

        Raises:
            ValueError: if its type is unknown, it reaches beyond its storage, or that is damaged.
        """
        if self.dtype not in NUMPY_TYPES:
            raise ValueError(f"has the type {printable(self.dtype)}, which cannot be read")
        dtype = np.dtype(NUMPY_TYPES[self.dtype])
        if 0 in self.shape:
            return np.empty(self.shape, dtype)
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((size - 1) * step for size, step in steps)
        data = self.storage.checked()
        if (last + 1) * dtype.itemsize > data.size:
            raise ValueError("reaches beyond its storage: the file is truncated or damaged")
        elements = data[: data.size - data.size % dtype.itemsize].view(dtype)
        array = np.lib.stride_tricks.as_strided(
            elements[self.offset :],
            self.shape,
            [step * dtype.itemsize for step in self.strides],
            writeable=False,
        )
        if self.dtype == "bfloat16":
            return (array.astype("<u4") << 16).view("<f4")
        return array


def give_back_pages(data: NDArray[np.uint8]) -> None:
    """Let the system take back what was read of a mapped file.

    It counts as the process's memory until then, and a checkpoint has gigabytes. Who reads the
    bytes again gets them again.
    """
    base: object = data
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


@dataclass(slots=True, eq=False)
class Unread:
    """Something of a class or a function that is neither looked up nor called.

    Attributes:
        name: of the class or function, with its module.
        items: what it was given to hold: entries, attributes.
    """

    name: str
    items: dict[str, Any] = field(default_factory=dict)


Leaf: TypeAlias = StoredTensor | Unread


@dataclass(frozen=True, slots=True)
class Contents:
    """A file's tensors by name, and what it says beside them.

    Attributes:
        tensors: by name; what nested containers hold is named with dots, as torch does. What is no
            tensor is there only as ``Unread``.
        metadata: of a safetensors file.
    """

    tensors: Mapping[str, Leaf]
    metadata: Mapping[str, str] = field(default_factory=dict)


def shown(name: str) -> str:
    """Return a name from a file as it may stand in a message."""
    return printable(name if len(name) <= 100 else f"{name[:100]}...")


def checked_shape(sizes: Sequence[object]) -> tuple[int, ...]:
    """Return sizes from a file, none of which can do harm.

    Raises:
        ValueError: if there are too many, or they are no whole numbers from 0 up.
    """
    if len(sizes) > MAX_DIMENSIONS + 1:
        raise ValueError("a tensor of too many dimensions")
    checked = tuple(size for size in sizes if type(size) is int and 0 <= size < 1 << 63)
    if len(checked) != len(sizes):
        raise ValueError("a tensor of sizes that are no numbers")
    return checked


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides, in elements, of a tensor in C order.

    >>> contiguous((2, 3, 4))
    (12, 4, 1)
    """
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return tuple(reversed(strides[: len(shape)]))
