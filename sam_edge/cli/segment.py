"""The command ``segment``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge.cli.console import say
from sam_edge.cli.failures import Failures, for_each_photo
from sam_edge.cli.flags import add_model_arguments, add_photo_arguments, load_from
from sam_edge.cli.frame import FAILED, CommandLineError, Subparsers, add_command
from sam_edge.cli.targets import files_for, json_target, prepare, write_json
from sam_edge.cli.words import add_word_arguments, finder_from
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import PromptError
from sam_edge.files import written
from sam_edge.formats.write import PICTURES, save_picture
from sam_edge.image import RgbImage
from sam_edge.mask_picture import mask_picture, read_mask
from sam_edge.masks import Mask, Rle, area, to_coco_rle
from sam_edge.masks.boxes import boxed_rle
from sam_edge.model import Model
from sam_edge.photos import Photo, distinct_labels, photos_of
from sam_edge.prompts import Box, Prompt, sparse_prompts
from sam_edge.spec import ModelSpec

CANDIDATES = 3
"""Masks that the decoder gives for an ambiguous prompt."""


SEGMENT_EXAMPLES = """\
examples:
  one click (x,y in the photo's pixels; label 1, on the object, is the default):
    sam-edge segment photo.jpg --point 500,375
  a click and a correction (label 0: not this):
    sam-edge segment photo.jpg --point 500,375 --point 620,400,0 --overlay over.png
  a box around one object, with a click that takes a part away:
    sam-edge segment photo.jpg --box 60,20,420,380 --point 90,40,0
  several objects, one box each, into a folder:
    sam-edge segment photo.jpg --box 10,10,90,90 --box 120,10,200,80 -o masks/
  three candidates for an ambiguous click:
    sam-edge segment photo.jpg --point 500,375 --multimask -o candidates/
  what words name, each object with its phrase and score, but no cups:
    sam-edge segment photo.jpg --text "the red mug" --text plate --not cup -o masks/
  several photos, one JSON with masks (COCO RLE) and scores:
    sam-edge segment *.jpg --box 60,20,420,380 --json out.json

All --point belong to one object. Each --box is its own object, except that one --box with
--point or --mask is one object together. Without --multimask one mask is written: the best-scored
of three for a lone point, the model's single answer for every other prompt. Without -o, --overlay
and --json, PHOTO-mask.png and PHOTO-overlay.png are written to the current folder.

PHOTO is the file's name without its suffix; photos of one call for which that is the same get
their whole name, then as many folders before it as tell them apart (left-cup.jpg-mask.png).
A name with a suffix is a file, one without a suffix or with a slash at its end a folder, which is
made. Nothing is written over a photo that is read. A photo that fails is named, and the others
are done.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``segment`` to the command line."""
    segment = add_command(
        subparsers,
        "segment",
        "segment what points, boxes, a mask or words show in a photo",
        description="Segment what points, boxes, a mask or words show in one or more photos.",
        examples=SEGMENT_EXAMPLES,
    )
    add_photo_arguments(segment)
    add_model_arguments(segment)
    segment.add_argument("--point", action="append", default=[], metavar="X,Y[,LABEL]")
    segment.add_argument("--box", action="append", default=[], metavar="X0,Y0,X1,Y1")
    segment.add_argument(
        "--mask", type=Path, metavar="PNG", help="a rough mask, as large as the photo; white is in"
    )
    add_word_arguments(segment)
    segment.add_argument("--multimask", action="store_true", help="write all three candidates")
    segment.add_argument("-o", "--output", metavar="PNG", help="mask, or a folder")
    segment.add_argument("--overlay", metavar="PNG", help="picture to look at, or a folder")
    segment.add_argument("--json", metavar="FILE", help="COCO RLE and scores; - prints")
    segment.set_defaults(run=run_segment)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """One mask that a prompt selected, small enough to be kept."""

    rle: Rle
    score: float


def run_segment(arguments: argparse.Namespace) -> int:
    """Segment photos as the command line says."""
    if (finder := finder_from(arguments)) is not None:
        from sam_edge.cli.segment_words import run_words

        return run_words(arguments, finder)
    prompts = _prompts(arguments)
    photos = photos_of(arguments.images)
    outputs = _Outputs.of(arguments, photos, prompts)
    model = load_from(arguments)
    records: list[dict[str, Any]] = []
    failures = Failures()

    def segment(index: int, photo: Photo) -> None:
        image = photo.read(stretch=arguments.stretch)
        embedding = model.encode_image(image)
        wrong = _impossible(prompts, embedding)
        if len(wrong) == len(prompts):
            raise PromptError(f"{photo.name}: {wrong[0]}")
        for number, reason in wrong.items():
            failures.add(photo, f"{reason}; skipped", object=number)
        try:
            found = _decode(model, embedding, prompts, wrong, arguments, outputs.masks[index])
        except PromptError as error:
            raise PromptError(f"{photo.name}: {error}") from error
        overlay = outputs.overlays[index]
        if overlay is not None:
            _write_overlay(overlay, image, prompts, found, banner_of(model.spec))
        if arguments.json is not None:
            records.append(_record(photo, embedding, model, prompts, found, wrong))

    stopped = {"stopped": True}
    try:
        for_each_photo(photos, segment, failures)
        stopped = {}
    finally:
        # What was done before a full disk or Ctrl-C is written, too, and says that it is not all.
        if arguments.json is not None and (records or failures.entries):
            write_json(arguments.json, {"photos": records, **failures.record(), **stopped})
    return FAILED if failures.entries else 0


@dataclass(frozen=True, slots=True)
class _Outputs:
    """The pictures to write.

    Attributes:
        masks: a list a photo, one file a prompt and candidate; empty without ``-o``.
        overlays: one file a photo, or None.
    """

    masks: list[list[Path]]
    overlays: list[Path | None]

    @classmethod
    def of(
        cls, arguments: argparse.Namespace, photos: Sequence[Photo], prompts: Sequence[Prompt]
    ) -> _Outputs:
        output, overlay = arguments.output, arguments.overlay
        if output is None and overlay is None and arguments.json is None:
            output = overlay = os.curdir
        labels = distinct_labels(photos)
        a_photo = len(prompts) * (CANDIDATES if arguments.multimask else 1)
        numbers = [f"-{number}" for number in range(a_photo)] if a_photo > 1 else [""]
        masks, overlays = [], []
        if output is not None:
            names = [f"{label}-mask{number}.png" for label in labels for number in numbers]
            masks = files_for(output, "-o", names, (".png",))
        if overlay is not None:
            names = [f"{label}-overlay.png" for label in labels]
            overlays = files_for(overlay, "--overlay", names, tuple(PICTURES))
        inputs = [photo.path for photo in photos if photo.path is not None]
        inputs += [] if arguments.mask is None else [arguments.mask]
        prepare([*masks, *overlays, *json_target(arguments.json)], inputs)
        paths = [target.path for target in masks]
        return cls(
            [paths[start : start + a_photo] for start in range(0, len(photos) * a_photo, a_photo)],
            [target.path for target in overlays] or [None] * len(photos),
        )


def _impossible(prompts: Sequence[Prompt], embedding: ImageEmbedding) -> dict[int, str]:
    """Say what is wrong with the prompts that cannot be meant for a photo, by their number."""
    wrong = {}
    for number, prompt in enumerate(prompts):
        try:
            sparse_prompts(prompt, embedding.original_size, embedding.input_size)
        except PromptError as error:
            wrong[number] = str(error)
    return wrong


def _decode(
    model: Model,
    embedding: ImageEmbedding,
    prompts: Sequence[Prompt],
    wrong: Container[int],
    arguments: argparse.Namespace,
    files: Sequence[Path],
) -> dict[int, list[_Found]]:
    """Decode prompts and write each mask as it comes; what is kept of it is its run lengths.

    Args:
        model: what decodes.
        embedding: the photo's.
        prompts: one an object.
        wrong: the numbers of those to leave out.
        arguments: the command's.
        files: where to write, one file a prompt and candidate; or none.

    Returns:
        The masks of each prompt that was not left out, by its number.
    """
    usable = [number for number in range(len(prompts)) if number not in wrong]
    three = arguments.multimask or prompts[0].is_lone_point
    found = {}
    for index, result in model.decode_each(
        embedding,
        [prompts[number] for number in usable],
        multimask=three,
        memory_limit=arguments.memory_limit,
    ):
        candidates = list(zip(result.masks, result.scores.tolist(), strict=True))
        if three and not arguments.multimask:
            candidates = [candidates[int(np.argmax(result.scores))]]
        number = usable[index]
        found[number] = [
            _Found(boxed_rle(mask, size=embedding.original_size), score)
            for mask, score in candidates
        ]
        if files:
            start = number * len(candidates)
            targets = files[start : start + len(candidates)]
            for target, (mask, score) in zip(targets, candidates, strict=True):
                write_mask(target, mask)
                say(f"{target}  score {score:.3f}  {np.count_nonzero(mask)} pixels")
    return found


def write_mask(path: Path, mask: Mask) -> None:
    """Write one mask as a picture."""
    with written(path) as partial:
        mask_picture(mask).save(partial, format="PNG")


def _write_overlay(
    path: Path,
    image: RgbImage,
    prompts: Sequence[Prompt],
    found: Mapping[int, Sequence[_Found]],
    banner: str,
) -> None:
    from sam_edge.overlay import draw_overlay

    masks = [mask for number in sorted(found) for mask in found[number]]
    picture = draw_overlay(
        image,
        [mask.rle for mask in masks],
        [prompts[number] for number in sorted(found)],
        captions=[f"{mask.score:.2f}" for mask in masks],
        banner=banner,
    )
    save_picture(picture, path)
    say(f"{path}")


def banner_of(spec: ModelSpec) -> str:
    """Return what every picture of this model's masks must say, or nothing."""
    return "random weights: masks mean nothing" if spec.source.random else ""


def _record(
    photo: Photo,
    embedding: ImageEmbedding,
    model: Model,
    prompts: Sequence[Prompt],
    found: Mapping[int, Sequence[_Found]],
    wrong: Mapping[int, str],
) -> dict[str, Any]:
    objects = []
    for number, prompt in enumerate(prompts):
        box = prompt.box
        record = {
            "points": prompt.points.tolist(),
            "labels": prompt.labels.tolist(),
            "box": None if box is None else [box.x0, box.y0, box.x1, box.y1],
            "masks": [mask_record(mask.score, mask.rle) for mask in found.get(number, ())],
        }
        # An object for each prompt, so that the prompts' order says which is which.
        objects.append(record | ({"error": wrong[number]} if number in wrong else {}))
    return {**photo_record(photo, embedding.original_size, model), "objects": objects}


def photo_record(photo: Photo, size: tuple[int, int], model: Model) -> dict[str, Any]:
    """Return what ``--json`` says of a photo, but for its objects.

    Args:
        photo: the photo.
        size: its height and width.
        model: what segmented it.
    """
    height, width = size
    return {
        "image": photo.name,
        "height": height,
        "width": width,
        "model": model.spec.variant,
        "precision": model.spec.precision,
        "engine": model.engine,
        "compute": model.compute.name,
    }


def mask_record(score: float, rle: Rle) -> dict[str, Any]:
    """Return what ``--json`` says of a mask, whose score is its predicted IoU."""
    return {"score": score, "area": area(rle), "segmentation": to_coco_rle(rle)}


def _prompts(arguments: argparse.Namespace) -> list[Prompt]:
    """Turn the flags into one prompt an object."""
    points, labels = [], []
    for text in arguments.point:
        numbers = _numbers(text, "--point", (2, 3))
        points.append(numbers[:2])
        labels.append(numbers[2] if len(numbers) == 3 else 1.0)
    boxes = [Box(*_numbers(text, "--box", (4,))) for text in arguments.box]
    mask = None if arguments.mask is None else read_mask(arguments.mask)
    if len(boxes) > 1 and (points or mask is not None):
        raise CommandLineError(
            "several --box with --point or --mask: say each object in a call of its own"
        )
    if len(boxes) > 1:
        return [Prompt.of(box=box) for box in boxes]
    if not points and not boxes and mask is None:
        raise CommandLineError(
            "there is no prompt: give --point X,Y or --box X0,Y0,X1,Y1 or --mask PNG or --text; "
            "for everything in the photo: sam-edge everything"
        )
    return [Prompt.of(points, labels, boxes[0] if boxes else None, mask)]


def _numbers(text: str, flag: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        form = "X,Y or X,Y,LABEL" if flag == "--point" else "X0,Y0,X1,Y1"
        raise CommandLineError(f"{flag} {text}: expected {form}, in the photo's pixels")
    return numbers
