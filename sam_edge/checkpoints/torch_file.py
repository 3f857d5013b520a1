"""Files of ``torch.save``, mapped in place and read without executing anything. Needs numpy only.

A pickle is a program. This reader interprets the operations that such files use: what builds
numbers, texts, lists and dictionaries it does; of functions it knows by name the few that rebuild
a tensor, and does itself what they would. Nothing else is imported, looked up or called: it becomes
``Unread``. So an epoch, an ``argparse.Namespace`` or a path beside the weights does no harm,
whatever it claims to be.

Source: ``torch/serialization.py``, ``_save`` and ``_legacy_save``; ``torch/_utils.py``.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.checkpoints.stored import NUMPY_TYPES, Storage, StoredTensor, Unread, shown

LARGEST_PICKLE = 64 * 2**20
"""Bytes; ViT-H's has 150 kB, with an optimiser's state three times that."""

MOST_OPERATIONS = 1_000_000
"""Each takes up to 0.2 kB and some microseconds; ViT-H's weights take 40,000."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What files begin with that torch wrote before 1.6."""

STORAGE_TYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
"""The older way to name a type; tensors of younger types name it themselves."""


def read_zip(path: Path, data: NDArray[np.uint8]) -> object:
    """Read a file of torch 1.6 or later: a zip archive with a pickle and a file a storage.

    Args:
        path: the file.
        data: the same, mapped.

    Returns:
        What was saved; its tensors are ``StoredTensor``, what is not plain data is ``Unread``.

    Raises:
        ValueError: saying what is wrong with it.
        zipfile.BadZipFile: if it is no zip archive, or not whole.
    """
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    if not pickles:
        raise ValueError("is a zip archive, but none of torch; name the checkpoint in it")
    root = min(pickles, key=len).removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise ValueError(
            "is a TorchScript program, not a checkpoint; save the state_dict() of the model that "
            "it was made from"
        )
    if f"{root}byteorder" in entries:
        order = _stored(entries[f"{root}byteorder"], data)[:16].tobytes()
        if order != b"little":
            raise ValueError(f"has the byte order {shown(repr(order))}; save it again on a PC")
    program = entries[f"{root}data.pkl"]
    if program.file_size > LARGEST_PICKLE:
        raise ValueError(f"describes its tensors in {program.file_size} bytes, which is too much")
    reader = _Reader(BytesIO(_stored(program, data).tobytes()))
    content = reader.run()
    for key, storage in reader.storages.items():
        entry = entries.get(f"{root}data/{key}")
        if entry is None:
            raise ValueError(f"is truncated or damaged: it has no data for storage {shown(key)}")
        storage.data = _stored(entry, data)
        # torch can be told to write no checksums, and then writes 0.
        storage.crc = entry.CRC or None
    return content


