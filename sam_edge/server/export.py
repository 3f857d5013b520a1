"""Annotations as files of other tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from sam_edge.files import json_text
from sam_edge.formats import (
    LabelledMask,
    class_names,
    coco_document,
    label_map_picture,
    yolo_data,
    yolo_text,
)
from sam_edge.formats.write import FORMATS, masks_text
from sam_edge.mask_picture import mask_picture
from sam_edge.masks import decode_rle
from sam_edge.photos import Photo, distinct_labels
from sam_edge.server.library import ServedPhoto
from sam_edge.server.refusals import BadRequestError

KINDS = (*FORMATS, "mask")


@dataclass(frozen=True, slots=True, eq=False)
class ExportedPhoto:
    """One photo and what is in it."""

    photo: ServedPhoto
    size: tuple[int, int]
    masks: list[LabelledMask]


@dataclass(frozen=True, slots=True)
class File:
    """A file to send."""

    name: str
    data: bytes
    media_type: str


_TYPES = {
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}


def export(photos: Sequence[ExportedPhoto], kind: str, tolerance: float) -> File:
    """Return photos' masks in a format: one file, or a zip of several.

    Args:
        photos: at least one.
        kind: one of ``KINDS``.
        tolerance: for the polygons of ``labelme``, ``yolo`` and ``geojson``, in pixels.
    """
    if not photos:
        raise BadRequestError("there is no photo to export")
    labels = [
        re.sub(r"^[0-9a-f]{32}-", "", label)
        for label in distinct_labels([Photo(item.photo.path) for item in photos])
    ]
    if kind == "coco" and len(photos) > 1:
        return _file("annotations.json", json_text(coco_data_set(photos)).encode())
    files: list[tuple[str, bytes]] = []
    names = class_names([mask for item in photos for mask in item.masks])
    for label, item in zip(labels, photos, strict=True):
        if kind == "yolo":
            text = yolo_text(item.masks, size=item.size, names=names, tolerance=tolerance)
            files.append((f"labels/{Path(item.photo.name).stem}.txt", text.encode()))
        elif kind == "mask":
            numbers = [f"-{at}" for at in range(len(item.masks))] if len(item.masks) > 1 else [""]
            files += [
                (f"{label}-mask{number}.png", _png(mask_picture(decode_rle(mask.rle))))
                for number, mask in zip(numbers, item.masks, strict=False)
            ]
        elif kind == "png":
            picture = label_map_picture(item.masks, item.size)
            files.append((f"{label}{FORMATS[kind]}", _png(picture)))
        else:
            # Files of other tools look for their photo beside them.
            photo = Photo(Path(item.photo.name))
            path = Path(f"{label}{FORMATS[kind]}")
            text = masks_text(item.masks, kind, path, photo, item.size, tolerance)
            files.append((path.name, text.encode()))
    if kind == "yolo":
        files.append(("data.yaml", yolo_data(names).encode()))
    if len(files) == 1:
        return _file(*files[0])
    if not files:
        raise BadRequestError("there is no mask to export")
    return File(f"{kind}.zip", _zipped(files), "application/zip")


def coco_data_set(photos: Sequence[ExportedPhoto]) -> dict[str, Any]:
    """Return many photos' masks as one COCO data set: numbers and categories of all of them."""
    names = sorted({mask.label for item in photos for mask in item.masks})
    numbers = {name: number for number, name in enumerate(names, 1)}
    whole: dict[str, Any] = {}
    images: list[Any] = []
    annotations: list[Any] = []
    for number, item in enumerate(photos, 1):
        whole = coco_document(
            item.masks, file_name=item.photo.name, size=item.size, image_id=number
        )
        images += whole["images"]
        mine = {entry["id"]: entry["name"] for entry in whole["categories"]}
        for entry in whole["annotations"]:
            category = numbers[mine[entry["category_id"]]]
            annotations.append({**entry, "id": len(annotations) + 1, "category_id": category})
    categories = [
        {"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()
    ]
    return {**whole, "images": images, "annotations": annotations, "categories": categories}


def _file(name: str, data: bytes) -> File:
    return File(name, data, _TYPES.get(Path(name).suffix, "text/plain; charset=utf-8"))


def _png(picture: Any) -> bytes:  # noqa: ANN401 - a PIL.Image
    out = BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(ZipInfo(name), data, ZIP_DEFLATED)
    return out.getvalue()
