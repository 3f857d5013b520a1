"""A detector's boxes as prompts: SAM as the mask stage of YOLO, Detectron2 and the like."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import PromptError, SamEdgeError
from sam_edge.fields import Skip, identity, is_number, items, numbers, photo_size, skipping, text
from sam_edge.files import read_json
from sam_edge.formats.records import CocoBox, LabelledMask
from sam_edge.masks import encode_rle
from sam_edge.masks.upsample import stability_scores
from sam_edge.prompts import Box, Prompt
from sam_edge.segmenter import MEMORY_LIMIT, Segmenter
from sam_edge.text import printable, shown

Identity = int | str


class DetectionError(SamEdgeError, ValueError):
    """A file of detections that cannot be read, or that says nothing about the photo."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One box of a detector.

    Attributes:
        box: the prompt.
        label: its category's name.
        coco: what the detector's file says of it, to be written out again; None if none does.
        score: how sure the detector is; None if it does not say.
    """

    box: Box
    label: str = "object"
    coco: CocoBox | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DetectionFile:
    """A detector's boxes of any number of photos: COCO JSON, read once, asked photo by photo.

    Both of COCO's forms are read: a data set (``images``, ``annotations``, ``categories``), and a
    list of results (``image_id``, ``category_id``, ``bbox``, ``score``), which names no files.

    Attributes:
        path: of the file, for messages.
        photos: by the last part of its file name, each photo of a data set; None for results.
        shared_ids: which ids of a data set's photos belong to more than one.
        categories: of a data set, by ``id``, each as the file has it.
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
        content = read_json(path)
        photos: dict[str, list[Mapping[str, Any]]] | None = None
        times: Counter[Identity] = Counter()
        categories: dict[Identity, Mapping[str, Any]] = {}
        if isinstance(content, dict):
            photos = {}
            for number, image in enumerate(_section(path, content, "images")):
                with skipping(skip, DetectionError), _named(path, "image", number):
                    name = _parts(text(image, "file_name"))[-1]
                    times[identity(image, "id")] += 1
                    photos.setdefault(name, []).append(image)
            listed = _section(path, content, "categories") if "categories" in content else []
            for number, category in enumerate(listed):
                with skipping(skip, DetectionError), _named(path, "category", number):
                    text(category, "name")
                    categories[identity(category, "id")] = category
        entries: dict[Identity, list[tuple[int, Mapping[str, Any]]]] = {}
        for number, entry in enumerate(_section(path, content, "annotations")):
            with skipping(skip, DetectionError), _named(path, "box", number):
                entries.setdefault(identity(entry, "image_id"), []).append((number, entry))
        shared = {identity for identity, count in times.items() if count > 1}
        names: dict[str | int, list[Identity]] = {}
        for key in entries:
            for called in _keys(key):
                names.setdefault(called, []).append(key)
        return cls(path, photos, shared, categories, entries, names)

    def image_id(self, photo: Path, size: tuple[int, int] | None = None) -> Identity:
        """Return which ``image_id`` of the file is a photo's.

        In a data set it is the one image whose ``file_name`` has the longest tail of folders in
        common with the photo's path, its name at least. In a list of results ``image_id`` must
        be the photo's name, with or without suffix, or its number: the only one in its name (7
        is ``photo_7.jpg``), or the twelve digits of COCO's own names. An ``image_id`` that is
        the same throughout a list is not taken for any photo's: nothing tells it from another
        photo's.

        Args:
            photo: its file.
            size: ``(H, W)`` of the photo; a data set that says another is not its.

        Raises:
            DetectionError: if the file has none, or more than one that might be.
        """
        if self.photos is None:
            found = list(
                dict.fromkeys(
                    identity for name in _names(photo) for identity in self.names.get(name, ())
                )
            )
            if not found:
                raise DetectionError(
                    f"{self.path} has no image_id that names {photo.name} (it has "
                    f"{_first(self.entries)}); write the photo's name there, or give a data set "
                    "whose images have a file_name"
                )
            if len(found) > 1:
                raise DetectionError(
                    f"{self.path} has more than one image_id that may be {photo.name}: "
                    f"{_first(found)}; leave one"
                )
            return found[0]
        best = _longest_tails(self.photos.get(photo.name, ()), photo)
        names = [image["file_name"] for image in best]
        if not best:
            listed = [image["file_name"] for same in self.photos.values() for image in same]
            raise DetectionError(
                f"{self.path} lists no photo named {photo.name} (it lists {_first(listed)}); "
                "give the detector's file of this photo, or mend its file_name"
            )
        if len(best) > 1:
            raise DetectionError(
                f"{self.path} lists more than one photo that may be {photo}: {_first(names)}; "
                "name the photo by a path that ends like one of them"
            )
        chosen: Identity = best[0]["id"]
        if chosen in self.shared_ids:
            raise DetectionError(
                f"{self.path} gives the id {shown(chosen)} of {_first(names)} to another photo, "
                "too; number its images anew"
            )
        self._check_size(best[0], photo, size)
        return chosen

    def check_apart(self, photos: Sequence[Path]) -> None:
        """Refuse photos that would get the same boxes, since one of them would get another's.

        Raises:
            DetectionError: naming two of them.
        """
        owners: dict[Identity, Path] = {}
        for photo in photos:
            try:
                identity = self.image_id(photo)
            except DetectionError:
                continue  # it is named when its turn comes
            owner = owners.setdefault(identity, photo)
            if owner != photo:
                raise DetectionError(
                    f"{self.path} cannot tell {owner} from {photo}: both may be its image "
                    f"{shown(identity)}; write the photos' folders into its file_name"
                )

    def of(
        self, photo: Path, size: tuple[int, int] | None = None, *, skip: Skip | None = None
    ) -> list[Detection]:
        """Return the boxes of one photo, in the file's order.

        Args:
            photo: its file.
            size: as for ``image_id``.
            skip: called with one line for each box that is bad and left out; None raises at the
                first.

        Raises:
            DetectionError: as for ``image_id``.
        """
        mine = self.image_id(photo, size)
        detections = []
        for number, entry in self.entries.get(mine, ()):
            with skipping(skip, DetectionError), _named(self.path, "box", number):
                detections.append(self._detection(entry, mine))
        return detections

    def _detection(self, entry: Mapping[str, Any], image_id: Identity) -> Detection:
        x, y, width, height = numbers(entry, "bbox", 4)
        score = entry.get("score")
        if score is not None and not is_number(score):
            raise ValueError(f"score must be a number, got {shown(score)}")
        category = None
        if entry.get("category_id") is not None:
            number = identity(entry, "category_id")
            category = self.categories.get(
                number, {"id": number, "name": str(number), "supercategory": ""}
            )
        coco = CocoBox(
            image_id=image_id,
            bbox=(x, y, width, height),
            category=category,
            annotation_id=None if entry.get("id") is None else identity(entry, "id"),
            score=score,
        )
        label = "object" if category is None else category["name"]
        return Detection(Box(x, y, x + width, y + height), label, coco, score)

    def _check_size(
        self, image: Mapping[str, Any], photo: Path, size: tuple[int, int] | None
    ) -> None:
        if size is None or image.get("height") is None or image.get("width") is None:
            return
        with _named(self.path, "image", image["file_name"]):
            height, width = photo_size(image)
        if (height, width) != size:
            raise DetectionError(
                f"{self.path} has boxes for a {photo.name} of {width} x {height} pixels, the "
                f"photo has {size[1]} x {size[0]}; give the detector's file of this photo"
            )


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
    return DetectionFile.read(path, skip=skip).of(photo, size, skip=skip)