def _stored(entry: zipfile.ZipInfo, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a zip entry's bytes in place."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise ValueError("is a compressed archive; unpack it, or save it again with torch.save")
    head = data[entry.header_offset : entry.header_offset + 30].tobytes()
    begin = entry.header_offset + 30
    begin += int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    found = data[begin : begin + entry.file_size]
    if head[:4] != b"PK\x03\x04" or found.size != entry.file_size:
        raise ValueError("is truncated or damaged: its table of contents does not fit")
    return found


def read_legacy(data: NDArray[np.uint8]) -> object:
    """Read a file as torch wrote it before 1.6: five pickles, then the storages one by one.

    Args:
        data: the mapped file.

    Returns:
        As ``read_zip``.

    Raises:
        ValueError: saying what is wrong with it.
    """
    stream = BytesIO(data[:LARGEST_PICKLE].tobytes())
    if _Reader(stream).run() != LEGACY_MAGIC:
        raise ValueError("is a pickle, but none of torch.save, and will not be executed")
    for _ in ("protocol", "system"):
        _Reader(stream).run()
    reader = _Reader(stream)
    content = reader.run()
    keys = _Reader(stream).run()
    if not isinstance(keys, list) or not all(key in reader.storages for key in _texts(keys)):
        raise ValueError("is truncated or damaged: its storages are not those of its tensors")
    at = stream.tell()
    for key in keys:
        storage = reader.storages[key]
        if storage.dtype not in NUMPY_TYPES:
            raise ValueError("holds a type that its format cannot hold")
        size = storage.size * np.dtype(NUMPY_TYPES[storage.dtype]).itemsize
        storage.data = data[at + 8 : at + 8 + size]
        if int.from_bytes(data[at : at + 8].tobytes(), "little") != storage.size:
            raise ValueError("is truncated or damaged: a storage has another size")
        at += 8 + size
    return content


def _texts(values: list[Any]) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise ValueError("is damaged: a name is no text")
    return values


@dataclass
class _Reader:
    """One pickle being read. ``storages`` are those that its tensors are views of."""

    stream: BytesIO
    storages: dict[str, Storage] = field(default_factory=dict)

    def run(self) -> object:
        """Read up to the pickle's end and return what it builds.

        Raises:
            ValueError: saying what is wrong with it.
        """
        try:
            return self._run()
        except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            # Operations on things that are not there, or are something else.
            raise ValueError("is truncated or damaged: its pickle makes no sense") from error

    def _run(self) -> object:
        stack: list[Any] = []
        below: list[list[Any]] = []  # the stacks under each mark
        memo: dict[int, Any] = {}

        def marked() -> list[Any]:
            nonlocal stack
            items, stack = stack, below.pop()
            return items

        for count, (opcode, argument) in enumerate(_operations(self.stream)):
            if count > MOST_OPERATIONS:
                raise ValueError("is too complicated to be a checkpoint")
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "NONE":
                    stack.append(None)
                case "NEWTRUE" | "NEWFALSE":
                    stack.append(opcode.name == "NEWTRUE")
                case (
                    "BININT" | "BININT1" | "BININT2" | "LONG1" | "LONG4" | "BINFLOAT"
                    | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8"
                    | "BINSTRING" | "SHORT_BINSTRING"
                    | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8"
                ):  # fmt: skip
                    stack.append(argument)
                case "MARK":
                    below.append(stack)
                    stack = []
                case "POP_MARK":
                    marked()
                case "POP":
                    stack.pop() if stack else marked()
                case "DUP":
                    stack.append(stack[-1])
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST" | "EMPTY_SET":
                    stack.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    items = [stack.pop() for _ in range(int(opcode.name[-1]))]
                    stack.append(tuple(reversed(items)))
                case "TUPLE":
                    items = marked()
                    stack.append(tuple(items))
                case "FROZENSET":
                    items = marked()
                    stack.append(items)
                case "APPEND":
                    items = [stack.pop()]
                    _extend(stack[-1], items)
                case "APPENDS" | "ADDITEMS":
                    items = marked()
                    _extend(stack[-1], items)
                case "SETITEM":
                    value, key = stack.pop(), stack.pop()
                    _update(stack[-1], [key, value])
                case "SETITEMS":
                    items = marked()
                    _update(stack[-1], items)
                case "GLOBAL":
                    stack.append(Unread(argument.replace(" ", ".")))
                case "STACK_GLOBAL":
                    name, module = stack.pop(), stack.pop()
                    stack.append(Unread(".".join(_texts([module, name]))))
                case "REDUCE" | "NEWOBJ":
                    arguments, function = stack.pop(), stack.pop()
                    stack.append(self._called(function, arguments))
                case "NEWOBJ_EX":
                    _, arguments, function = stack.pop(), stack.pop(), stack.pop()
                    stack.append(self._called(function, arguments))
                case "BUILD":
                    state = stack.pop()
                    for part in state if isinstance(state, tuple) else (state,):
                        if isinstance(stack[-1], Unread) and isinstance(part, dict):
                            stack[-1].items.update(part)
                case "BINPERSID":
                    stack.append(self._storage(stack.pop()))
                case _:
                    raise ValueError(
                        f"holds the pickle operation {opcode.name}, which torch does not write"
                    )
        raise ValueError("is truncated or damaged: its pickle has no end")

    def _storage(self, identity: Any) -> Storage:  # noqa: ANN401 - whatever the file holds
        """Return what torch's persistent id stands for."""
        kind, holder, key, _, size, *view = identity
        if kind != "storage" or any(part is not None for part in view) or type(size) is not int:
            raise ValueError("is damaged: a storage that torch does not write")
        dtype = STORAGE_TYPES.get(holder.name.rpartition(".")[2], "untyped")
        _texts([key])
        return self.storages.setdefault(key, Storage(dtype, size))

    def _called(self, function: Any, arguments: Any) -> Any:  # noqa: ANN401
        """Return what torch's own functions would; what others would stays ``Unread``."""
        rebuild = _REBUILT.get(function.name) if isinstance(function, Unread) else None
        if rebuild is not None:
            return rebuild(self, *arguments)
        return Unread(function.name if isinstance(function, Unread) else type(function).__name__)

    def _ordered(self, pairs: Any = ()) -> dict[str, Any]:  # noqa: ANN401
        found: dict[str, Any] = {}
        for key, value in pairs:  # as Python 2 wrote them
            _update(found, [key, value])
        return found

    def _tensor(self, storage: Storage, offset: int, shape: Any, strides: Any, *_: Any) -> Any:  # noqa: ANN401
        return StoredTensor(_dtype(storage), tuple(shape), tuple(strides), offset, storage)

    def _typed(
        self,
        storage: Storage,
        offset: int,
        shape: Any,  # noqa: ANN401
        strides: Any,  # noqa: ANN401
        _grad: object,
        _hooks: object,
        dtype: Unread,
        *_: object,
    ) -> StoredTensor:
        _dtype(storage)
        name = dtype.name.removeprefix("torch.")
        return StoredTensor(name, tuple(shape), tuple(strides), offset, storage)

    def _parameter(self, tensor: Any, *_: object) -> Any:  # noqa: ANN401
        return tensor

    def _from_type(self, function: Any, _kind: object, arguments: Any, *_: object) -> Any:  # noqa: ANN401
        # Twice in each other is nothing that torch writes, and a file could go on for ever.
        if isinstance(function, Unread) and _REBUILT.get(function.name) is _Reader._from_type:
            raise TypeError("a type of a type")
        return self._called(function, arguments)


_REBUILT: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _Reader._ordered,
    "torch._utils._rebuild_tensor": _Reader._tensor,
    "torch._utils._rebuild_tensor_v2": _Reader._tensor,
    "torch._utils._rebuild_tensor_v3": _Reader._typed,
    "torch._utils._rebuild_parameter": _Reader._parameter,
    "torch._utils._rebuild_parameter_with_state": _Reader._parameter,
    "torch._tensor._rebuild_from_type_v2": _Reader._from_type,
}


def _operations(stream: BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """Yield a pickle's operations, each with its argument."""
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode, argument
    except ValueError as error:
        raise ValueError("is truncated or damaged: its pickle is not whole") from error


def _dtype(storage: object) -> str:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    return storage.dtype


def _extend(target: Any, items: list[Any]) -> None:  # noqa: ANN401
    # Of other kinds of lists nothing is needed.
    if isinstance(target, list):
        target.extend(items)


def _update(target: Any, items: list[Any]) -> None:  # noqa: ANN401
    """Set ``[key, value, key, value, ...]``; only texts can be names, and only they are hashed."""
    entries = target.items if isinstance(target, Unread) else target
    if not isinstance(entries, dict):
        raise TypeError("entries of what is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, str):
            entries[key] = value
