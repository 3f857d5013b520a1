"""Ground truth: photos with the masks that people drew, from COCO and SA-1B folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge.errors import SamEdgeError
from sam_edge.files import read_json
from sam_edge.masks import Mask, decode_rle, from_coco_rle
from sam_edge.masks.polygons import polygon_to_mask
from sam_edge.prompts import Box


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

    def objects(self) -> Iterator[TrueObject]:
        """Yield the photo's objects; those without pixels or without a box are left out.

        Raises:
            TruthError: if an annotation cannot be read.
        """
        for entry in self.annotations:
            try:
                x, y, width, height = entry["bbox"]
                mask = segmentation_mask(entry["segmentation"], self.size)
            except (KeyError, TypeError, ValueError) as error:
                raise TruthError(
                    f"{self.path.name}, annotation {entry.get('id')}: "
                    f"{type(error).__name__} {error}"
                ) from error
            if mask.any() and width > 0 and height > 0:
                yield TrueObject(mask, Box(x, y, x + width, y + height))


def read_coco(
    directory: Path, annotations: Path | None = None, images: Path | None = None
) -> list[TruePhoto]:
    """Read a COCO folder. Crowds are left out, as COCO's own evaluation does.

    Args:
        directory: the data set's folder.
        annotations: the JSON file; None takes the only one below ``directory``, preferring
            ``instances_val*.json``.
        images: the photos' folder; None looks for the first photo below ``directory``.

    Raises:
        TruthError: if the files are not there or not COCO's.
    """
    path = annotations or _annotation_file(directory)
    content = read_json(path)
    try:
        entries: dict[Any, list[Mapping[str, Any]]] = {}
        for entry in content["annotations"]:
            if not entry.get("iscrowd"):
                entries.setdefault(entry["image_id"], []).append(entry)
        listed = [
            (image["file_name"], (image["height"], image["width"]), entries.get(image["id"], []))
            for image in content["images"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise TruthError(f"{path} is no COCO JSON: {type(error).__name__} {error}") from error
    if not listed:
        raise TruthError(f"{path} lists no photos")
    folder = images or _folder_of(listed[0][0], directory)
    return [TruePhoto(folder / name, size, mine) for name, size, mine in listed if mine]


def read_sa1b(directory: Path) -> list[TruePhoto]:
    """Read a folder of SA-1B: one JSON file beside each photo.

    Raises:
        TruthError: if there is none, or one is not SA-1B's.
    """
    photos = []
    for path in sorted(directory.glob("*.json")):
        content = read_json(path)
        try:
            image = content["image"]
            size = (image["height"], image["width"])
            photo = TruePhoto(directory / image["file_name"], size, content["annotations"])
        except (KeyError, TypeError) as error:
            raise TruthError(
                f"{path} is no SA-1B JSON: {type(error).__name__} {error}; "
                "expected image and annotations"
            ) from error
        photos.append(photo)
    if not photos:
        raise TruthError(f"{directory} has no .json files; SA-1B has one beside each photo")
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
        mask = np.zeros(size, np.bool_)
        for polygon in segmentation:
            mask |= polygon_to_mask(np.reshape(np.asarray(polygon, np.float64), (-1, 2)), size)
        return mask
    if tuple(segmentation["size"]) != size:
        raise ValueError(f"its mask has size {segmentation['size']}, the photo {list(size)}")
    if isinstance(segmentation["counts"], list):
        return decode_rle(segmentation)
    return decode_rle(from_coco_rle(segmentation))


def _annotation_file(directory: Path) -> Path:
    found = sorted(directory.rglob("*.json"))
    preferred = [path for path in found if path.name.startswith("instances_val")]
    candidates = preferred or found
    if len(candidates) != 1:
        raise TruthError(
            f"{directory} has {len(candidates)} annotation files; name one with --annotations"
        )
    return candidates[0]


def _folder_of(name: str, directory: Path) -> Path:
    if (directory / name).is_file():
        return directory
    for path in directory.rglob(Path(name).name):
        return path.parents[len(Path(name).parts) - 1]
    raise TruthError(f"{name} is nowhere below {directory}; name its folder with --images")