def segment_boxes(
    model: Segmenter,
    embedding: ImageEmbedding,
    detections: Sequence[Detection],
    *,
    memory_limit: int = MEMORY_LIMIT,
    skip: Skip | None = None,
) -> list[LabelledMask]:
    """Segment the object in each box; the masks come in the boxes' order.

    Args:
        model: what segments.
        embedding: the photo's.
        detections: its boxes.
        memory_limit: in bytes, for the decoder's work; what is kept of a mask is run lengths.
        skip: called with one line for each box that lies outside the photo and is left out; None
            raises at the first.

    Raises:
        PromptError: if a box lies outside the photo.
    """
    height, width = embedding.original_size
    inside = []
    for detection in detections:
        with skipping(skip, PromptError):
            detection.box.clipped(height, width)
            inside.append(detection)
    masks: dict[int, LabelledMask] = {}
    prompts = [Prompt.of(box=detection.box) for detection in inside]
    for index, result in model.decode_each(
        embedding, prompts, multimask=False, memory_limit=memory_limit
    ):
        (stability,) = stability_scores(
            result.low_res_logits,
            input_size=embedding.input_size,
            image_size=embedding.image_size,
            original_size=embedding.original_size,
            threshold=model.spec.masks.threshold,
        )
        masks[index] = LabelledMask(
            rle=encode_rle(result.masks[0]),
            predicted_iou=float(result.scores[0]),
            stability_score=float(stability),
            points=[],
            crop_box=[0, 0, width, height],
            label=inside[index].label,
            coco=inside[index].coco,
            box_score=inside[index].score,
            prompt=inside[index].box,
        )
    return [masks[index] for index in range(len(inside))]


@contextmanager
def _named(path: Path, kind: str, number: int | str) -> Iterator[None]:
    """Say in errors which part of a file is meant."""
    try:
        yield
    except ValueError as error:
        raise DetectionError(f"{path}, {kind} {shown(number)}: {error}") from error


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


def _parts(name: str) -> list[str]:
    r"""Split a path of any system into its parts.

    >>> _parts("val\\2017/./7.jpg")
    ['val', '2017', '7.jpg']
    """
    return [part for part in re.split(r"[\\/]", name) if part not in ("", ".")] or [name]


def _longest_tails(images: Sequence[Mapping[str, Any]], photo: Path) -> list[Mapping[str, Any]]:
    """Return the images that have the most last parts in common with a photo's path."""
    wanted = _parts(os.path.abspath(photo))
    tails = [_common_tail(_parts(image["file_name"]), wanted) for image in images]
    return [image for image, tail in zip(images, tails, strict=True) if tail == max(tails)]


def _common_tail(one: Sequence[str], other: Sequence[str]) -> int:
    length = 0
    for mine, theirs in zip(reversed(one), reversed(other), strict=False):
        if mine != theirs:
            break
        length += 1
    return length


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


def _first(names: Iterable[object]) -> str:
    """Spell the first few names for a message."""
    few = [printable(str(name))[:60] for name in islice(names, 4)]
    return ", ".join(few[:3]) + (", ..." if len(few) > 3 else "") if few else "none"
