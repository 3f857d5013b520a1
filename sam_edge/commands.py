"""The core's commands: ``segment`` and ``info``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge.cli import CommandLineError, Subparsers, add_command
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import PromptError
from sam_edge.image import RgbImage, read_image
from sam_edge.model import Model, Segmentation, load_model
from sam_edge.prompts import Box, Prompt
from sam_edge.spec import ModelSpec, check_hashes, read_spec

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
  several photos, one JSON with masks (COCO RLE) and scores:
    sam-edge segment *.jpg --box 60,20,420,380 --json out.json

All --point belong to one object. Each --box is its own object, except that one --box with
--point or --mask is one object together. Without --multimask one mask is written: the best-scored
of three for a lone point, the model's single answer for every other prompt. Without -o, --overlay
and --json, PHOTO-mask.png and PHOTO-overlay.png are written to the current folder.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``segment`` and ``info`` to the command line."""
    segment = add_command(
        subparsers,
        "segment",
        "segment what points, boxes or a mask show in a photo",
        description="Segment what points, boxes or a mask show in one or more photos.",
        examples=SEGMENT_EXAMPLES,
    )
    segment.add_argument("images", nargs="+", metavar="IMAGE", type=Path)
    add_model_arguments(segment)
    segment.add_argument("--point", action="append", default=[], metavar="X,Y[,LABEL]")
    segment.add_argument("--box", action="append", default=[], metavar="X0,Y0,X1,Y1")
    segment.add_argument(
        "--mask", type=Path, metavar="PNG", help="a rough mask, as large as the photo; white is in"
    )
    segment.add_argument("--multimask", action="store_true", help="write all three candidates")
    segment.add_argument("-o", "--output", type=Path, metavar="PNG", help="mask, or a folder")
    segment.add_argument("--overlay", type=Path, metavar="PNG", help="picture to look at")
    segment.add_argument("--json", type=Path, metavar="FILE", help="COCO RLE and scores; - prints")
    segment.set_defaults(run=run_segment)

    info = add_command(
        subparsers,
        "info",
        "say what a bundle is",
        description="Say what a bundle is: model, files, provenance and measured fidelity.",
        examples="example:\n  sam-edge info vit_b_bundle --check",
    )
    info.add_argument(
        "model", nargs="?", metavar="BUNDLE", help="a folder or a name; default: nano, in the box"
    )
    info.add_argument("--json", action="store_true", help="print the manifest as JSON")
    info.add_argument("--check", action="store_true", help="compare every file with its sha256")
    info.set_defaults(run=run_info)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which model runs, and how."""
    parser.add_argument(
        "-m",
        "--model",
        metavar="BUNDLE",
        help="a bundle's folder, or a name of `sam-edge models list`; default: nano, in the box",
    )
    parser.add_argument("--runtime", default="auto", choices=("auto", "onnxruntime", "openvino"))
    parser.add_argument("--threads", type=_positive, metavar="N")
    parser.add_argument(
        "--memory", default="normal", choices=("normal", "low"), help="low: for 1 to 4 GB boards"
    )


def load_from(arguments: argparse.Namespace) -> Model:
    """Open the model that the flags of ``add_model_arguments`` name."""
    return load_model(
        arguments.model,
        runtime=arguments.runtime,
        threads=arguments.threads,
        memory=arguments.memory,
    )


def run_segment(arguments: argparse.Namespace) -> int:
    """Segment photos as the command line says."""
    prompts = _prompts(arguments)
    several = (
        len(arguments.images) > 1
        or len(prompts) > 1
        or (arguments.multimask and arguments.output is not None)
    )
    targets = _Targets.of(arguments, several)
    model = load_from(arguments)
    records = []
    for path in arguments.images:
        image = read_image(path)
        embedding = model.encode_image(image)
        try:
            results = [_decode(model, embedding, prompt, arguments.multimask) for prompt in prompts]
        except PromptError as error:
            raise PromptError(f"{path}: {error}") from error
        targets.write(path, image, prompts, results, banner_of(model.spec))
        records.append(_record(path, model, prompts, results))
    if arguments.json is not None:
        text = json.dumps({"photos": records}, indent=2) + "\n"
        if str(arguments.json) == "-":
            sys.stdout.write(text)
        else:
            arguments.json.write_text(text, encoding="utf-8")
    return 0


def _decode(
    model: Model, embedding: ImageEmbedding, prompt: Prompt, multimask: bool
) -> Segmentation:
    three = multimask or prompt.is_lone_point
    result = model.decode_batch(embedding, [prompt], multimask=three)[0]
    if multimask or not three:
        return result
    best = [int(np.argmax(result.scores))]
    return Segmentation(result.masks[best], result.scores[best], result.low_res_logits[best])


@dataclass(frozen=True)
class _Targets:
    """Where the pictures go."""

    output: Path | None
    overlay: Path | None

    @classmethod
    def of(cls, arguments: argparse.Namespace, several: bool) -> _Targets:
        output, overlay = arguments.output, arguments.overlay
        if output is None and overlay is None and arguments.json is None:
            output = overlay = Path()
        if several and output is not None and output.suffix:
            raise CommandLineError(
                f"-o {output} names one file, but several masks will be written; name a folder"
            )
        if len(arguments.images) > 1 and overlay is not None and overlay.suffix:
            raise CommandLineError(
                f"--overlay {overlay} names one file for several photos; name a folder"
            )
        return cls(output, overlay)

    def write(
        self,
        photo: Path,
        image: RgbImage,
        prompts: Sequence[Prompt],
        results: Sequence[Segmentation],
        banner: str,
    ) -> None:
        masks = [mask for result in results for mask in result.masks]
        scores = [score for result in results for score in result.scores]
        if self.output is not None:
            from PIL import Image

            for index, mask in enumerate(masks):
                number = f"-{index}" if len(masks) > 1 else ""
                target = _file(self.output, f"{photo.stem}-mask{number}.png")
                Image.fromarray(mask.astype(np.uint8) * 255).save(target)
                _say(f"{target}  score {scores[index]:.3f}  {int(mask.sum())} pixels")
        if self.overlay is not None:
            from sam_edge.overlay import draw_overlay

            target = _file(self.overlay, f"{photo.stem}-overlay.png")
            captions = [f"{score:.2f}" for score in scores]
            draw_overlay(image, masks, prompts, captions=captions, banner=banner).save(target)
            _say(f"{target}")


def _file(target: Path, name: str) -> Path:
    """Return the file itself, or the named file in the folder, which is made."""
    if target.suffix:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
    target.mkdir(parents=True, exist_ok=True)
    return target / name


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def banner_of(spec: ModelSpec) -> str:
    """Return what every picture of this model's masks must say, or nothing."""
    return next((note for note in spec.notes if "random weights" in note), "")


