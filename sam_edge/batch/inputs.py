"""The photos of a set: folders, lists, patterns, COCO, SA-1B and LabelMe."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import filterfalse
from pathlib import Path
from typing import Any

from sam_edge.batch.values import Item
from sam_edge.detections import DetectionError
from sam_edge.errors import ArgumentError, ImageError, JsonFileError
from sam_edge.evaluation.truth import TruthError, folder_of
from sam_edge.fields import Skip, identity, items, skipping, text
from sam_edge.fields import field as field_of
from sam_edge.files import read_json
from sam_edge.photos import PHOTO_SUFFIXES
from sam_edge.prompt_files.labelme import is_labelme, photo_named
from sam_edge.prompt_files.names import in_file
from sam_edge.text import printable, shown

DATASETS = ("coco", "sa1b", "labelme")
LISTS = (".txt", ".lst")


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Photos, and what their data set calls what is in them.

    Attributes:
        items: each photo once.
        categories: of a COCO data set, by ``id``.
    """

    items: list[Item]
    categories: Mapping[int | str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Named:
    """A photo as its set names it."""

    path: Path
    file_name: str | None = None
    image_id: int | str | None = None


def photo_set(
    sources: Sequence[str | os.PathLike[str]],
    *,
    dataset: str | None = None,
    images: Path | None = None,
    out: Path | None = None,
    skip: Skip | None = None,
) -> PhotoSet:
    """List photos.

    Args:
        sources: each a photo; a folder, with all that is below it but hidden files; a pattern; a
            list (``.txt``) with a path a line, from the list's folder; or COCO JSON.
        dataset: what a folder is: ``sa1b`` and ``labelme`` take the photos that its JSON files
            name, ``coco`` the one JSON file below it; None takes every photo.
        images: the folder of a COCO data set's photos; None looks for them.
        out: the folder of the results: nothing in it is taken for a photo, but for a source in it.
        skip: called with one line for each entry that is bad and left out; None raises at the
            first.

    Raises:
        ArgumentError: if the dataset is of no such kind, or the results would be among its files.
        ImageError: if there are no photos.
        TruthError: if a data set is not what it is said to be.
        OSError: if a folder or a list cannot be read.
    """
    if dataset not in (None, *DATASETS):
        raise ArgumentError(f"dataset is one of {', '.join(DATASETS)}, got {shown(dataset)}")
    named: list[_Named] = []
    categories: dict[int | str, Mapping[str, Any]] = {}
    root: str | None = None
    for word in sources:
        source, path = os.fspath(word), Path(word)
        if source in ("", "-"):
            raise ImageError(f"{source!r} is no photo of a set; name a photo, folder or pattern")
        is_json = path.suffix.lower() == ".json"
        if dataset is not None or is_json:
            _refuse_results_among(path, out)
        if dataset == "coco" or is_json:
            named += _coco(path, images, categories, out, skip)
        elif dataset is not None:
            reader: Callable[[Path, Path | None, Skip | None], Iterator[_Named]]
            reader = _sa1b if dataset == "sa1b" else _labelme
            named += reader(path, out, skip)
        else:
            named += map(_Named, _photos(source, out))
        if len(sources) == 1 and path.is_dir():
            root = os.path.abspath(path)
    real = cache(real_path)  # of a million photos in few folders
    seen: dict[str, _Named] = {}
    for photo in named:
        seen.setdefault(os.path.join(real(photo.path.parent), photo.path.name), photo)
    if not seen:
        what = ", ".join(printable(os.fspath(source))[:60] for source in sources[:3]) or "nothing"
        raise ImageError(f"{what}: there are no photos ({', '.join(PHOTO_SUFFIXES)})")
    ids = Counter(photo.image_id for photo in seen.values() if photo.image_id is not None)
    if ids and ids.most_common(1)[0][1] > 1:
        number = shown(ids.most_common(1)[0][0])
        raise TruthError(
            f"two photos have the number {number}; name one data set, or number its photos anew"
        )
    paths = [os.path.abspath(photo.path) for photo in seen.values()]
    if root is None or any(not path.startswith(os.path.join(root, "")) for path in paths):
        folders = {os.path.dirname(path) for path in paths}
        root = os.path.commonpath(folders) if len({_drive(path) for path in folders}) == 1 else ""
    relative = [_from(root, path) for path in paths]
    found = [
        Item(index, photo.path, name, photo.file_name or printable(place), photo.image_id)
        for index, (photo, place, name) in enumerate(
            zip(seen.values(), relative, distinct_names(relative), strict=True)
        )
    ]
    return PhotoSet(found, categories)


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Return names for results, no two alike even where case does not count.

    They are the paths without their suffixes; those for which that is the same keep theirs.

    >>> distinct_names(["a/cup.jpg", "b/cup.jpg", "b/cup.png", "B/CUP.png"])
    ['a/cup', 'b/cup.jpg', 'b/cup.png-2', 'B/CUP.png-3']
    >>> distinct_names(["X.JPG", "x.jpg", "X.JPG-0.png"])
    ['X.JPG-0', 'x.jpg-1', 'X.JPG-0-2']
    """
    names = [os.path.splitext(path)[0] for path in paths]
    for longer in (paths, [f"{path}-{index}" for index, path in enumerate(paths)]):
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            groups.setdefault(name.casefold(), []).append(index)
        for alike in groups.values():
            if len(alike) > 1:
                for index in alike:
                    names[index] = longer[index]
    taken: set[str] = set()
    for index, name in enumerate(names):
        while name.casefold() in taken:  # another photo has the longest name for its own
            name += f"-{index}"
        taken.add(name.casefold())
        names[index] = name
    return names


def _drive(path: str) -> str:
    return os.path.splitdrive(path)[0].casefold()


def _from(root: str, path: str) -> str:
    """Return a path below the root, with slashes."""
    parts = Path(path).parts
    below = Path(os.path.relpath(path, root)).parts if root else parts[1:]
    return "/".join(below)


def _photos(source: str, out: Path | None) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        yield from _below(path, out)
    elif path.suffix.lower() in LISTS:
        yield from _listed(path)
    elif _is_pattern(source):
        matches = sorted(glob.glob(source, recursive=True))
        if not matches:
            raise ImageError(f"{source} matches no file")
        inside = out is not None and is_below(Path(_fixed(source)), out)
        in_results = _is_in(None if inside else out)
        for match in matches:
            if in_results(Path(match)):
                continue
            if os.path.isdir(match):
                yield from _below(Path(match), out)
            elif Path(match).suffix.lower() in PHOTO_SUFFIXES:
                yield Path(match)
    elif path.suffix.lower() not in PHOTO_SUFFIXES and not path.exists():
        raise ImageError(f"{source} is not there; name a photo, a folder or a pattern")
    else:
        yield path


def folder_read(source: str | os.PathLike[str]) -> Path | None:
    """Return the folder below which every photo is taken, of a folder or a pattern; else None."""
    if os.path.isdir(source):
        return Path(source)
    name = os.fspath(source)
    return Path(_fixed(name)) if _is_pattern(name) else None


def _is_pattern(source: str) -> bool:
    return glob.has_magic(source) and not os.path.lexists(source)


def _fixed(pattern: str) -> str:
    """Return the folder that a pattern begins with.

    >>> _fixed("shots/2024/*/a*.jpg"), _fixed("*.jpg")
    ('shots/2024', '.')
    """
    place = os.path.dirname(pattern)
    while glob.has_magic(place):
        place = os.path.dirname(place)
    return place or "."


def _refuse_results_among(folder: Path, out: Path | None) -> None:
    if out is not None and folder.is_dir() and is_below(folder, out):
        raise ArgumentError(
            f"{out} holds the data set {folder}, and what is written there would be read as part "
            "of it; name another folder, which may be below it"
        )


def _is_in(out: Path | None) -> Callable[[Path], bool]:
    """Return what says whether a path is the folder of the results, or below it."""
    return partial(is_below, folder=out, real=cache(real_path)) if out else lambda _: False


def real_path(path: Path) -> str:
    """Return where links lead; a name that no file can have leads nowhere."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return os.path.abspath(path)


def is_below(path: Path, folder: Path, real: Callable[[Path], str] = real_path) -> bool:
    """Whether a path is a folder, or is below it, wherever links lead.

    Args:
        path: the path.
        folder: the folder.
        real: of a folder, where links lead; of a million paths in few folders it may remember.
    """
    if path.is_symlink() or path.name in ("", ".."):
        place = real(path)
    else:
        place = os.path.join(real(path.parent), path.name)
    return os.path.join(place, "").startswith(os.path.join(real(folder), ""))


def _below(folder: Path, out: Path | None) -> Iterator[Path]:
    """Yield a folder's photos, nested ones too, each folder's in order."""
    result = None if out is None else os.path.realpath(out)

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and (result is None or os.path.realpath(os.path.join(place, name)) != result)
        )
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES:
                yield Path(place) / name


