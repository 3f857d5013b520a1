"""The ``export``, ``quantize`` and ``verify`` commands. Importing this needs no torch."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_edge.bundle import read_spec
from sam_edge.cli import Subparsers, add_command
from sam_edge.cli.console import say, show, status
from sam_edge.cli.targets import Target, prepare
from sam_edge.errors import ArgumentError, MissingDependencyError
from sam_edge.spec import DECODERS, FRAMES, PRECISIONS
from sam_edge_runtimes import ENGINES

if TYPE_CHECKING:
    from sam_edge.fidelity import Fidelity

EXPORT_EXAMPLES = """\
examples:
  sam-edge export sam_vit_b_01ec64.pth -o vit_b
  half the megabytes, the same float32 arithmetic:
    sam-edge export sam_vit_b_01ec64.pth -o vit_b_fp16 --precision fp16
  8-bit integers, a file an engine; refused if the masks or the speed suffer:
    sam-edge export sam_vit_b_01ec64.pth -o vit_b_int8 --precision int8
  a smaller frame, for a Raspberry Pi:
    sam-edge export sam_vit_b_01ec64.pth -o vit_b_512 --image-size 512
  only what is in the photo, a third less work for 3:2, where its masks are as good:
    sam-edge export sam_vit_b_01ec64.pth -o vit_b_photo --frame photo
  what finds the boxes of words, from its folder on Hugging Face's hub:
    sam-edge export owlvit-base-patch32 -o words --precision fp16
  the official ONNX notebook's decoder:
    sam-edge export sam_vit_b_01ec64.pth -o vit_b_official --decoder official