def _record(
    path: Path, model: Model, prompts: Sequence[Prompt], results: Sequence[Segmentation]
) -> dict[str, Any]:
    from sam_edge.masks import area, encode_rle, to_coco_rle

    objects = []
    for prompt, result in zip(prompts, results, strict=True):
        masks = []
        for mask, score in zip(result.masks, result.scores, strict=True):
            rle = encode_rle(mask)
            masks.append(
                {"score": float(score), "area": area(rle), "segmentation": to_coco_rle(rle)}
            )
        box = prompt.box
        objects.append(
            {
                "points": prompt.points.tolist(),
                "labels": prompt.labels.tolist(),
                "box": None if box is None else [box.x0, box.y0, box.x1, box.y1],
                "masks": masks,
            }
        )
    height, width = results[0].masks.shape[1:]
    return {
        "image": str(path),
        "height": height,
        "width": width,
        "model": model.spec.variant,
        "precision": model.spec.precision,
        "engine": model.engine,
        "objects": objects,
    }


def _prompts(arguments: argparse.Namespace) -> list[Prompt]:
    """Turn the flags into one prompt an object."""
    points, labels = [], []
    for text in arguments.point:
        numbers = _numbers(text, "--point", (2, 3))
        points.append(numbers[:2])
        labels.append(numbers[2] if len(numbers) == 3 else 1.0)
    boxes = [Box(*_numbers(text, "--box", (4,))) for text in arguments.box]
    mask = None if arguments.mask is None else read_image(arguments.mask)[:, :, 0] > 127
    if len(boxes) > 1 and (points or mask is not None):
        raise CommandLineError(
            "several --box with --point or --mask: say each object in a call of its own"
        )
    if len(boxes) > 1:
        return [Prompt.of(box=box) for box in boxes]
    if not points and not boxes and mask is None:
        raise CommandLineError(
            "there is no prompt: give --point X,Y or --box X0,Y0,X1,Y1 or --mask PNG; "
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


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text!r}")
    return number


