"""Other tools' files beside photos, shown for correction. They are read, and never written to."""

from __future__ import annotations

import base64
import binascii
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from math import cos, hypot, pi, sin
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sam_edge.errors import SamEdgeError
from sam_edge.evaluation.truth import segmentation_mask
from sam_edge.fields import field, identity, is_number, items, text
from sam_edge.files import read_json
from sam_edge.masks import Mask, polygons_to_mask, to_coco_rle
from sam_edge.masks.boxes import boxed_rle
from sam_edge.server.objects import new_object
from sam_edge.text import shown

LARGEST_FILE = 256 * 2**20

_HEAD_BYTES = 8192
_OURS = ".sam-edge.json"

CIRCLE_CORNERS = 64

LOOK_AGAIN_S = 2.0
"""A list of photos asks for each of them; a folder may hold thousands."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file says about one photo.

    Attributes:
        format: ``labelme``, ``sa1b`` or ``coco``.
        file: which.
        objects: as ``docs/http.md`` describes them.
        skipped: how many of the file's objects are not masks, or cannot be read.
    """

    format: str
    file: Path
    objects: list[dict[str, Any]]
    skipped: int


class Imports:
    """Finds the files of photos. Used from several threads: a race reads a file twice.

    Args:
        most_objects: of one photo; more are skipped.
    """

    def __init__(self, most_objects: int) -> None:
        self._most_objects = most_objects
        self._coco: dict[Path, tuple[tuple[int, int], frozenset[str]]] = {}
        self._folders: dict[Path, tuple[int, float, dict[str, Path]]] = {}
        self._last: tuple[Path, tuple[int, int], Any] | None = None

    def kind(self, photo: Path) -> str | None:
        """Say what kind of file a photo has, from its first bytes."""
        found = self._find(photo)
        return None if found is None else found[0]

    def objects(self, photo: Path, size: tuple[int, int]) -> Imported | None:
        """Read what a photo's file says; None if there is none that can be read.

        Args:
            photo: its path.
            size: ``(H, W)`` of it; objects of another size are skipped.
        """
        found = self._find(photo)
        if found is None:
            return None
        kind, path = found
        with suppress(SamEdgeError, OSError, ValueError, TypeError):
            content = self._content(path)
            reader = {"labelme": _labelme, "sa1b": _sa1b, "coco": _coco}[kind]
            objects: list[dict[str, Any]] = []
            skipped = 0
            for read in reader(content, photo.name, size):
                try:
                    if len(objects) >= self._most_objects:
                        raise ValueError("there are too many")
                    label, mask, score = read()
                    if not mask.any():
                        raise ValueError("there is no pixel in it")
                except (SamEdgeError, ValueError, TypeError):
                    skipped += 1
                    continue
                rle = to_coco_rle(boxed_rle(mask, size=size))
                objects.append(new_object(f"{kind}-{len(objects)}", label, rle, score))
            return Imported(kind, path, objects, skipped)
        return None

    def _find(self, photo: Path) -> tuple[str, Path] | None:
        for name in (f"{photo.stem}.json", f"{photo.stem}-everything.json"):
            path = photo.with_name(name)
            kind = _kind_of_one(_head(path))
            if kind is not None:
                return kind, path
        path_of = self._coco_files(photo.parent)
        return ("coco", path_of[photo.name]) if photo.name in path_of else None

    def _coco_files(self, folder: Path) -> dict[str, Path]:
        """Return which file is of which photo, looked for anew when it changed, or later."""
        changed = 0
        with suppress(OSError):
            changed = folder.stat().st_mtime_ns
        known = self._folders.get(folder)
        if known is None or known[0] != changed or time.monotonic() - known[1] > LOOK_AGAIN_S:
            found: dict[str, Path] = {}
            for path in _json_files(folder):
                for name in self._names(path):
                    found.setdefault(name, path)
            known = self._folders[folder] = changed, time.monotonic(), found
        return known[2]

    def _names(self, path: Path) -> frozenset[str]:
        """Return the photos that a COCO file is of, by the last parts of their names."""
        try:
            status = path.stat()
        except OSError:
            return frozenset()
        state = status.st_mtime_ns, status.st_size
        known = self._coco.get(path)
        if known is None or known[0] != state:
            names: frozenset[str] = frozenset()
            head = _head(path)
            whole = len(head) == status.st_size
            if _kind_of_one(head) is None and (b'"images"' in head or not whole):
                with suppress(SamEdgeError, OSError, ValueError):
                    content = self._content(path)
                    items(content, "annotations")
                    names = frozenset(_names_in(content))
            known = self._coco[path] = state, names
        return known[1]

    def _content(self, path: Path) -> Any:  # noqa: ANN401 - JSON is anything
        """Read a file, the last one from memory: a data set's is asked for photo by photo."""
        status = path.stat()
        state = status.st_mtime_ns, status.st_size
        last = self._last
        if last is not None and last[:2] == (path, state):
            return last[2]
        if status.st_size > LARGEST_FILE:
            raise ValueError(f"{path} is larger than {LARGEST_FILE} bytes")
        content = read_json(path)
        self._last = path, state, content
        return content


