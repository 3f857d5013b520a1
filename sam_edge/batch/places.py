"""Where results go: a folder, or any address that fsspec knows, such as ``s3://bucket/masks``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from sam_edge.errors import MissingDependencyError, UnwritableError
from sam_edge.files import unwritable, written


class Place(Protocol):
    """Reads and writes whole files by their names, with slashes; nothing is ever half there."""

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None if it is not there."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            UnwritableError: if it cannot be written.
        """
        ...

    def path(self, name: str) -> Path | None:
        """Return a file's path; None where files have none."""
        ...

    def writing(self, name: str) -> Any:  # noqa: ANN401 - a context manager of a text file
        """Give a text file that is there once it was written to its end."""
        ...


def place_at(address: str) -> Place:
    """Return a place; folders are made as they are needed.

    Raises:
        MissingDependencyError: if the address needs fsspec, or what brings its protocol.
        UnwritableError: if fsspec does not take it.
    """
    folder = local_folder(address)
    return _Remote(address) if folder is None else _Folder(folder)


def local_folder(address: str) -> Path | None:
    """Return the folder that an address means; None if it is none of a file system's.

    Raises:
        UnwritableError: if it is another machine's.
    """
    if "://" not in address:
        return Path(address)
    protocol, _, path = address.partition("://")
    if protocol != "file":
        return None
    if not path.startswith("/"):
        raise UnwritableError(
            f"{address} names a machine, {path.partition('/')[0]}; write file:///FOLDER"
        )
    from urllib.request import url2pathname  # a tenth of a second of every command's start

    return Path(url2pathname(path))


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[Path] = set()

    def path(self, name: str) -> Path:
        return self._folder / name

    def read(self, name: str) -> bytes | None:
        try:
            return self.path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        path = self._prepared(name)
        with written(path) as partial:
            partial.write_bytes(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[str]]:
        with (
            written(self._prepared(name)) as partial,
            partial.open("w", encoding="utf-8", newline="\n") as file,
        ):
            yield file

    def _prepared(self, name: str) -> Path:
        path = self.path(name)
        if path.parent not in self._made:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise unwritable(path.parent, error) from error
            self._made.add(path.parent)
        return path


class _Remote:
    """An object store: a file is there whole once it was put, and not before."""

    def __init__(self, address: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingDependencyError(
                f"{address} needs fsspec: pip install fsspec, and what brings "
                f"{address.partition('://')[0]} (s3: pip install s3fs)"
            ) from error
        try:
            self._files, self._root = fsspec.core.url_to_fs(address)
        except ImportError as error:
            raise MissingDependencyError(f"{address}: {error}") from error
        except ValueError as error:
            raise UnwritableError(f"{address} is no address that fsspec knows: {error}") from error
        self._address = address

    def path(self, name: str) -> None:
        return None

    def read(self, name: str) -> bytes | None:
        # Listings are remembered, and another worker may have written since.
        try:
            data: bytes = self._files.cat_file(self._key(name))
        except FileNotFoundError:
            return None
        return data

    def write(self, name: str, data: bytes) -> None:
        with self._saying(name):
            self._files.pipe_file(self._key(name), data)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[str]]:
        with tempfile.TemporaryDirectory(prefix="sam-edge-batch-") as folder:
            path = os.path.join(folder, "whole")
            with open(path, "w", encoding="utf-8", newline="\n") as file:
                yield file
            with self._saying(name):
                self._files.put_file(path, self._key(name))

    def _key(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _saying(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every file system has its own
            text = " ".join(str(error).split())[:300]
            raise UnwritableError(f"{self._address}/{name} cannot be written: {text}") from error
