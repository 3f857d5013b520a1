"""``.safetensors`` files, mapped in place. Needs numpy only.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.checkpoints.stored import (
    NUMPY_TYPES,
    Contents,
    Storage,
    StoredTensor,
    checked_shape,
    contiguous,
    shown,
)
from sam_edge.errors import JsonFileError
from sam_edge.files import parse_json

LARGEST_HEADER = 16 * 2**20
"""Bytes; ViT-H's has 60 kB. JSON takes up to twenty times its size in memory."""

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
"""What others are called does not matter: no weight can have such a type."""


def looks_like_safetensors(head: bytes) -> bool:
    """Whether a file that begins so has a header's length and a header, in that order."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40


def read_safetensors(data: NDArray[np.uint8]) -> Contents:
    """Read the header of a file.

    Args:
        data: the mapped file.

    Raises:
        ValueError: saying what is wrong with it.
    """
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > data.size - 8:
        raise ValueError("is truncated or damaged: its header is longer than the file")
    if length > LARGEST_HEADER:
        raise ValueError(f"has a header of {length} bytes; no model of ours needs that")
    try:
        header = parse_json(data[8 : 8 + length].tobytes(), "its header")
    except JsonFileError as error:
        raise ValueError(f"is truncated or damaged: {error}") from error
    if not isinstance(header, dict):
        raise ValueError("is damaged: its header is no object")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict):
        metadata = {}
    body = data[8 + length :]
    tensors = {}
    ranges = []
    for name, entry in header.items():
        begin, end, tensor = _tensor(name, entry, body)
        ranges.append((begin, end))
        tensors[name] = tensor
    # The format has neither holes nor overlaps, so that nothing hides in a file and none of its
    # names is there twice: JSON keeps the last of two.
    at = 0
    for begin, end in sorted(ranges):
        if begin != at:
            raise ValueError(
                f"is damaged: byte {min(begin, at)} of its data belongs to no tensor, to several, "
                "or to a name that is there twice"
            )
        at = end
    if at != body.size:
        raise ValueError(f"is truncated or damaged: its data has {body.size} bytes, expected {at}")
    texts = {key: text for key, text in metadata.items() if isinstance(text, str)}
    return Contents(tensors, texts)


def _tensor(
    name: str,
    entry: Any,  # noqa: ANN401 - JSON is anything
    body: NDArray[np.uint8],
) -> tuple[int, int, StoredTensor]:
    """Return where a tensor begins and ends in the data, and the tensor."""
    try:
        dtype = DTYPES.get(entry["dtype"], entry["dtype"])
        begin, end = entry["data_offsets"]
        storage = Storage(str(dtype), 0, body[begin:end])
        shape = checked_shape(entry["shape"])
        tensor = StoredTensor(str(dtype), shape, contiguous(shape), 0, storage)
        if not 0 <= begin <= end:
            raise ValueError
    except (ValueError, KeyError, TypeError, OverflowError):
        raise ValueError(f"is damaged: its header says nothing useful of {shown(name)}") from None
    if end > body.size:
        raise ValueError(
            f"is truncated or damaged: {shown(name)} ends at byte {end} of {body.size}"
        )
    if dtype in NUMPY_TYPES and prod(shape) * np.dtype(NUMPY_TYPES[dtype]).itemsize != end - begin:
        raise ValueError(f"is damaged: {shown(name)} has {end - begin} bytes for its shape")
    return begin, end, tensor