The bundle is compared with PyTorch before it gets its name; if it misses a limit, nothing is
written. Without PyTorch, the graphs that this exporter makes are filled with the checkpoint's
weights: float32 to the byte, other precisions compared with float32.
"""


QUANTIZE_EXAMPLES = """\
examples:
  what is fastest here, and what does it cost in masks?
    sam-edge quantize sam_vit_b_01ec64.pth --search --report recipes
  write the bundle, calibrated on photos like yours:
    sam-edge quantize sam_vit_b_01ec64.pth -o vit_b_int8 --calibration photos
  for an old laptop without VNNI:
    sam-edge quantize sam_vit_b_01ec64.pth -o vit_b_old --target x86-64
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``export``, ``quantize`` and ``verify`` to the command line."""
    export = add_command(
        subparsers,
        "export",
        "turn a checkpoint into a verified bundle",
        description="Turn a Segment Anything checkpoint into a verified bundle of ONNX graphs.",
        examples=EXPORT_EXAMPLES,
    )
    export.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE")
    export.add_argument("--variant", default="auto", help="default: recognised from the tensors")
    export.add_argument("--image-size", type=int, metavar="N", help="a multiple of 64 from 256 up")
    export.add_argument("--precision", default="fp32", choices=PRECISIONS)
    export.add_argument(
        "--min-iou",
        type=float,
        metavar="X",
        help="mean IoU with PyTorch's masks that must be reached (int8, photo frames: 0.98), of a "
        "detector of words with its boxes (int8: 0.9); 0 turns the gate off",
    )
    add_int8_arguments(export)
    export.add_argument("--decoder", default="native", choices=DECODERS)
    export.add_argument(
        "--frame",
        default="square",
        choices=FRAMES,
        help="photo: encode what the photo covers of the square frame and no more, a third less "
        "work for a 3:2 photo; not exact (default: square)",
    )
    export.add_argument("--images", type=Path, metavar="DIR", help="photos to verify on")
    _add_engine(export)
    export.add_argument("--no-verify", action="store_true", help="do not compare with PyTorch")
    export.add_argument(
        "--random-weights",
        action="store_true",
        help="say in the bundle and on its pictures that masks mean nothing",
    )
    export.add_argument("--force", action="store_true", help="replace the bundle that is there")
    export.set_defaults(run=run_export)

    quantize = add_command(
        subparsers,
        "quantize",
        "write an int8 bundle, or see what each recipe brings here",
        description="Write an int8 bundle (as export --precision int8 does). With --search: "
        "measure every recipe on this CPU, in fresh processes, and print a table.",
        examples=QUANTIZE_EXAMPLES,
    )
    quantize.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    quantize.add_argument("-o", "--output", type=Path, metavar="BUNDLE")
    quantize.add_argument("--search", action="store_true", help="measure, write no bundle")
    quantize.add_argument(
        "--report", type=Path, metavar="DIR", help="--search: write recipes.json and recipes.png"
    )
    quantize.add_argument("--threads", type=int, metavar="N", help="--search: of the timed runs")
    quantize.add_argument("--image-size", type=int, metavar="N", help="a multiple of 64")
    quantize.add_argument("--min-iou", type=float, metavar="X", help="as for export")
    add_int8_arguments(quantize)
    quantize.add_argument("--images", type=Path, metavar="DIR", help="photos to judge masks on")
    _add_engine(quantize)
    quantize.add_argument("--force", action="store_true", help="replace the bundle that is there")
    quantize.set_defaults(
        run=run_quantize,
        variant="auto",
        precision="int8",
        decoder="native",
        frame="square",
        random_weights=False,
        no_verify=False,
    )

    verify = add_command(
        subparsers,
        "verify",
        "prove that a bundle gives PyTorch's masks, or its boxes of words",
        description="Compare a bundle with its checkpoint in PyTorch, on every installed engine "
        "and in every number format that this CPU has, and write what was measured into its "
        "manifest. Without a checkpoint, and without torch, compare the other formats with the "
        "bundle's own float32. Of a grounding bundle (--grounder) it also measures how fast each "
        "is here, for --compute auto. Exits 0 only when it is faithful.",
        examples="examples:\n"
        "  sam-edge verify vit_b --checkpoint sam_vit_b_01ec64.pth --images photos\n"
        "  sam-edge verify vit_b    # may --compute auto take bfloat16 on this CPU?",
    )
    verify.add_argument("bundle", metavar="BUNDLE", help="a folder or a name")
    verify.add_argument("--checkpoint", type=Path, help="the file or folder that it was made from")
    verify.add_argument("--images", type=Path, metavar="DIR", help="default: the photos in the box")
    _add_engine(verify)
    verify.add_argument("--json", action="store_true", help="print the measurements as JSON")
    verify.set_defaults(run=run_verify)


def add_int8_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only an int8 export can be asked."""
    group = parser.add_argument_group("int8")
    group.add_argument("--recipe", metavar="NAME", help="default: what is best on each engine")
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="photos to take the ranges of activations from, none of them in --images; "
        "default: scenes drawn for it",
    )
    group.add_argument(
        "--target",
        default="here",
        metavar="KIND",
        help="here (default), x86-64-vnni, x86-64 (7-bit weights: without VNNI products of 8 bits "
        "saturate) or arm64; speed is not measured for another machine",
    )
    group.add_argument(
        "--allow-slow", action="store_true", help="do not time it; keep it whatever its speed"
    )


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        type=_engines,
        metavar="NAME[,NAME]",
        help=f"verify on these, and write int8 for these ({', '.join(ENGINES)}); "
        "default: every installed one",
    )


def _engines(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is not an engine; expected {' or '.join(ENGINES)}"
        )
    return names


def run_export(arguments: argparse.Namespace) -> int:
    """Export as the command line says; without torch, fill the exporter's templates."""
    if missing := _missing_package():
        return _fill(arguments, missing)
    from sam_edge_export.grounding.load import kind_of as detector_kind
    from sam_edge_export.pipeline import export_bundle
    from sam_edge_export.quantize.gate import Int8

    if kind := detector_kind(arguments.checkpoint):
        return _export_grounder(arguments, kind)

    results = export_bundle(
        **_wishes(arguments),
        decoder=arguments.decoder,
        frame=arguments.frame,
        int8=Int8(arguments.recipe, arguments.target, arguments.calibration, arguments.allow_slow),
    )
    return _show_written(arguments.output, results)


OF_MASKS = {
    "variant": ("auto", "--variant"),
    "image_size": (None, "--image-size"),
    "decoder": ("native", "--decoder"),
    "frame": ("square", "--frame"),
    "recipe": (None, "--recipe"),
    "calibration": (None, "--calibration"),
    "target": ("here", "--target"),
}
"""What a detector of words cannot be asked: argument -> its default, and its flag."""


