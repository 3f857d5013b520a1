"""Whatever file or folder a checkpoint is in: what it is called, and its tensors by name."""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.checkpoints.errors import CheckpointError
from sam_edge.checkpoints.safetensors_file import looks_like_safetensors, read_safetensors
from sam_edge.checkpoints.stored import Contents, Leaf, StoredTensor, Unread, shown
from sam_edge.checkpoints.torch_file import read_legacy, read_zip

DEEPEST_WRAPPER = 16
"""Dictionaries within dictionaries that are looked into; the deepest that were seen had four."""

LONGEST_NAME = 300
"""Characters of a tensor's dotted name; longer ones are none of ours, and they could be many."""

CONTAINERS = (StoredTensor, Unread, dict, list, tuple)

PICKLE_HEAD = b"\x80"
ZIP_HEAD = b"PK\x03\x04"

FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file; get it with: git lfs pull"),
    (b"<", "a web page, not a checkpoint; download the file itself"),
    (b"\x1f\x8b", "a gzip archive; unpack it, and name the checkpoint in it"),
    (b"BZh", "a bzip2 archive; unpack it, and name the checkpoint in it"),
    (b"\xfd7zXZ", "an xz archive; unpack it, and name the checkpoint in it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it, and name the checkpoint in it"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it, and name the checkpoint in it"),
    (b"\x89HDF", "an HDF5 file, not one of PyTorch; name the PyTorch checkpoint"),
    (b"GGUF", "a GGUF file, not one of PyTorch; name the PyTorch checkpoint"),
    (b"{", "a JSON file, not a checkpoint; name the file or the folder with the weights"),
)
"""What is often found under a checkpoint's name: how it begins, what it is and what to do."""

EXPECTED = "expected a .pth of tensors or a .safetensors"


def read_file(path: Path) -> Contents:
    """Return a file's tensors by name. They are mapped; nothing is executed.

    Raises:
        CheckpointError: if the file is missing, truncated, or no container of tensors.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such file")
    if not path.is_file():
        raise CheckpointError(f"{path} is no regular file; save it to one first")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; download it again")
    with path.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be mapped: {error.strerror}") from error
    data = np.frombuffer(mapped, np.uint8)
    try:
        return _read(path, data)
    except (ValueError, zipfile.BadZipFile, NotImplementedError, struct.error, EOFError) as error:
        # zipfile says what it thinks of a damaged archive in all of these.
        told = isinstance(error, ValueError) and not isinstance(error, UnicodeError)
        reason = str(error) if told else "is truncated or damaged"
        step = "" if ";" in reason else f"; {EXPECTED}"
        raise CheckpointError(f"{path} {reason}{step}") from error


def _read(path: Path, data: NDArray[np.uint8]) -> Contents:
    head = data[:512].tobytes()
    if head.startswith(ZIP_HEAD):
        return Contents(dict(_flat(read_zip(path, data))))
    if head.startswith(PICKLE_HEAD):
        return Contents(dict(_flat(read_legacy(data))))
    if looks_like_safetensors(head):
        return read_safetensors(data)
    for beginning, what in FOREIGN:
        if head.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(beginning):
            raise ValueError(f"is {what}")
    if head[257:262] == b"ustar":
        raise ValueError("is a tar archive; unpack it, and name the checkpoint in it")
    if path.suffix == ".onnx":
        raise ValueError("is an ONNX graph; name the checkpoint that it was made from")
    raise ValueError(f"is truncated or damaged; {EXPECTED}")


def _flat(content: object) -> Iterator[tuple[str, Leaf]]:
    """Look through wrappers: yield every tensor under its dotted name, the shallowest first.

    Raises:
        ValueError: if the file holds a whole model instead of its weights.
    """
    waiting: deque[tuple[str, int, Any]] = deque([("", 0, content)])
    seen: set[int] = set()  # a pickle can hold one thing in many places, and in itself
    while waiting:
        name, depth, value = waiting.popleft()
        if isinstance(value, StoredTensor | Unread):
            yield name, value
        if depth == DEEPEST_WRAPPER or id(value) in seen:
            continue
        seen.add(id(value))
        start = f"{name}." if name else ""
        for key, entry in _entries(value):
            if isinstance(entry, CONTAINERS) and len(start) + len(key) <= LONGEST_NAME:
                waiting.append((start + key, depth + 1, entry))


def _entries(value: object) -> Iterable[tuple[str, object]]:
    """Return what may hold tensors in turn, by name."""
    if isinstance(value, Unread):
        if "_modules" in value.items:
            raise ValueError(
                f"holds a whole {shown(value.name)}, whose code will not be executed; save its "
                "state_dict() instead"
            )
        return value.items.items()
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list | tuple):
        return ((str(number), entry) for number, entry in enumerate(value))
    return ()
