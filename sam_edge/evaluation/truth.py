"""Ground truth: photos with the masks that people drew, from COCO and SA-1B folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import JsonFileError, SamEdgeError
from sam_edge.fields import (
    Skip,
    field,
    identity,
    is_number,
    items,
    numbers,
    photo_size,
    skipping,
    text,
)
from sam_edge.files import read_json
from sam_edge.masks import Mask, decode_rle, from_coco_rle, polygons_to_mask
from sam_edge.prompts import Box
from sam_edge.text import printable, shown


class TruthError(SamEdgeError, ValueError):
    """A folder that is not the data set it is said to be."""


@dataclass(frozen=True, slots=True, eq=False)
class TrueObject:
    """One object that people outlined: its mask, shape ``(H, W)``, and its box."""

    mask: Mask
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class TruePhoto:
    """One photo and what is in it. Masks are decoded when they are asked for."""

    path: Path
    size: tuple[int, int]
    annotations: list[Mapping[str, Any]]

    def objects(self, *, skip: Skip | None = None) -> Iterator[TrueObject]:
        """Yield the photo's objects; those without pixels or without a box are left out.

        Args:
            skip: called with one line for each annotation that is bad and left out; None raises
                at the first.

        Raises:
            TruthError: if an annotation cannot be read.
        """
        for number, entry in enumerate(self.annotations):
            found = None
            name = entry["id"] if isinstance(entry, dict) and "id" in entry else number
            where = f"{printable(self.path.name)[-100:]}, annotation {shown(name)}"
            with skipping(skip, TruthError), _named(where):
                found = self._object(entry)
            if found is not None:
                yield found

    def _object(self, entry: Mapping[str, Any]) -> TrueObject | None:
        x, y, width, height = numbers(entry, "bbox", 4)
        mask = segmentation_mask(field(entry, "segmentation"), self.size)
        if not mask.any() or width <= 0 or height <= 0:
            return None
        return TrueObject(mask, Box(x, y, x + width, y + height).clipped(*self.size))


def read_coco(
    directory: Path,
    annotations: Path | None = None,
    images: Path | None = None,
    *,
    skip: Skip | None = None,
) -> list[TruePhoto]:
    """Read a COCO folder. Crowds are left out, as COCO's own evaluation does.

    Args:
        directory: the data set's folder.
        annotations: the JSON file; None takes the only one below ``directory``, preferring
            ``instances_val*.json``.
        images: the photos' folder; None looks for the photos below ``directory``.
        skip: called with one line for each photo and each annotation that is bad and left out;
            None raises at the first.

    Raises:
        TruthError: if the files are not there or not COCO's.
        JsonFileError: if the annotations are no JSON.
    """
    path = annotations or _annotation_file(directory)
    content = read_json(path)
    with _named(f"{path} is no COCO JSON"):
        listed, drawn = items(content, "images"), items(content, "annotations")
    if not listed:
        raise TruthError(f"{path} lists no photos")
    entries: dict[int | str, list[Mapping[str, Any]]] = {}
    for number, entry in enumerate(drawn):
        with skipping(skip, TruthError), _named(f"{path}, annotation {number}"):
            mine = entries.setdefault(identity(entry, "image_id"), [])
            if not entry.get("iscrowd"):
                mine.append(entry)
    sizes: dict[str, tuple[tuple[int, int], list[Mapping[str, Any]]]] = {}
    for number, image in enumerate(listed):
        with skipping(skip, TruthError), _named(f"{path}, image {number}"):
            name = text(image, "file_name").replace("\\", "/")
            if name in sizes:
                raise ValueError(f"{shown(name)} is listed twice")
            sizes[name] = photo_size(image), entries.get(identity(image, "id"), [])
    folder = images or folder_of(list(sizes), directory)
    return [TruePhoto(folder / name, size, mine) for name, (size, mine) in sizes.items() if mine]


def read_sa1b(directory: Path, *, skip: Skip | None = None) -> list[TruePhoto]:
    """Read a folder of SA-1B: one JSON file beside each photo.

    Args:
        directory: the folder.
        skip: called with one line for each file that is bad and left out; None raises at the
            first.

    Raises:
        TruthError: if there is none, or one is not SA-1B's.
        JsonFileError: if one is no JSON.
    """
    photos = []
    paths = sorted(directory.glob("*.json"))
    if not paths:
        raise TruthError(f"{directory} has no .json files; SA-1B has one beside each photo")
    for path in paths:
        with skipping(skip, TruthError, JsonFileError), _named(f"{path} is no SA-1B JSON"):
            content = read_json(path)
            image = field(content, "image")
            name = text(image, "file_name").replace("\\", "/")
            entries = items(content, "annotations")
            photos.append(TruePhoto(directory / name, photo_size(image), entries))
    return photos


def segmentation_mask(segmentation: Any, size: tuple[int, int]) -> Mask:  # noqa: ANN401
    """Decode any of COCO's spellings of a mask: polygons, run lengths, or their string.

    Args:
        segmentation: the JSON value.
        size: ``(H, W)`` of the photo.

    Raises:
        ValueError: if it is none of them, or of another size.
    """
    if isinstance(segmentation, list):
        return polygons_to_mask([_corners(polygon) for polygon in segmentation], size)
    if field(segmentation, "size") != list(size):
        raise ValueError(f"its mask has size {shown(segmentation['size'])}, the photo {list(size)}")
    if isinstance(field(segmentation, "counts"), list):
        return decode_rle(segmentation)
    return decode_rle(from_coco_rle(segmentation))


def _corners(polygon: object) -> NDArray[np.float64]:
    if not isinstance(polygon, list) or len(polygon) % 2 or not all(map(is_number, polygon)):
        raise ValueError(f"a polygon must be pairs of numbers, got {shown(polygon)}")
    return np.array(polygon, np.float64).reshape(-1, 2)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say in errors what is meant."""
    try:
        yield
    except JsonFileError:
        raise  # it names its file
    except ValueError as error:
        raise TruthError(f"{where}: {error}") from error


def _annotation_file(directory: Path) -> Path:
    found = sorted(directory.rglob("*.json"))
    preferred = [path for path in found if path.name.startswith("instances_val")]
    candidates = preferred or found
    if len(candidates) != 1:
        raise TruthError(
            f"{directory} has {len(candidates)} annotation files; name one with --annotations"
        )
    return candidates[0]


def folder_of(names: Sequence[str], directory: Path) -> Path:
    """Find the folder that a data set's file names start from.

    Raises:
        TruthError: if it is not to be told which.
    """
    if any(os.path.isfile(directory / name) for name in names):  # pathlib's raises on a long name
        return directory
    tails = {Path(name).parts for name in names}
    depths = sorted({len(tail) for tail in tails})
    found = {
        path.parents[depth - 1]
        for path in directory.rglob("*")
        for depth in depths
        if path.parts[-depth:] in tails
    }
    if len(found) != 1:
        where = f"in {len(found)} folders" if found else "nowhere"
        first = shown(names[0]) if names else "photos"
        raise TruthError(
            f"{first} and the like are {where} below {directory}; name their folder with --images"
        )
    return found.pop()