def _listed(path: Path) -> Iterator[Path]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ImageError(f"{path} is no list of photos: it is no text in UTF-8") from error
    for line in lines:
        if line.strip():
            yield path.parent / line.strip()


def _coco(
    path: Path,
    images: Path | None,
    categories: dict[int | str, Mapping[str, Any]],
    out: Path | None,
    skip: Skip | None,
) -> Iterator[_Named]:
    if path.is_dir():
        files = sorted(filterfalse(_is_in(out), path.rglob("*.json")))
        if len(files) != 1:
            raise TruthError(f"{path} has {len(files)} .json files; name the data set's instead")
        path = files[0]
    content = read_json(path)
    try:
        listed = items(content, "images")
        described = items(content, "categories") if "categories" in content else []
    except ValueError as error:
        raise TruthError(f"{path} is no COCO JSON: {error}") from error
    for number, category in enumerate(described):
        with skipping(skip, TruthError), _truth(path, "category", number):
            text(category, "name")
            categories.setdefault(identity(category, "id"), category)
    found: dict[str, int | str] = {}
    ids: set[int | str] = set()
    for number, image in enumerate(listed):
        with skipping(skip, TruthError), _truth(path, "image", number):
            name, key = text(image, "file_name").replace("\\", "/"), identity(image, "id")
            if name in found or key in ids:
                raise ValueError(f"{shown(name)}, or its id, is listed twice")
            found[name] = key
            ids.add(key)
    folder = images or folder_of(list(found), path.parent)
    for name, key in found.items():
        yield _Named(folder / name, printable(name), key)


