"""COCO JSON of boxes: a data set, a list of results, and Detectron2's two ways to write them."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sam_edge.detections import Detection, DetectionError, PhotoPrompts, UnnamedPhotoError
from sam_edge.fields import Skip, identity, is_number, items, numbers, photo_size, skipping, text
from sam_edge.files import read_json
from sam_edge.formats.records import CocoBox
from sam_edge.prompt_files.names import claim, first_of, in_file, longest_tails, parts
from sam_edge.prompts import Box
from sam_edge.text import shown

Identity = int | str


@dataclass(frozen=True, slots=True, eq=False)
class DetectionFile:
    """A detector's boxes of any number of photos: COCO JSON, read once, asked photo by photo.

    Both of COCO's forms are read: a data set (``images``, ``annotations``, ``categories``), and a
    list of results (``image_id``, ``category_id``, ``bbox``, ``score``), which names no files.

    Attributes:
        path: of the file, for messages.
        photos: by the last part of its file name, each photo of a data set; None for results.
        shared_ids: which ids of a data set's photos belong to more than one.
        categories: by ``id``, each as the file has it; those that it does not name are called by
            their number.
        entries: the boxes by their photo's ``image_id``, each with its number in the file.
        names: the ids of ``entries`` by what they may be called.
    """

    path: Path
    photos: Mapping[str, Sequence[Mapping[str, Any]]] | None
    shared_ids: Set[Identity]
    categories: Mapping[Identity, Mapping[str, Any]]
    entries: Mapping[Identity, Sequence[tuple[int, Mapping[str, Any]]]]
    names: Mapping[str | int, Sequence[Identity]]

    @classmethod
    def read(cls, path: Path, *, skip: Skip | None = None) -> DetectionFile:
        """Read a file.

        Args:
            path: of the file.
            skip: called with one line for each photo, category and box that is bad and left out;
                None raises at the first.

        Raises:
            OSError: if it cannot be read.
            JsonFileError: if it is no JSON.
            DetectionError: if it is neither a data set nor a list of results.
        """
        content = flattened(read_json(path))
        photos: dict[str, list[Mapping[str, Any]]] | None = None
        times: Counter[Identity] = Counter()
        categories: dict[Identity, Mapping[str, Any]] = {}
        if isinstance(content, dict):
            photos = {}
            for number, image in enumerate(_section(path, content, "images")):
                with skipping(skip, DetectionError), in_file(path, "image", number):
                    name = parts(text(image, "file_name"))[-1]
                    times[identity(image, "id")] += 1
                    photos.setdefault(name, []).append(image)
            listed = _section(path, content, "categories") if "categories" in content else []
            for number, category in enumerate(listed):
                with skipping(skip, DetectionError), in_file(path, "category", number):
                    text(category, "name")
                    categories[identity(category, "id")] = category
        entries: dict[Identity, list[tuple[int, Mapping[str, Any]]]] = {}
        for number, entry in enumerate(_section(path, content, "annotations")):
            with skipping(skip, DetectionError), in_file(path, "box", number):
                image = identity(entry, "image_id")
                if entry.get("category_id") is not None:
                    key = identity(entry, "category_id")
                    unnamed = {"id": key, "name": str(key), "supercategory": ""}
                    categories.setdefault(key, unnamed)
                entries.setdefault(image, []).append((number, entry))
        shared = {identity for identity, count in times.items() if count > 1}
        names: dict[str | int, list[Identity]] = {}
        for key in entries:
            for called in _keys(key):
                names.setdefault(called, []).append(key)
        return cls(path, photos, shared, categories, entries, names)

    def image_id(self, photo: Path) -> Identity:
        """Return which ``image_id`` of the file is a photo's.

        In a data set it is the one image whose ``file_name`` has the longest tail of folders in
        common with the photo's path, its name at least. In a list of results ``image_id`` must
        be the photo's name, with or without suffix, or its number: the only one in its name (7
        is ``photo_7.jpg``), or the twelve digits of COCO's own names. An ``image_id`` that is
        the same throughout a list is not taken for any photo's: nothing tells it from another
        photo's.

        Args:
            photo: its file.

        Raises:
            UnnamedPhotoError: if a list of results has none.
            DetectionError: if a data set has none, or more than one might be.
        """
        if self.photos is None:
            found = list(
                dict.fromkeys(
                    identity for name in _names(photo) for identity in self.names.get(name, ())
                )
            )
            if not found:
                raise UnnamedPhotoError(
                    f"{self.path} has no image_id that names {photo.name} (it has "
                    f"{first_of(self.entries)}); write the photo's name there, or give a data set "
                    "whose images have a file_name"
                )
            if len(found) > 1:
                raise DetectionError(
                    f"{self.path} has more than one image_id that may be {photo.name}: "
                    f"{first_of(found)}; leave one"
                )
            return found[0]
        chosen: Identity = self._image(photo)["id"]
        return chosen

    def _image(self, photo: Path) -> Mapping[str, Any]:
        """Return the one image of a data set that is a photo."""
        photos = self.photos or {}
        best = longest_tails(
            photos.get(photo.name, ()),
            lambda image: image["file_name"],
            parts(os.path.abspath(photo)),
        )
        names = [image["file_name"] for image in best]
        if not best:
            listed = (image["file_name"] for same in photos.values() for image in same)
            raise DetectionError(
                f"{self.path} lists no photo named {photo.name} (it lists {first_of(listed)}); "
                "give the detector's file of this photo, or mend its file_name"
            )
        if len(best) > 1:
            raise DetectionError(
                f"{self.path} lists more than one photo that may be {photo}: {first_of(names)}; "
                "name the photo by a path that ends like one of them"
            )
        if best[0]["id"] in self.shared_ids:
            raise DetectionError(
                f"{self.path} gives the id {shown(best[0]['id'])} of {first_of(names)} to another "
                "photo, too; number its images anew"
            )
        return best[0]

    def check_apart(self, photos: Iterable[Path]) -> int:
        """Refuse photos that would get the same boxes, since one of them would get another's.

        Returns:
            How many of them the file names.

        Raises:
            DetectionError: naming two of them.
        """
        owners: dict[Identity, Path] = {}
        for photo in photos:
            try:
                identity = self.image_id(photo)
            except DetectionError:
                continue  # it is named when its turn comes
            claim(self.path, owners, identity, photo)
        return len(owners)

    def prompts_of(
        self, photo: Path, image_id: Identity | None = None, *, skip: Skip | None = None
    ) -> PhotoPrompts:
        """Return the boxes of one photo, in the file's order.

        Args:
            photo: its file.
            image_id: of the photo, where its data set says it: a list of results is of these.
            skip: called with one line for each box that is bad: it is left out, or has no ``box``
                where COCO's has no area; None raises at the first.

        Raises:
            DetectionError: as for ``image_id``.
        """
        size = None
        if self.photos is None:
            mine = self.image_id(photo) if image_id is None else image_id
        else:
            image = self._image(photo)
            mine = image["id"]
            if image.get("height") is not None and image.get("width") is not None:
                with in_file(self.path, "image", image["file_name"]):
                    size = photo_size(image)
        detections = []
        for number, entry in self.entries.get(mine, ()):
            with skipping(skip, DetectionError), in_file(self.path, "box", number):
                x, y, width, height = _xywh(entry)
                detection = self._detection(entry, mine, (x, y, width, height))
                detections.append(detection)  # COCO's evaluation counts boxes without an area, too
                detections[-1] = replace(detection, box=Box(x, y, x + width, y + height))
        return PhotoPrompts(str(self.path), tuple(detections), size)

    def has_distinct_ids(self) -> bool:
        """Whether every box has an ``id`` that no other has, as in a data set."""
        ids = [entry.get("id") for boxes in self.entries.values() for _, entry in boxes]
        return None not in ids and len(set(map(repr, ids))) == len(ids)

    def _detection(
        self,
        entry: Mapping[str, Any],
        image_id: Identity,
        bbox: tuple[float, float, float, float],
    ) -> Detection:
        score = entry.get("score")
        if score is not None and not is_number(score):
            raise ValueError(f"score must be a number, got {shown(score)}")
        category = None
        if entry.get("category_id") is not None:
            number = identity(entry, "category_id")
            category = self.categories[number]
        coco = CocoBox(
            image_id=image_id,
            bbox=bbox,
            category=category,
            annotation_id=None if entry.get("id") is None else identity(entry, "id"),
            score=score,
        )
        label = "object" if category is None else category["name"]
        return Detection(None, label, coco, score=score)


def read_detections(
    path: Path,
    photo: Path,
    size: tuple[int, int] | None = None,
    *,
    skip: Skip | None = None,
) -> list[Detection]:
    """Read the boxes of one photo from COCO JSON; see ``DetectionFile``, for many photos.

    Raises:
        OSError: if it cannot be read.
        JsonFileError: if it is no JSON.
        DetectionError: if it is no COCO JSON of boxes, or holds none of the photo.
    """
    return DetectionFile.read(path, skip=skip).prompts_of(photo, skip=skip).at(size, photo.name)


def flattened(content: Any) -> Any:  # noqa: ANN401 - JSON is anything
    """Return COCO's form of what Detectron2 writes; anything else as it is.

    Its evaluators' predictions are a list of photos with ``instances``, which are results. Its data
    set dictionaries are a list of photos with ``annotations``, whose boxes have a ``bbox_mode``.

    Source: ``detectron2/evaluation/coco_evaluation.py``, ``detectron2/structures/boxes.py``.
    """
    if not isinstance(content, list) or not content or not all(map(_is_photo, content)):
        return content
    if "instances" in content[0]:
        return [entry for photo in content for entry in photo["instances"]]
    annotations = []
    for photo in content:
        for entry in photo["annotations"]:
            if isinstance(entry, dict):
                entry = {**entry, "image_id": photo.get("image_id")}
            annotations.append(entry)
    return {
        "images": [{**photo, "id": photo.get("image_id")} for photo in content],
        "annotations": annotations,
    }


_XYXY_ABS = 0
"""``BoxMode.XYXY_ABS``; ``XYWH_ABS`` is COCO's own."""


