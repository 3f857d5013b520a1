"""The photos that are served: those in folders, those named one by one, and those sent here."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sam_edge.errors import ImageError
from sam_edge.files import replacing
from sam_edge.image import check_size, photo_size
from sam_edge.photos import PHOTO_SUFFIXES, photos_in, photos_of
from sam_edge.picture_file import open_picture
from sam_edge.server.options import Options
from sam_edge.server.refusals import (
    BadRequestError,
    ForbiddenError,
    FullError,
    NotFoundError,
    TooLargeError,
)
from sam_edge.text import printable, shown

Signature: TypeAlias = tuple[int, int, int]
"""What changes when a file is written: time, size, inode."""

_UPLOAD = re.compile(r"([0-9a-f]{32})-(.+)")

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class ServedPhoto:
    """One photo.

    Attributes:
        id: stays the same as long as the photo lies at its place.
        path: absolute, without links.
        name: what people call it.
        folder: of its folder, or empty.
        upload: whether it was sent here.
    """

    id: str
    path: Path
    name: str
    folder: str
    upload: bool = False

    def signature(self) -> Signature:
        """Say which state of the file this is.

        Raises:
            ForbiddenError: if it has become a link.
            NotFoundError: if it is gone.
        """
        return signature_of(self.path, self.name)


def signature_of(path: Path, name: str) -> Signature:
    """Return the signature of a file that is no link, and lies below no link."""
    try:
        status = os.lstat(path)
        real = os.path.realpath(path)
    except OSError:
        raise NotFoundError(f"{name} is no longer there") from None
    if real != str(path) or not stat.S_ISREG(status.st_mode):
        raise ForbiddenError(f"{name} is a link or no file, which is not served")
    return status.st_mtime_ns, status.st_size, status.st_ino


class Library:
    """What may be read through the server, and nothing else.

    Folders and links named at the start are followed once, then. A link inside a folder is not
    served.

    Args:
        words: files, folders and patterns, as commands take them.
        options: says where uploads go, and how large a photo may be.

    Raises:
        ImageError: if a folder has no photos, or a file is not there.
    """

    def __init__(self, words: Sequence[str], options: Options) -> None:
        self._options = options
        self.folders: list[Path] = []
        named: list[Path] = []
        for word in words:
            if word == "-":
                raise ImageError("serve takes files and folders, not a pipe")
            if os.path.isdir(word):
                photos_in(Path(word))
                self.folders.append(Path(os.path.realpath(word)))
                continue
            for photo in photos_of([word]):
                assert photo.path is not None
                if not photo.path.is_file():
                    raise ImageError(f"{photo.name}: there is no such file")
                named.append(Path(os.path.realpath(photo.path)))
        self._named = named
        self.uploads = Path(os.path.abspath(options.uploads))
        self._known: dict[str, ServedPhoto] = {}
        self._sizes: dict[tuple[str, Signature], tuple[int, int]] = {}

    def photos(self) -> list[ServedPhoto]:
        """Look into the folders, and return what is there, each photo once."""
        found: dict[str, ServedPhoto] = {}
        for photo in self._look():
            found.setdefault(photo.id, photo)
        self._known = found
        return list(found.values())

    def photo(self, identity: str) -> ServedPhoto:
        """Return a photo by its id.

        Raises:
            NotFoundError: if there is none.
        """
        if identity not in self._known:
            self.photos()
        if identity not in self._known:
            raise NotFoundError(f"there is no photo {shown(identity)}; GET /v1/photos lists them")
        return self._known[identity]

    def at(self, path: str) -> ServedPhoto:
        """Return the photo at a path: absolute, or as seen from a served folder.

        Raises:
            ForbiddenError: if it is outside the served folders, or leads through a link.
            NotFoundError: if there is none.
        """
        if not path or "\0" in path or len(path) > 4096:
            raise BadRequestError(f"path must be a photo's path, got {shown(path)}")
        if ".." in re.split(r"[/\\]", path):
            raise ForbiddenError("a path with .. is not served")
        inside = False
        by_path = {str(photo.path): photo for photo in self.photos() if not photo.upload}
        for root in [*self.folders, *(photo.parent for photo in self._named)]:
            candidate = os.path.normpath(os.path.join(root, path))
            if not Path(candidate).is_relative_to(root):
                continue
            inside = True
            if candidate in by_path:
                return by_path[candidate]
            if os.path.islink(candidate) or (
                os.path.lexists(candidate) and os.path.realpath(candidate) != candidate
            ):
                raise ForbiddenError(f"{shown(path)} is a link, which is not served")
        if not inside:
            raise ForbiddenError(f"{shown(path)} is outside the served folders")
        raise NotFoundError(f"there is no photo {shown(path)} in the served folders")

    def size(self, photo: ServedPhoto) -> tuple[int, int]:
        """Return a photo's ``(height, width)``, once it is one that is taken.

        Raises:
            ImageError: if it is no photo.
            TooLargeError: if it has too many pixels.
        """
        size = self.known_size(photo)
        if size is None:
            key = photo.id, photo.signature()
            size = self._sizes[key] = photo_size(photo.path)
        self._check_pixels(size, photo.name)
        return size

    def known_size(self, photo: ServedPhoto) -> tuple[int, int] | None:
        """Return a photo's size if it was looked at before."""
        return self._sizes.get((photo.id, photo.signature()))

    def keep(self, data: bytes, name: str) -> ServedPhoto:
        """Keep a photo that was sent here, under its bytes' digest.

        Raises:
            ImageError: if it is no photo.
            TooLargeError: if it has too many pixels.
            FullError: if there is no room.
        """
        with open_picture(data) as picture:
            check_size(picture, "the upload")
            height, width, kind = picture.height, picture.width, picture.format or "PNG"
        self._check_pixels((height, width), "the upload")
        digest = hashlib.sha256(data).hexdigest()[:32]
        for photo in self._sent():
            if photo.path.name.startswith(f"{digest}-"):
                self._known[photo.id] = photo
                return photo
        os.makedirs(self.uploads, mode=0o700, exist_ok=True)
        self._make_room(len(data))
        path = self.uploads / f"{digest}-{_tame(name, kind)}"
        with replacing(path) as partial:
            partial.write_bytes(data)
        kept = _upload_of(path)
        assert kept is not None
        self._known[kept.id] = kept
        return kept

    def remove(self, photo: ServedPhoto) -> None:
        """Remove an upload.

        Raises:
            ForbiddenError: if it is a photo of the user's own.
        """
        if not photo.upload:
            raise ForbiddenError(f"{photo.name} was not sent here: it stays")
        photo.path.unlink(missing_ok=True)
        self._known.pop(photo.id, None)

    def _look(self) -> Iterator[ServedPhoto]:
        for path in self._named:
            yield _own(path)
        for folder in self.folders:
            with os.scandir(folder) as entries:
                names = sorted(
                    entry.name
                    for entry in entries
                    if entry.name.lower().endswith(PHOTO_SUFFIXES)
                    and not entry.name.startswith(".")
                    and entry.is_file(follow_symlinks=False)
                )
            yield from (_own(folder / name) for name in names)
        yield from self._sent()

    def _sent(self) -> list[ServedPhoto]:
        try:
            names = sorted(os.listdir(self.uploads))
        except OSError:
            return []
        found = (_upload_of(self.uploads / name) for name in names)
        return [photo for photo in found if photo is not None]

    def _make_room(self, needed: int) -> None:
        """Remove the oldest uploads that nobody annotated, if there are too many bytes."""
        sent = [(photo.path.stat(), photo) for photo in self._sent()]
        held = sum(status.st_size for status, _ in sent)
        names = set(os.listdir(self.uploads))
        for status, photo in sorted(sent, key=lambda item: item[0].st_mtime):
            if held + needed <= self._options.upload_bytes:
                return
            if not any(name.startswith(f"{photo.path.name}.") for name in names):
                held -= status.st_size
                self.remove(photo)
        if held + needed > self._options.upload_bytes:
            raise FullError(
                f"{self.uploads} holds {held >> 20} MB of annotated photos; remove some of them"
            )

    def _check_pixels(self, size: tuple[int, int], name: str) -> None:
        if size[0] * size[1] > self._options.max_pixels:
            raise TooLargeError(
                f"{name} has {size[1]} x {size[0]} pixels, more than {self._options.max_pixels}; "
                "start with a larger --max-pixels"
            )


def _own(path: Path) -> ServedPhoto:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return ServedPhoto(digest, path, printable(path.name), printable(path.parent.name))


def _upload_of(path: Path) -> ServedPhoto | None:
    parts = _UPLOAD.fullmatch(path.name)
    if parts is None or not path.name.lower().endswith(PHOTO_SUFFIXES) or not path.is_file():
        return None
    real = Path(os.path.realpath(path.parent)) / path.name
    return ServedPhoto(f"u{parts[1][:15]}", real, printable(parts[2]), "", upload=True)


def _tame(name: str, kind: str) -> str:
    """Return a file name made of what a client called its photo."""
    stem, suffix = os.path.splitext(re.split(r"[/\\]", name)[-1])
    stem = re.sub(r"[^\w.() -]", "_", stem).strip(". ")[:_LONGEST_NAME] or "photo"
    if suffix.lower() not in PHOTO_SUFFIXES:
        suffix = {"JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp", "BMP": ".bmp"}.get(kind, ".png")
    # A letter may take four bytes, and a name has 255 of them.
    while len(stem.encode()) > 150:
        stem = stem[:-1]
    return f"{stem}{suffix.lower()}"
