"""``sam-edge bench``: run, report, compare; and ``readme`` for this project's own tables."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from sam_edge.cache import cache_directory
from sam_edge.cli import Subparsers, add_command
from sam_edge.engine_choice import Way, remember_seconds
from sam_edge.zoo.table import named_models
from sam_edge_benchmarks.compare import compare, compare_text
from sam_edge_benchmarks.errors import BenchmarkError
from sam_edge_benchmarks.models import BOX, Model, find_models
from sam_edge_benchmarks.readme import SUBJECTS, readme_block, updated_readme
from sam_edge_benchmarks.record import Record, read_record
from sam_edge_benchmarks.report.markdown import markdown_report
from sam_edge_benchmarks.report.page import html_report
from sam_edge_benchmarks.report.tables import median_ms
from sam_edge_benchmarks.run import Plan, run
from sam_edge_benchmarks.subjects import FORMAT_OF, Choice, choose
from sam_edge_benchmarks.work import FULL, QUICK

QUICK_SUBJECTS = ("bundle/*",)
VARIANT_SUBJECTS = (
    "official-torch/cpu/eager/fp32",
    "ours-torch/cpu/eager/fp32",
    "naive-onnx/*",
    "bundle/*/fp32",
    "bundle/*/int8",
)
FULL_SUBJECTS = (*QUICK_SUBJECTS, *VARIANT_SUBJECTS, "official-torch/*", "ours-torch/*")

RUN_EXAMPLES = """\
examples:
  this machine, the model in the box, under two minutes:
    sam-edge bench run --quick
  your own bundle on both engines, with one and with all four cores:
    sam-edge bench run -m vit_b_bundle --threads 1,4
  ViT-B with seeded weights: official PyTorch beside our bundles, and their masks' IoU:
    sam-edge bench run -m vit_b --subject official-torch/cpu/eager/fp32 --subject 'bundle/*/fp32'
  a GPU, before anything else:
    sam-edge bench run -m vit_b -m vit_h --subject 'official-torch/cuda/*' --prompts 1,64
  two subjects in turn on a machine that drifts:
    sam-edge bench run -m box --versus bundle/onnxruntime/int8-weights bundle/openvino/int8-weights

A subject is NAME/BACKEND[/MODE]/PRECISION; * matches any. One that this machine cannot run is a
line in the report. Ctrl-C keeps what was measured.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``bench`` to the command line."""
    bench = subparsers.add_parser(
        "bench", help="measure this machine, and report or compare records"
    )
    add_bench_commands(bench.add_subparsers(title="commands", metavar="COMMAND", required=True))


def add_bench_commands(subparsers: Subparsers) -> None:
    """Add ``run``, ``report`` and ``compare``."""
    runner = add_command(
        subparsers,
        "run",
        "measure, and write a record",
        description="Measure latency, memory and mask IoU, each subject in its own process.",
        examples=RUN_EXAMPLES,
    )
    pace = runner.add_mutually_exclusive_group()
    pace.add_argument("--quick", action="store_true", help="few samples (the default)")
    pace.add_argument("--full", action="store_true", help="many samples, everything, all subjects")
    runner.add_argument(
        "-m",
        "--model",
        action="append",
        metavar="MODEL",
        help=f"a bundle's folder, {BOX} (the default), or {', '.join(named_models())} with seeded "
        "weights",
    )
    runner.add_argument("--subject", action="append", metavar="PATTERN", help="see below")
    runner.add_argument(
        "--threads", type=_counts, default=(), metavar="N[,N]", help="sweep; default: the engine's"
    )
    runner.add_argument(
        "--image-size", type=_counts, default=(), metavar="N[,N]", help="sweep, for variants"
    )
    runner.add_argument(
        "--prompts", type=_counts, default=(1, 16), metavar="N[,N]", help="sweep of clicks a call"
    )
    runner.add_argument("--versus", nargs=2, metavar=("A", "B"), help="measure in turn, A B A B")
    runner.add_argument("--photo", type=Path, metavar="IMAGE")
    runner.add_argument("--checkpoint", type=Path, help="weights, for the PyTorch subjects")
    runner.add_argument("--decoder-weights", type=Path, help="trained decoder for seeded weights")
    runner.add_argument("--seed", type=int, default=0, help="of seeded weights")
    runner.add_argument("--points-per-side", type=_count, default=16, metavar="N")
    runner.add_argument("--repeats", type=_count, metavar="N", help="most samples a phase")
    runner.add_argument(
        "--budget", type=float, metavar="SECONDS", help="a phase stops soon after this long"
    )
    runner.add_argument("--everything", action="store_true", help="also segment everything")
    runner.add_argument("--no-reference", action="store_true", help="no IoU: saves its time")
    runner.add_argument("--log", type=Path, metavar="FILE", help="standard error of the workers")
    runner.add_argument("-o", "--output", type=Path, metavar="RECORD.json")
    runner.set_defaults(run=run_command)

    reporter = subparsers.add_parser("report", help="records to report.md and report.html")
    reporter.add_argument("records", nargs="+", type=Path, metavar="RECORD")
    reporter.add_argument("-o", "--output", type=Path, default=Path("bench-report"), metavar="DIR")
    reporter.set_defaults(run=report_command)

    comparer = subparsers.add_parser("compare", help="say what changed from record A to record B")
    comparer.add_argument("before", type=Path, metavar="A")
    comparer.add_argument("after", type=Path, metavar="B")
    comparer.add_argument("--force", action="store_true", help="although the work differs")
    comparer.set_defaults(run=compare_command)


def add_readme_command(subparsers: Subparsers) -> None:
    """Add ``readme``, which only this project's own checkout needs."""
    readme = subparsers.add_parser("readme", help="a page's table from committed records")
    action = readme.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="PAGE.md")
    action.add_argument("--check", type=Path, metavar="PAGE.md")
    readme.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    readme.add_argument("--every-subject", action="store_true", help="not just the README's")
    readme.set_defaults(run=readme_command)