def _export_grounder(arguments: argparse.Namespace, kind: str) -> int:
    from sam_edge.gates import refused_formats
    from sam_edge.grounding.fidelity import FEWER_BITS, table
    from sam_edge.grounding.manifest import read_grounding_spec
    from sam_edge_export.grounding.pipeline import export_grounder

    for name, (default, flag) in OF_MASKS.items():
        if getattr(arguments, name) != default:
            raise ArgumentError(f"{flag} is for models of masks; {arguments.checkpoint} is {kind}")
    results = export_grounder(
        arguments.checkpoint,
        arguments.output,
        precision=arguments.precision,
        verify=not arguments.no_verify,
        images=arguments.images,
        engines=arguments.engine,
        min_iou=arguments.min_iou,
        allow_slow=arguments.allow_slow,
        random_weights=arguments.random_weights,
        force=arguments.force,
        progress=status,
    )
    if results:
        show(table(results))
    for line in refused_formats(results, FEWER_BITS.missed):
        say(f"note: {line}")
    for note in read_grounding_spec(arguments.output).notes:
        say(f"note: {note}")
    show(f"{arguments.output} is written; look at it with: sam-edge info {arguments.output}")
    return 0


TRACED = {
    "decoder": ("native", "--decoder {}"),
    "frame": ("square", "--frame {}"),
    "recipe": (None, "--recipe"),
    "calibration": (None, "--calibration"),
    "target": ("here", "--target"),
}
"""What only PyTorch can trace or calibrate: argument -> what can be filled, and its flag."""


def _fill(arguments: argparse.Namespace, missing: str) -> int:
    for name, (filled, flag) in TRACED.items():
        value = getattr(arguments, name)
        if value != filled:
            _need_torch(flag.format(value))
    from sam_edge.filling.bundle import fill_bundle

    say(f"{missing} is not installed: the exporter's own graphs are filled, and nothing is traced")
    results = fill_bundle(**_wishes(arguments), allow_slow=arguments.allow_slow)
    return _show_written(arguments.output, results)


def _wishes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a bundle can be asked for on either road, with torch and without."""
    return {
        "checkpoint": arguments.checkpoint,
        "output": arguments.output,
        "variant": arguments.variant,
        "image_size": arguments.image_size,
        "precision": arguments.precision,
        "verify": not arguments.no_verify,
        "images": arguments.images,
        "engines": arguments.engine,
        "min_iou": arguments.min_iou,
        "random_weights": arguments.random_weights,
        "force": arguments.force,
        "progress": status,
    }


def _show_written(bundle: Path, results: Sequence[Fidelity]) -> int:
    from sam_edge.gates import table

    if results:
        show(table(results))
    for note in read_spec(bundle).notes:
        say(f"note: {note}")
    show(f"{bundle} is written; look at it with: sam-edge info {bundle}")
    return 0


def run_quantize(arguments: argparse.Namespace) -> int:
    """Quantise or search as the command line says."""
    if not arguments.search:
        if arguments.output is None:
            raise ArgumentError("name the bundle to write with -o, or measure only with --search")
        return run_export(arguments)
    _need_torch("searching")
    from sam_edge_export.quantize.search import REPORT_FILES, search, table, write_report

    if arguments.report:
        targets = [Target(arguments.report / name, "--report") for name in REPORT_FILES]
        prepare(targets, [arguments.checkpoint])
    rows = search(
        arguments.checkpoint,
        image_size=arguments.image_size,
        images=arguments.images,
        calibration=arguments.calibration,
        engines=arguments.engine,
        threads=arguments.threads,
        progress=status,
    )
    show(table(rows))
    if arguments.report:
        write_report(rows, arguments.report)
        show(f"{arguments.report} holds {' and '.join(REPORT_FILES)}")
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Verify as the command line says."""
    from sam_edge_export.verify_command import run

    if arguments.checkpoint is not None:
        _need_torch("comparing with a checkpoint")
    return run(arguments)


def _need_torch(work: str) -> None:
    if package := _missing_package():
        raise MissingDependencyError(f"{work} needs {package}; run: pip install 'sam-edge[export]'")


def _missing_package() -> str | None:
    """Return the first package that tracing needs and this Python has not."""
    needed = ("torch", "onnx", "onnxslim")
    return next((name for name in needed if importlib.util.find_spec(name) is None), None)