def run_info(arguments: argparse.Namespace) -> int:
    """Print what a bundle is."""
    from sam_edge.spec import manifest_text
    from sam_edge.zoo import resolve

    directory = resolve(arguments.model)
    spec = read_spec(directory)
    if arguments.check:
        check_hashes(directory, spec)
    print(manifest_text(spec) if arguments.json else describe(directory, spec), end="")
    if arguments.check and not arguments.json:
        print("every file has the sha256 that the manifest says")
    return 0


def describe(directory: Path, spec: ModelSpec) -> str:
    """Return a bundle's manifest as a text for people."""
    lines = [
        f"{directory}",
        f"  model      {spec.variant}, {spec.image_size} px, {spec.frame} frame, {spec.precision}, "
        f"{spec.decoder} decoder, opset {spec.opset}",
        f"  source     {spec.source.file}, sha256 {spec.source.sha256[:12]}..., "
        f"licence {spec.source.licence}",
        f"  exporter   {', '.join(f'{name} {value}' for name, value in spec.exporter.items())}",
    ]
    lines += [f"  note       {note}" for note in spec.notes]
    for graph in spec.graphs:
        engines = ", ".join(graph.engines) or "any engine"
        lines.append(
            f"  graph      {graph.file}, {graph.size_bytes / 1e6:.1f} MB, {graph.precision}, "
            f"for {engines}"
        )
        for arrow, tensors in (("<-", graph.inputs), ("->", graph.outputs)):
            for tensor in tensors:
                shape = ", ".join(map(str, tensor.shape))
                lines.append(f"               {arrow} {tensor.name} [{shape}] {tensor.dtype}")
    lines += [f"  int8       {line}" for line in _quantization(spec.quantization or {})]
    lines += [f"  fidelity   {_fidelity(entry)}" for entry in spec.fidelity]
    if not spec.fidelity:
        lines.append("  fidelity   not measured; measure it with: sam-edge verify")
    return "\n".join(lines) + "\n"


def _quantization(recipe: Mapping[str, Any]) -> list[str]:
    """Say what is in integers, how fast and from which photos."""
    lines = []
    for engine, entry in recipe.get("engines", {}).items():
        faster = entry["speedup_over_fp32"]
        speed = "speed not measured" if faster is None else f"{faster} times as fast as float32"
        kept = f"{len(entry['float'])} more kept float" if entry["float"] else "none kept float"
        lines.append(
            f"{engine}: {entry['recipe']}, {entry['products']} products in integers, {kept}; "
            f"{speed} on {recipe['made_on']}"
        )
    if recipe:
        calibration, ranges = recipe["calibration"], "ranges measured at run time"
        if calibration:
            ranges = f"ranges from {calibration['count']} photos ({calibration['photos']})"
        lines.append(
            f"{recipe['weight_bits']}-bit weights, {ranges}, "
            f"masks held to a mean IoU of {recipe['min_iou']}"
        )
    return lines


def _fidelity(entry: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in entry.items()
    )
