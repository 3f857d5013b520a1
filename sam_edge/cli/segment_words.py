"""``segment --text`` and ``--detector``: any number of objects a photo, each with a name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sam_edge.cli.console import say
from sam_edge.cli.failures import Failures, for_each_photo
from sam_edge.cli.flags import load_from
from sam_edge.cli.frame import FAILED, CommandLineError
from sam_edge.cli.segment import banner_of, mask_record, photo_record, write_mask
from sam_edge.cli.targets import Target, files_for, is_folder, json_target, prepare, write_json
from sam_edge.cli.words import Finder
from sam_edge.detections import DetectionError
from sam_edge.formats.records import LabelledMask
from sam_edge.formats.write import PICTURES, save_picture
from sam_edge.image import RgbImage
from sam_edge.masks import decode_rle
from sam_edge.model import Model
from sam_edge.photos import Photo, distinct_labels, photos_of
from sam_edge.prompts import Prompt

OTHER_PROMPTS = {"point": "--point", "box": "--box", "mask": "--mask", "multimask": "--multimask"}


def run_words(arguments: argparse.Namespace, finder: Finder) -> int:
    """Segment what a finder finds in each photo."""
    for name, flag in OTHER_PROMPTS.items():
        if getattr(arguments, name):
            raise CommandLineError(
                f"{flag} with --text or --detector: say each object in a call of its own"
            )
    photos = photos_of(arguments.images)
    folder, overlays = _targets(arguments, photos)
    labels = distinct_labels(photos)
    inputs = [photo.path for photo in photos if photo.path is not None]
    model = load_from(arguments)
    records: list[dict[str, Any]] = []
    failures = Failures()

    def segment(index: int, photo: Photo) -> None:
        image = photo.read(stretch=arguments.stretch)
        masks = finder.segment(photo.name, image, model, arguments.memory_limit)
        if folder is not None:
            names = [f"{labels[index]}-mask-{number}.png" for number in range(len(masks))]
            paths = [folder / name for name in names]
            prepare([Target(path, "-o") for path in paths], inputs)
            for path, mask in zip(paths, masks, strict=True):
                write_mask(path, decode_rle(mask.rle))
                say(f"{path}  {_caption(mask)}  {mask.area} pixels")
        if overlays:
            banner = banner_of(model.spec) or finder.banner
            _write_overlay(overlays[index], image, masks, banner)
        if arguments.json is not None:
            records.append(_record(photo, image, model, masks, finder))

    stopped = {"stopped": True}
    try:
        for_each_photo(photos, segment, failures, DetectionError)
        stopped = {}
    finally:
        if arguments.json is not None and (records or failures.entries):
            write_json(arguments.json, {"photos": records, **failures.record(), **stopped})
    return FAILED if failures.entries else 0


def _targets(
    arguments: argparse.Namespace, photos: Sequence[Photo]
) -> tuple[Path | None, list[Path]]:
    """Return the folder of the masks, if they are wanted, and one overlay a photo or none."""
    output, overlay = arguments.output, arguments.overlay
    if output is None and overlay is None and arguments.json is None:
        output = overlay = os.curdir
    if output is not None and not is_folder(output):
        raise CommandLineError(
            f"-o {output} names one file, but words find any number of objects; name a folder"
        )
    names = [f"{label}-overlay.png" for label in distinct_labels(photos)]
    targets = files_for(overlay, "--overlay", names, tuple(PICTURES)) if overlay else []
    inputs = [photo.path for photo in photos if photo.path is not None]
    # How many masks there will be is known only when a photo was looked at; the first may come.
    first = [] if output is None else files_for(output, "-o", [f"{names[0]}-mask-0.png"])
    prepare([*first, *targets, *json_target(arguments.json)], inputs)
    return None if output is None else Path(output), [target.path for target in targets]


def _caption(mask: LabelledMask) -> str:
    return mask.label if mask.box_score is None else f"{mask.label} {mask.box_score:.2f}"


def _write_overlay(path: Path, image: RgbImage, masks: Sequence[LabelledMask], banner: str) -> None:
    from sam_edge.overlay import draw_overlay

    picture = draw_overlay(
        image,
        [mask.rle for mask in masks],
        [Prompt.of(box=mask.prompt) for mask in masks if mask.prompt is not None],
        captions=[_caption(mask) for mask in masks],
        banner=banner,
    )
    save_picture(picture, path)
    say(f"{path}")


def _record(
    photo: Photo, image: RgbImage, model: Model, masks: Sequence[LabelledMask], finder: Finder
) -> dict[str, Any]:
    return {
        **photo_record(photo, (image.shape[0], image.shape[1]), model),
        **finder.record,
        "objects": [
            {
                "points": [],
                "labels": [],
                "box": None
                if mask.prompt is None
                else [mask.prompt.x0, mask.prompt.y0, mask.prompt.x1, mask.prompt.y1],
                "label": mask.label,
                "box_score": mask.box_score,
                "masks": [mask_record(mask.predicted_iou, mask.rle)],
            }
            for mask in masks
        ],
    }