def run_command(arguments: argparse.Namespace) -> int:
    """Measure as the command line says, and print the table."""
    plan = make_plan(arguments)
    # A job that is ended by its scheduler keeps what it measured, too, and leaves no worker.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    output = arguments.output or _default_output()
    try:
        record = run(plan, output, lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print(f"sam-edge bench: stopped; what was measured is in {output}", file=sys.stderr)
        return 1
    print(markdown_report([record]))
    for line in remember_engines(record, plan.models):
        print(line)
    print(f"The record is {output}")
    measured = any(result.status == "done" for result in record.results) or record.versus
    return 0 if measured else 1


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Turn flags into a plan.

    Raises:
        BenchmarkError: if a flag means nothing.
    """
    settings = FULL if arguments.full else QUICK
    if arguments.repeats is not None:
        settings = replace(
            settings,
            repeats=arguments.repeats,
            min_repeats=min(settings.min_repeats, arguments.repeats),
        )
    if arguments.budget is not None:
        settings = replace(settings, budget_seconds=arguments.budget)
    if arguments.everything and not settings.everything_repeats:
        settings = replace(settings, everything_repeats=1)
    models = find_models(
        arguments.model or [BOX],
        arguments.image_size,
        arguments.checkpoint,
        arguments.seed,
        arguments.decoder_weights,
    )
    versus = None
    try:
        choices = choose(arguments.subject or _default_subjects(arguments, models))
        if arguments.versus:
            versus = (_exactly(arguments.versus[0]), _exactly(arguments.versus[1]))
    except ValueError as error:
        raise BenchmarkError(str(error)) from error
    photo = arguments.photo or Path(str(files("sam_edge") / "assets" / "photos" / "coffee.jpg"))
    return Plan(
        models=models,
        choices=choices,
        threads=arguments.threads or (None,),
        prompts=arguments.prompts,
        photo=photo.resolve(),
        points_per_side=arguments.points_per_side,
        settings=settings,
        cache=cache_directory() / "benchmarks",
        log=arguments.log,
        reference=not arguments.no_reference,
        versus=versus,
    )


def _default_subjects(arguments: argparse.Namespace, models: list[Model]) -> tuple[str, ...]:
    if arguments.full:
        return FULL_SUBJECTS
    needs_torch = any(model.bundle is None or model.checkpoint is not None for model in models)
    return VARIANT_SUBJECTS if needs_torch else QUICK_SUBJECTS


def _exactly(pattern: str) -> Choice:
    found = choose([pattern])
    if len(found) > 1:
        raise ValueError(f"{pattern!r} is {len(found)} subjects; --versus takes exactly two")
    return found[0]


def remember_engines(record: Record, models: Sequence[Model]) -> list[str]:
    """Store how fast each engine was for each bundle, for ``auto`` runtime and compute.

    What counts is a photo with one prompt: encode and decode, medians, at equal threads.
    """
    lines = []
    for model in models:
        if model.spec is None:
            continue
        seconds: dict[Way, float] = {}
        for result in record.results:
            name, engine, *mode, precision = result.subject.split("/")
            encode, decode = result.phase("encode"), result.phase("decode")
            same = (
                name == "bundle"
                and precision == model.spec.precision
                and result.work.weights == model.weights
                and result.work.image_size == model.image_size
                and result.threads is None
            )
            if same and encode is not None and decode is not None:
                way = engine, FORMAT_OF[mode[0]] if mode else FORMAT_OF["fp32"]
                seconds[way] = (median_ms(encode) + median_ms(decode)) / 1000
        if len(seconds) > 1:
            remember_seconds(model.spec, seconds)
            engine, format_ = min(seconds, key=seconds.__getitem__)
            name = f"{model.name} {model.spec.precision}"
            lines.append(f"Fastest here for {name}: {engine} in {format_}")
    return lines


def report_command(arguments: argparse.Namespace) -> int:
    """Write the report of any number of records."""
    records = [read_record(path) for path in arguments.records]
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("report.md", markdown_report(records)),
        ("report.html", html_report(records)),
    ):
        (arguments.output / name).write_text(text, encoding="utf-8")
        print(arguments.output / name)
    return 0


def compare_command(arguments: argparse.Namespace) -> int:
    """Print what changed."""
    before, after = read_record(arguments.before), read_record(arguments.after)
    print(compare_text(compare(before, after, force=arguments.force)), end="")
    return 0


def readme_command(arguments: argparse.Namespace) -> int:
    """Write or check a page's table."""
    path: Path = arguments.write or arguments.check
    old = path.read_text(encoding="utf-8")
    subjects = ("",) if arguments.every_subject else SUBJECTS
    new = updated_readme(old, readme_block(list(arguments.results.glob("*.json")), subjects))
    if arguments.check is not None:
        if old != new:
            raise BenchmarkError(f"{path} does not show {arguments.results}; run: make docs")
        return 0
    path.write_text(new, encoding="utf-8")
    return 0


def _default_output() -> Path:
    from sam_edge_benchmarks.machine import fingerprint

    name = re.sub(r"[^a-z0-9]+", "-", str(fingerprint()["cpu_model"]).lower()).strip("-")
    number = 1
    while (path := Path(f"benchmark-{name[:40]}-{number}.json")).exists():
        number += 1
    return path


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return value


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))