def _sa1b(folder: Path, out: Path | None, skip: Skip | None) -> Iterator[_Named]:
    for path in _json_below(folder, out, "SA-1B has one beside each photo"):
        with skipping(skip, TruthError, JsonFileError), _truth(path, "key", "image"):
            image = field_of(read_json(path), "image")
            name = text(image, "file_name").replace("\\", "/")
            yield _Named(path.parent / name, printable(name), identity(image, "image_id"))


def _labelme(folder: Path, out: Path | None, skip: Skip | None) -> Iterator[_Named]:
    for path in _json_below(folder, out, "LabelMe has one beside each photo"):
        with skipping(skip, TruthError, JsonFileError), _truth(path, "key", "imagePath"):
            if is_labelme(path):
                yield _Named(Path(photo_named(path, read_json(path))))


def _json_below(folder: Path, out: Path | None, rule: str) -> Iterable[Path]:
    paths = sorted(filterfalse(_is_in(out), folder.rglob("*.json")))
    if not paths:
        raise TruthError(f"{folder} has no .json files; {rule}")
    return paths


@contextmanager
def _truth(path: Path, kind: str, number: int | str) -> Iterator[None]:
    """Say in errors which part of a data set is meant."""
    try:
        with in_file(path, kind, number):
            yield
    except DetectionError as error:
        raise TruthError(str(error)) from error
