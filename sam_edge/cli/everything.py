"""The command ``everything``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.cli.console import progress_bar, say
from sam_edge.cli.failures import Failures, for_each_photo
from sam_edge.cli.flags import (
    add_model_arguments,
    add_photo_arguments,
    load_from,
)
from sam_edge.cli.frame import FAILED, CommandLineError, Subparsers, add_command
from sam_edge.cli.knobs import (
    add_generator_arguments,
    add_tile_arguments,
    add_tolerance_argument,
    knobs_of,
)
from sam_edge.cli.large import segment_large
from sam_edge.cli.segment import banner_of
from sam_edge.cli.targets import files_for, is_folder, prepare
from sam_edge.cli.words import add_word_arguments, finder_from
from sam_edge.detections import DetectionError, segment_boxes
from sam_edge.formats import (
    draw_everything,
    labelled,
)
from sam_edge.formats.write import FORMATS, PICTURES, save_picture, write_masks
from sam_edge.model import Model
from sam_edge.photos import Photo, distinct_labels, photos_of
from sam_edge.prompt_files import PROMPTS_HELP, read_prompt_file
from sam_edge.tiling import check_tiles, georeference_of

EVERYTHING_EXAMPLES = """\
examples:
  every mask, as SA-1B JSON, and a picture to look at:
    sam-edge everything photo.jpg -o photo.json --overlay over.png
  polygons to correct by hand in LabelMe:
    sam-edge everything photo.jpg -o photo.json --format labelme
  small things too: four crops beside the whole photo, a denser grid:
    sam-edge everything photo.jpg --crop-n-layers 1 --points-per-side 48 -o photo.svg
  several times faster, missing some of what lies inside larger masks:
    sam-edge everything photo.jpg --coarse-first -o photo.json
  masks for the boxes of a detector, instead of a grid:
    sam-edge everything photo.jpg --prompts detections.json --format coco -o masks.json
    sam-edge everything photos/ --prompts runs/detect/predict/labels/ -o masks/    # YOLO's
  a map or a slide of any size, tile by tile, as polygons in the map's coordinates:
    sam-edge everything ortho.tif --tile 1024 --overlap 128 -o ortho.geojson
  what words name, each phrase a category:
    sam-edge everything photo.jpg --text "a mug" --text "a plate" --format coco -o masks.json
  a folder of photos, a file each:
    sam-edge everything photos/ --format coco -o masks/

The knobs have the official generator's names and defaults, except that a model may
have thresholds of its own: the one in the box scores its masks lower than the large ones do.
Without -o and --overlay, PHOTO-everything.json and PHOTO-everything.png are written here;
`sam-edge segment --help` says what PHOTO is, and what makes a name a folder's.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``everything`` to the command line."""
    everything = add_command(
        subparsers,
        "everything",
        "segment everything in a photo, or the boxes of a detector",
        description="Segment everything in a photo, or the boxes of a detector.",
        examples=EVERYTHING_EXAMPLES,
    )
    add_photo_arguments(everything)
    add_model_arguments(everything)
    everything.add_argument("-o", "--output", metavar="FILE", help="masks, or a folder")
    everything.add_argument(
        "--format",
        choices=FORMATS,
        help="default: what -o ends with: .svg, .geojson, .png (a label map), .txt (yolo), or sa1b",
    )
    everything.add_argument("--overlay", metavar="PNG", help="picture to look at, or a folder")
    everything.add_argument("--prompts", type=Path, metavar="FILE", help=PROMPTS_HELP)
    everything.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of YOLO's classes (data.yaml)"
    )
    add_word_arguments(everything)
    add_tolerance_argument(everything)
    add_tile_arguments(everything)
    add_generator_arguments(everything)
    everything.set_defaults(run=run_everything)


