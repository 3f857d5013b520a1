"""One photo's masks into a file, in any format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.files import json_text, written
from sam_edge.formats import (
    Georeference,
    LabelledMask,
    coco_document,
    geojson_text,
    label_map_picture,
    labelme_document,
    sa1b_document,
    svg_text,
    yolo_text,
)
from sam_edge.formats.geojson import Outlined
from sam_edge.photos import Photo

if TYPE_CHECKING:
    from PIL import Image

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""What a picture to look at may end with, and pillow's name of that format."""


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture as its name's suffix says, a device's as PNG."""
    with written(path) as partial:
        picture.save(partial, format=PICTURES.get(path.suffix.lower(), "PNG"))


FORMATS: Mapping[str, str] = {
    "sa1b": "-everything.json",
    "coco": "-everything.json",
    "labelme": "-everything.json",
    "png": "-labels.png",
    "svg": "-everything.svg",
    "geojson": "-everything.geojson",
    "yolo": ".txt",  # YOLO finds it by the photo's own name
}
"""Every format, and what a photo's file of it is called in a folder."""


def write_masks(
    masks: list[LabelledMask],
    kind: str,
    path: Path,
    photo: Photo,
    size: tuple[int, int],
    tolerance: float = 1.0,
    georeference: Georeference | None = None,
) -> None:
    """Write one photo's masks.

    Args:
        masks: of that photo.
        kind: one of ``FORMATS``.
        path: the file to write.
        photo: the photo.
        size: ``(H, W)`` of the photo.
        tolerance: see ``labelme_document``.
        georeference: see ``geojson_text``.

    Raises:
        OSError: if the file cannot be written.
    """
    if kind == "geojson":
        write_geojson(masks, path, georeference, tolerance)
        return
    if kind == "png":
        save_picture(label_map_picture(masks, size), path)
        return
    with written(path) as partial:
        text = masks_text(masks, kind, path, photo, size, tolerance)
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_geojson(
    masks: Iterable[Outlined],
    path: Path,
    georeference: Georeference | None = None,
    tolerance: float = 1.0,
) -> None:
    """Write one picture's masks as GeoJSON, see ``geojson_text``; a picture of any size.

    Raises:
        OSError: if the file cannot be written.
    """
    with written(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(geojson_text(masks, georeference=georeference, tolerance=tolerance))


def label_map_bytes(masks: list[LabelledMask], size: tuple[int, int]) -> bytes:
    """Return the PNG of one photo's masks."""
    file = BytesIO()
    label_map_picture(masks, size).save(file, format="PNG")
    return file.getvalue()


def masks_text(
    masks: list[LabelledMask],
    kind: str,
    path: Path,
    photo: Photo,
    size: tuple[int, int],
    tolerance: float,
    georeference: Georeference | None = None,
) -> str:
    """Return one photo's masks as a format's text; see ``write_masks``."""
    if kind == "geojson":
        return "".join(geojson_text(masks, georeference=georeference, tolerance=tolerance))
    if kind == "svg":
        return svg_text(masks, size=size)
    if kind == "yolo":
        return yolo_text(masks, size=size, tolerance=tolerance)
    if kind == "sa1b":
        return json_text(sa1b_document(masks, file_name=photo.file_name, size=size))
    if kind == "coco":
        return json_text(coco_document(masks, file_name=photo.file_name, size=size))
    return json_text(
        labelme_document(masks, file_name=_seen_from(path, photo), size=size, tolerance=tolerance)
    )


def _seen_from(path: Path, photo: Photo) -> str:
    """Return a photo's path as LabelMe looks for it, from the JSON file's folder.

    A link keeps its own name: what it points to may be called anything.
    """
    if photo.path is None:
        return photo.name
    there = photo.path.parent.resolve() / photo.path.name
    with suppress(ValueError):  # on Windows, another drive cannot be reached from here
        there = Path(os.path.relpath(there, path.parent.resolve()))
    return there.as_posix()