def _xywh(entry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    x, y, width, height = numbers(entry, "bbox", 4)
    if entry.get("bbox_mode") == _XYXY_ABS:
        width, height = width - x, height - y
        if not math.isfinite(width) or not math.isfinite(height):
            raise ValueError(f"bbox must be corners of a photo, got {shown(entry['bbox'])}")
    return x, y, width, height


def _is_photo(entry: object) -> bool:
    return isinstance(entry, dict) and any(
        isinstance(entry.get(name), list) for name in ("instances", "annotations")
    )


def _section(path: Path, content: object, name: str) -> list[Any]:
    """Return a list of a data set; a list of results has nothing else."""
    if isinstance(content, list):
        return content
    try:
        return items(content, name)
    except ValueError as error:
        raise DetectionError(
            f"{path} is no COCO JSON of boxes: {error}; expected a data set with images and "
            "annotations, or a list of image_id, category_id and bbox"
        ) from error


def _keys(identity: Identity) -> Iterator[str | int]:
    """Yield what an ``image_id`` may be called: its text, and the number that it is."""
    name = str(identity)
    yield name
    if number := re.fullmatch("0*([0-9]{1,18})", name):
        yield int(number[1])


def _names(photo: Path) -> Iterator[str | int]:
    """Yield what an ``image_id`` may call a photo: its name, its stem, its number."""
    yield photo.name
    yield photo.stem
    digits = re.findall("[0-9]+", photo.stem)
    if len(digits) == 1 or (digits and len(digits[-1]) == _COCO_DIGITS):
        yield int(digits[-1][-18:])


_COCO_DIGITS = 12
"""Of the number in a name like ``COCO_val2014_000000000139.jpg``."""