def run_everything(arguments: argparse.Namespace) -> int:
    """Segment photos as the command line says."""
    photos = photos_of(arguments.images)
    _check_tiles(arguments)
    outputs = _Outputs.of(arguments, photos)
    failures = Failures()
    finder = finder_from(arguments)
    if finder is not None and arguments.prompts is not None:
        raise CommandLineError("--prompts names the boxes; leave out --text and --detector")
    detections = None
    if arguments.prompts is not None:
        detections = read_prompt_file(
            arguments.prompts, classes=arguments.classes, skip=failures.skip()
        )
        detections.check_apart([photo.path or Path(photo.name) for photo in photos])
    model = load_from(arguments)
    generator = _generator(model, arguments)

    def segment(index: int, photo: Photo) -> None:
        if arguments.tile is not None:
            masks_file = outputs.masks[index] if outputs.masks else None
            overlay_file = outputs.overlays[index] if outputs.overlays else None
            segment_large(
                photo, generator, arguments, failures, outputs.kind, masks_file, overlay_file
            )
            return
        image = photo.read(stretch=arguments.stretch)
        size = (image.shape[0], image.shape[1])
        if finder is not None:
            masks = finder.segment(photo.name, image, model, arguments.memory_limit)
        elif detections is not None:
            skip = failures.skip(photo)
            prompts = detections.prompts_of(photo.path or Path(photo.name), skip=skip)
            boxes = prompts.at(size, photo.file_name, skip=skip)
            masks = segment_boxes(
                model,
                model.encode_image(image),
                boxes,
                memory_limit=arguments.memory_limit,
                skip=skip,
            )
        else:
            watched = progress_bar("points") if len(photos) == 1 else None
            masks = labelled(generator.generate(image, progress=watched))
            if not masks:
                say(
                    f"{photo.name}: no mask passed --pred-iou-thresh {generator.pred_iou_thresh} "
                    f"and --stability-score-thresh {generator.stability_score_thresh}; "
                    "try lower ones"
                )
        if outputs.masks:
            path = outputs.masks[index]
            place = None
            if outputs.kind == "geojson" and photo.path is not None:
                place = georeference_of(photo.path)
            write_masks(masks, outputs.kind, path, photo, size, arguments.tolerance, place)
            say(f"{path}  {len(masks)} masks")
        if outputs.overlays:
            path = outputs.overlays[index]
            banner = banner_of(model.spec) or (finder.banner if finder else "")
            save_picture(draw_everything(image, masks, banner=banner), path)
            say(f"{path}")

    for_each_photo(photos, segment, failures, DetectionError)
    return FAILED if failures.entries else 0


@dataclass(frozen=True, slots=True)
class _Outputs:
    """The files to write.

    Attributes:
        kind: one of ``FORMATS``.
        masks: one a photo, or none.
        overlays: one a photo, or none.
    """

    kind: str
    masks: list[Path]
    overlays: list[Path]

    @classmethod
    def of(cls, arguments: argparse.Namespace, photos: Sequence[Photo]) -> _Outputs:
        output, overlay = arguments.output, arguments.overlay
        if output is None and overlay is None:
            output = overlay = os.curdir
        kind = arguments.format or _kind_named(output or os.curdir)
        labels = distinct_labels(photos)
        masks, overlays = [], []
        if output is not None:
            names = [f"{label}{FORMATS[kind]}" for label in labels]
            endings = FORMATS.values() if arguments.format is None else [FORMATS[kind]]
            suffixes = sorted({Path(f"photo{ending}").suffix for ending in endings})
            suffixes += [".json"] if kind == "geojson" else []  # as many call it
            masks = files_for(output, "-o", names, suffixes)
        if overlay is not None:
            names = [f"{label}-everything.png" for label in labels]
            overlays = files_for(overlay, "--overlay", names, tuple(PICTURES))
        inputs = [photo.path for photo in photos if photo.path is not None]
        if arguments.prompts is not None and not arguments.prompts.is_dir():
            inputs.append(arguments.prompts)
        prepare([*masks, *overlays], inputs)
        return cls(kind, [target.path for target in masks], [target.path for target in overlays])


def _check_tiles(arguments: argparse.Namespace) -> None:
    """Refuse tiles that cannot be, before anything is opened."""
    for name in ("prompts", "text", "detector") if arguments.tile is not None else ():
        if getattr(arguments, name):
            raise CommandLineError(f"--tile looks for everything; leave out --{name}, or --tile")
    check_tiles(arguments.tile, arguments.overlap)


def _kind_named(output: str) -> str:
    """Return the format that a file's suffix asks for."""
    suffix = "" if is_folder(output) else Path(output).suffix.lower()
    return {".svg": "svg", ".geojson": "geojson", ".png": "png", ".txt": "yolo"}.get(suffix, "sa1b")


def _generator(model: Model, arguments: argparse.Namespace) -> SamAutomaticMaskGenerator:
    try:
        return SamAutomaticMaskGenerator(
            model,
            output_mode="uncompressed_rle",
            memory_ceiling_bytes=arguments.memory_limit,
            **knobs_of(arguments),
        )
    except ValueError as error:
        raise CommandLineError(str(error)) from error