def _kind_of_one(head: bytes) -> str | None:
    """Say what kind a file of one photo is, by its first bytes."""
    if b'"shapes"' in head:
        return "labelme"
    return "sa1b" if re.search(rb'"image"\s*:\s*\{', head) else None


def _head(path: Path) -> bytes:
    with suppress(OSError):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                return file.read(_HEAD_BYTES)
    return b""


def _json_files(folder: Path) -> list[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(
            Path(entry.path)
            for entry in entries
            if entry.name.lower().endswith(".json")
            and not entry.name.endswith(_OURS)
            and entry.is_file(follow_symlinks=False)
        )
    return []


def _names_in(content: object) -> Iterator[str]:
    for image in items(content, "images"):
        with suppress(ValueError):
            yield re.split(r"[/\\]", text(image, "file_name"))[-1]


_Found: TypeAlias = tuple[str, Mask, float | None]
"""An object's label, mask and score."""

_Reader: TypeAlias = Callable[[], _Found]
"""Reads one object when it is called, so that a bad one is skipped alone."""


def _labelme(content: object, _: str, size: tuple[int, int]) -> Iterator[_Reader]:
    """Shapes of one group and label are one object, as ``labelme_document`` writes them."""
    groups: dict[object, list[Any]] = {}
    for number, shape in enumerate(items(content, "shapes")):
        group = shape.get("group_id") if isinstance(shape, dict) else None
        key = (number,) if group is None else (str(group), str(shape.get("label")))
        groups.setdefault(key, []).append(shape)
    for shapes in groups.values():
        yield partial(_labelme_object, shapes, size)


def _labelme_object(shapes: list[Any], size: tuple[int, int]) -> _Found:
    mask = np.zeros(size, np.bool_)
    for shape in shapes:
        mask |= _shape_mask(shape, size)
    return text(shapes[0], "label"), mask, None


def _shape_mask(shape: Mapping[str, Any], size: tuple[int, int]) -> Mask:
    points = items(shape, "points")
    if not all(isinstance(p, list) and len(p) == 2 and all(map(is_number, p)) for p in points):
        raise ValueError(f"points must be pairs of numbers, got {shown(points)}")
    kind = shape.get("shape_type", "polygon")
    corners = np.array(points, np.float64).reshape(-1, 2)
    if kind == "mask" and len(points) == 2:
        return _pasted(text(shape, "mask"), corners, size)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)
    elif kind == "circle" and len(points) == 2:
        (x, y), (edge_x, edge_y) = points
        radius = hypot(edge_x - x, edge_y - y)
        turns = [2 * pi * step / CIRCLE_CORNERS for step in range(CIRCLE_CORNERS)]
        corners = np.array([(x + radius * cos(t), y + radius * sin(t)) for t in turns])
    elif kind != "polygon" or len(points) < 3:
        raise ValueError(f"a shape of type {shown(kind)} with {len(points)} points is no area")
    return polygons_to_mask([corners], size)


def _pasted(picture: str, corners: np.ndarray[Any, Any], size: tuple[int, int]) -> Mask:
    """Lay LabelMe's picture of a mask into the photo."""
    from sam_edge.image import read_image

    try:
        data = base64.b64decode(picture, validate=True)
    except binascii.Error as error:
        raise ValueError("the mask is no base64") from error
    part = read_image(BytesIO(data).getvalue())[:, :, 0] > 0
    left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
    mask = np.zeros(size, np.bool_)
    if left < 0 or top < 0:
        raise ValueError("the mask lies outside the photo")
    room = mask[top : top + part.shape[0], left : left + part.shape[1]]
    room[:] = part[: room.shape[0], : room.shape[1]]
    return mask


def _sa1b(content: object, _: str, size: tuple[int, int]) -> Iterator[_Reader]:
    for entry in items(content, "annotations"):
        yield partial(_coco_object, entry, size, {})


def _coco(content: object, name: str, size: tuple[int, int]) -> Iterator[_Reader]:
    mine = {
        identity(image, "id")
        for image in items(content, "images")
        if re.split(r"[/\\]", text(image, "file_name"))[-1] == name
        and (image.get("height"), image.get("width")) == size
    }
    if len(mine) > 1:
        raise ValueError(f"{len(mine)} photos of the file are called {shown(name)}")
    names = {}
    for category in items(content, "categories"):
        with suppress(ValueError):
            names[identity(category, "id")] = text(category, "name")
    for entry in items(content, "annotations"):
        if isinstance(entry, dict) and entry.get("image_id") in mine:
            yield partial(_coco_object, entry, size, names)


def _coco_object(
    entry: Mapping[str, Any], size: tuple[int, int], names: Mapping[int | str, str]
) -> _Found:
    mask = segmentation_mask(field(entry, "segmentation"), size)
    score = entry.get("predicted_iou", entry.get("score"))
    label = names.get(entry.get("category_id", ""), "object")
    return label, mask, float(score) if is_number(score) else None
