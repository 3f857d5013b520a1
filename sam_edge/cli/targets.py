"""Where a command writes: decided and checked before any work, so that none is lost to a name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from sam_edge.cli.console import show
from sam_edge.cli.frame import CommandLineError
from sam_edge.errors import UnwritableError
from sam_edge.files import json_text, unwritable, written
from sam_edge.photos import PHOTO_SUFFIXES

_Identity: TypeAlias = "tuple[int, int] | str"


@dataclass(frozen=True, slots=True)
class Target:
    """One file that a command will write, and the flag that named it."""

    path: Path
    flag: str


def is_folder(word: str) -> bool:
    """Say whether an output names a folder: one that is there, or a new name without a suffix.

    A slash at the end makes a folder of any new name.
    """
    if os.path.exists(word):
        return os.path.isdir(word)
    return word.endswith(("/", os.sep)) or not Path(word).suffix


def files_for(
    word: str, flag: str, names: Sequence[str], suffixes: Sequence[str] = ()
) -> list[Target]:
    """Return the files that an output names.

    Args:
        word: what was said: a file or a folder, see ``is_folder``.
        flag: where, for messages.
        names: the files' names if it is a folder; otherwise there must be only one.
        suffixes: what a file may end with, in any case; none for anything.

    Raises:
        CommandLineError: if it is one file for several, or ends with something else.
    """
    if word in ("", "-"):
        raise CommandLineError(f"{flag} {word!r}: name a file or a folder")
    if is_folder(word):
        return [Target(Path(word) / name, flag) for name in names]
    path = Path(word)
    if len(names) > 1:
        raise CommandLineError(
            f"{flag} {word} names one file, but {len(names)} will be written; name a folder"
        )
    if suffixes and path.suffix.lower() not in suffixes and not _is_special(path):
        raise CommandLineError(
            f"{flag} {word}: expected a name that ends in {' or '.join(suffixes)}, or a folder"
        )
    return [Target(path, flag)]


def json_target(word: str | None, flag: str = "--json") -> list[Target]:
    """Return the file that a flag names; none without the flag, or where ``-`` prints.

    Raises:
        CommandLineError: if it is a folder or a picture.
    """
    if word is None or word == "-":
        return []
    if word == "" or word.endswith(("/", os.sep)) or os.path.isdir(word):
        raise CommandLineError(f"{flag} {word!r}: name a file, or - to print")
    if Path(word).suffix.lower() in PHOTO_SUFFIXES:
        raise CommandLineError(f"{flag} {word}: that is a picture's name; use .json")
    return [Target(Path(word), flag)]


def prepare(targets: Sequence[Target], inputs: Sequence[Path]) -> None:
    """Make the targets' folders, once it is sure that nothing will be lost in them.

    Args:
        targets: every file that will be written.
        inputs: every file that is read: none of them may be written to.

    Raises:
        CommandLineError: if two targets are one file, or one of them is an input or a folder.
        UnwritableError: if a file or a folder is not to be written to.
    """
    real_folder = cache(os.path.realpath)
    read: dict[_Identity, Path] = {}
    for path in inputs:
        with suppress(OSError):  # who reads it will say what is wrong
            read[_identity(path, real_folder)] = path
    seen: dict[_Identity, Target] = {}
    folders: set[str] = set()
    for target in targets:
        try:
            identity = _identity(target.path, real_folder)
        except OSError as error:
            raise unwritable(target.path, error) from error
        if identity in read:
            raise CommandLineError(
                f"{target.flag} would write over {read[identity]}, which is read; name another file"
            )
        if os.path.isdir(target.path):
            raise CommandLineError(
                f"{target.flag}: {target.path} is a folder; a file is to go there"
            )
        if _is_special(target.path):
            continue
        other = seen.setdefault(identity, target)
        if other is not target:
            raise CommandLineError(
                f"{other.flag} and {target.flag} would both write {target.path}; name another file"
            )
        if os.path.exists(target.path) and not os.access(target.path, os.W_OK):
            raise UnwritableError(f"{target.path} cannot be written: it is read-only")
        folders.add(real_folder(target.path.parent))
    for folder in sorted(folders):
        try:
            os.makedirs(folder, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass  # permissions alone do not say it: disks are read-only, and quotas end
        except OSError as error:
            raise unwritable(Path(folder), error) from error


def write_json(word: str, document: object) -> None:
    """Write JSON to the file that ``--json`` names, or print it.

    Raises:
        OSError: if it cannot be written.
    """
    text = json_text(document, indent=2)
    if word == "-":
        show(text)
        return
    with written(Path(word)) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _is_special(path: Path) -> bool:
    """Whether it is a device or a pipe, such as ``/dev/stdout``."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _identity(path: Path, real_folder: Callable[[Path], str]) -> _Identity:
    """Return what is equal for two names of one file, links of both kinds included."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if path.is_symlink():
            return os.path.realpath(path).casefold()
        # Two names that differ in case alone are one file on many disks.
        return os.path.join(real_folder(path.parent), path.name).casefold()
    return status.st_dev, status.st_ino
