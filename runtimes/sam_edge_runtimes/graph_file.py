"""An ONNX file as bytes: its digest, and the files beside it that an engine would read with it.

A graph over 2 GB keeps its weights in other files, whose names stand in it. They are looked for in
the file itself, because a list somewhere else need not be true. Only what holds tensors is walked.

Source: ``onnx/onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge_runtimes.errors import EngineError

if TYPE_CHECKING:
    from mmap import mmap

CHUNK = 1 << 20

KEY = b"location"
"""The key that stands before the name of every external file, so a file without it has none."""

# Message -> field number -> the message in it. Fields that are not listed hold no tensors.
CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}

VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5


def sha256_file(path: Path) -> str:
    """Return a file's sha256 as hexadecimal digits."""
    import hashlib  # it loads OpenSSL, which `import sam_edge` has no use for

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def examine(path: Path) -> tuple[str, frozenset[str]]:
    """Return an ONNX file's sha256, and the names of the external files that it reads.

    The file is read once, in pieces, so that it adds nothing to the process's memory.

    Raises:
        OSError: if it cannot be read.
        EngineError: if it says where external files are, but is damaged.
    """
    import hashlib

    digest, hint, tail = hashlib.sha256(), False, b""
    block = bytearray(CHUNK)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            part = memoryview(block)[:size]
            digest.update(part)
            hint = hint or block.find(KEY, 0, size) >= 0 or KEY in tail + part[: len(KEY)]
            tail = bytes(part[-len(KEY) :])
    return digest.hexdigest(), external_files(path) if hint else frozenset()


def external_files(path: Path) -> frozenset[str]:
    """Return the names of the external files that an ONNX file reads.

    Raises:
        EngineError: if the file is damaged.
    """
    from mmap import ACCESS_READ, mmap

    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return frozenset(_locations(data))
    except (ValueError, IndexError) as error:  # an empty file is a ValueError of mmap's
        raise EngineError(f"{path} is no ONNX graph: {error}") from error


def _locations(data: mmap) -> Iterator[str]:
    waiting = [("model", 0, len(data))]
    while waiting:
        message, start, stop = waiting.pop()
        if message == "external":
            entry = {number: data[first:last] for number, first, last in fields(data, start, stop)}
            if entry.get(1) == KEY:
                yield entry.get(2, b"").decode("utf-8")
            continue
        children = CHILDREN[message]
        for number, first, last in fields(data, start, stop):
            if number in children:
                waiting.append((children[number], first, last))


def fields(data: mmap | bytes, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field that has a length; see ``spans``."""
    for number, kind, _, first, last in spans(data, at, stop):
        if kind == BYTES:
            yield number, first, last


def spans(data: mmap | bytes, at: int, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield every field: number, kind, where its tag and where its content begin, and its end.

    Args:
        data: protocol buffers.
        at: where the message begins.
        stop: where it ends.

    Raises:
        ValueError: if it is damaged.
    """
    while at < stop:
        begin = at
        tag, at = _varint(data, at, stop)
        kind, first = tag & 7, at
        if kind == BYTES:
            size, first = _varint(data, at, stop)
            at = first + size
        elif kind == VARINT:
            _, at = _varint(data, at, stop)
        elif kind in (FIXED_64, FIXED_32):
            at += 8 if kind == FIXED_64 else 4
        else:
            raise ValueError(f"byte {at} begins a field of kind {kind}")
        if at > stop:
            raise ValueError(f"a field ends at byte {at} of {stop}")
        yield tag >> 3, kind, begin, first, at


def field(number: int, content: bytes) -> bytes:
    """Return a field with a length, as protocol buffers write it.

    >>> field(1, b"name").hex(" ")
    '0a 04 6e 61 6d 65'
    """
    return _varint_of(number << 3 | BYTES) + _varint_of(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """Return a field that is a number, not below 0.

    >>> number_field(1, 300).hex(" ")
    '08 ac 02'
    """
    return _varint_of(number << 3 | VARINT) + _varint_of(value)


def _varint_of(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _varint(data: mmap | bytes, at: int, stop: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            raise ValueError(f"it ends at byte {at}, within a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError(f"byte {at} is within a number of over 64 bits")
