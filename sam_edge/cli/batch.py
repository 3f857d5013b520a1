"""The command ``batch``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from sam_edge.cli.console import PhotoBar, duration, say, show
from sam_edge.cli.flags import add_model_arguments, memory_size, model_named, whole_number
from sam_edge.cli.frame import FAILED, CommandLineError, Subparsers, add_command
from sam_edge.cli.knobs import (
    add_generator_arguments,
    add_tile_arguments,
    add_tolerance_argument,
    knobs_of,
)
from sam_edge.cli.targets import json_target, prepare
from sam_edge.cli.words import add_word_arguments, check_words
from sam_edge.errors import UnwritableError
from sam_edge.files import json_text
from sam_edge.formats.write import FORMATS
from sam_edge.prompt_files import PROMPTS_HELP

if TYPE_CHECKING:
    from sam_edge.batch import Batch, Outcome, Summary

MOST_PROCESSES = 4096
MOST_SECONDS = 7 * 24 * 3600

BATCH_EXAMPLES = """\
examples:
  everything in every photo of a folder, nested ones too:
    sam-edge batch photos/ -o masks/
  go on where it was stopped, killed or unplugged:
    sam-edge batch photos/ -o masks/ --resume
  the mask stage of a detector: one COCO file for the whole set, with its scores:
    sam-edge batch photos/ -o masks/ --prompts runs/detect/predict/labels/   # YOLO's
    sam-edge batch instances_val.json -o masks/ --prompts coco_instances_results.json
    sam-edge batch photos/ -o masks/ --prompts boxes.csv    # image,x0,y0,x1,y1,label,score
  what words name in every photo, each phrase a category:
    sam-edge batch photos/ -o masks/ --text "a mug" --text "a plate"
  polygons to correct by hand; and pictures that open at once in a labelling tool:
    sam-edge batch 'shots/**/*.jpg' -o labels/ --format labelme --embeddings embeddings/
  a folder of SA-1B; a list with a path a line:
    sam-edge batch sa_000000/ --dataset sa1b -o masks/
    sam-edge batch photos.txt -o masks/
  this machine, within 8 GB:
    sam-edge batch photos/ -o masks/ -m mobile_sam --memory-limit 8GB
  a folder of maps, tile by tile, as polygons in their own coordinates:
    sam-edge batch maps/ -o masks/ --tile 1024 --overlap 128 --format geojson
  a cluster: photos on a shared folder, results there or in an object store:
    sam-edge batch /shared/photos/ -o s3://bucket/masks --engine ray --address auto

For each photo there is a file of masks (PHOTO-everything.json, PHOTO-labels.png, ...) in the
photo's folder below -o, and PHOTO.done.json, which says what they were made of. --resume keeps
what was made of the same photo, prompts, model and settings. At the end coco.json has the masks of
all, with the ids, categories and scores that came in.

A photo that fails is a line of errors.jsonl with its reason, and the others are done; the exit
code is then 1. Ctrl-C finishes the photos under way; a second one does not.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``batch`` to the command line."""
    batch = add_command(
        subparsers,
        "batch",
        "a folder or a data set through a model, on this machine or a cluster",
        description="Take a folder or a data set through a model; it may be killed at any moment.",
        examples=BATCH_EXAMPLES,
    )
    batch.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTOS",
        help="a folder, a photo, a quoted pattern, a list (.txt), or COCO JSON",
    )
    batch.add_argument(
        "-o", "--output", required=True, metavar="OUT", help="a folder, or an fsspec address"
    )
    add_model_arguments(batch)
    batch.add_argument("--prompts", type=Path, metavar="FILE", help=PROMPTS_HELP)
    batch.add_argument(
        "--classes", type=Path, metavar="FILE", help="names of YOLO's classes (data.yaml)"
    )
    add_word_arguments(batch, detector=False)
    batch.add_argument("--dataset", metavar="KIND", help="of a folder: coco, sa1b or labelme")
    batch.add_argument("--images", type=Path, metavar="DIR", help="coco: the photos' folder")
    batch.add_argument("--format", choices=FORMATS, default="coco", help="default: coco")
    add_tolerance_argument(batch)
    batch.add_argument(
        "--stretch", action="store_true", help="spread deep or dark pixels over the whole range"
    )
    batch.add_argument("--embeddings", metavar="DIR", help="write each photo's embedding there")
    batch.add_argument("--resume", action="store_true", help="keep what is done and right")
    batch.add_argument(
        "--json-log", metavar="FILE", help="a JSON line for each photo as it ends; - prints"
    )
    where = batch.add_argument_group("where it runs")
    where.add_argument(
        "--processes",
        type=whole_number(1, MOST_PROCESSES),
        metavar="N",
        help="worker processes (default: one a core, as far as memory allows)",
    )
    where.add_argument(
        "--memory-limit",
        type=memory_size,
        metavar="SIZE",
        help="of all worker processes of a machine, such as 8GB (default: what is free)",
    )
    where.add_argument(
        "--engine", default="local", metavar="NAME", help="local, which is the default, or ray"
    )
    where.add_argument(
        "--stall-timeout",
        type=whole_number(1, MOST_SECONDS),
        metavar="SECONDS",
        help="replace a worker that makes no progress for so long (default: an hour)",
    )
    where.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster; auto finds one")
    add_tile_arguments(batch)
    add_generator_arguments(batch)
    batch.set_defaults(run=run_batch)


def run_batch(arguments: argparse.Namespace) -> int:
    """Do a batch as the command line says."""
    # Here: other commands start without it.
    from sam_edge.batch import Batch
    from sam_edge.batch.collected import entries_of

    check_words(arguments)
    stop = threading.Event()
    given = [*arguments.photos, arguments.prompts, arguments.classes]
    log_file = json_target(arguments.json_log, "--json-log")
    prepare(log_file, [Path(word) for word in given if word is not None])
    batch = Batch(
        arguments.photos,
        arguments.output,
        model=model_named(arguments),
        runtime=arguments.runtime,
        compute=arguments.compute,
        memory=arguments.memory,
        threads=arguments.threads,
        processes=arguments.processes,
        memory_limit=arguments.memory_limit,
        prompts=arguments.prompts,
        text=arguments.text,
        exclude=arguments.exclude,
        grounder=arguments.grounder,
        text_threshold=arguments.text_threshold,
        top_k=arguments.top_k,
        best_phrase=arguments.best_phrase,
        classes=arguments.classes,
        dataset=arguments.dataset,
        images=arguments.images,
        format=arguments.format,
        tolerance=arguments.tolerance,
        stretch=arguments.stretch,
        generator=knobs_of(arguments),
        tile=arguments.tile,
        overlap=arguments.overlap,
        embeddings=arguments.embeddings,
        resume=arguments.resume,
        engine=arguments.engine,
        address=arguments.address,
        stall_timeout=arguments.stall_timeout,
        stop=stop,
    )
    _check_log(batch, arguments.json_log)
    for line in (problems := batch.problems):
        say(f"sam-edge: {line}")
    total = len(batch.photos.items)
    bar = PhotoBar.if_watched()
    done = kept = errors = 0
    with _log(arguments.json_log) as log, _stopping(stop):
        log.write({"event": "start", "photos": total, "errors": problems})
        for outcome in batch.iterate():
            entries = entries_of(outcome)
            for entry in entries:
                say(f"sam-edge: {entry['image']}: {entry['error']}")
            done, kept = done + 1, kept + (outcome.status == "kept")
            errors += len(entries)
            log.write({"event": "photo", **_logged(outcome), "errors": entries})
            if bar is not None:
                bar(done, kept, total, errors)
        summary = batch.summary
        log.write({"event": "end", **_summed(summary)})
    say(_said(summary, arguments.output, arguments.prompts))
    return FAILED if summary.errors or summary.stopped else 0


def _check_log(batch: Batch, word: str | None) -> None:
    """Refuse a log that would replace a result, or what is no log.

    Raises:
        CommandLineError: if it would.
    """
    if word is None or word == "-" or (os.path.exists(word) and not os.path.isfile(word)):
        return
    if batch.writes(word):
        raise CommandLineError(f"--json-log {word}: a result has that name; choose another")
    if not os.path.exists(word):
        return
    with open(word, "rb") as file:
        start = file.read(len(_START))
    if not _START.startswith(start):
        raise CommandLineError(f"--json-log {word} is no log, and would be written over")


_START = b'{"event": "start"'


class _Log:
    """JSON lines, each written when it is known."""

    def __init__(self, file: IO[bytes] | None, prints: bool) -> None:
        self._file = file
        self._prints = prints

    def write(self, event: dict[str, Any]) -> None:
        if self._file is not None:
            try:
                self._file.write(json_text(event).encode())
            except OSError as error:
                raise UnwritableError(
                    f"{self._file.name} cannot be written: {error.strerror}; go on with --resume"
                ) from error
        elif self._prints:
            show(json_text(event))
            sys.stdout.flush()


@contextmanager
def _log(word: str | None) -> Iterator[_Log]:
    named = word is not None and word != "-"
    # Without a buffer nothing is left to be written when it is closed.
    with open(str(word), "wb", buffering=0) if named else nullcontext() as file:
        yield _Log(file, word == "-")


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Finish what is under way at the first Ctrl-C or SIGTERM; a second one ends at once."""

    def handle(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        with suppress(RuntimeError):  # it came amid another message
            say("sam-edge: finishing the photos under way; once more to end at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _logged(outcome: Outcome) -> dict[str, Any]:
    return {
        "image": outcome.item.file_name,
        "status": outcome.status,
        "masks": outcome.masks,
        "seconds": round(outcome.seconds, 6),
    }


def _summed(summary: Summary) -> dict[str, Any]:
    return {
        "photos": summary.total,
        "done": summary.done,
        "kept": summary.kept,
        "failed": summary.failed,
        "masks": summary.masks,
        "errors": summary.errors,
        "seconds": round(summary.seconds, 3),
        "stopped": summary.stopped,
    }


def _said(summary: Summary, out: str, prompts: Path | None) -> str:
    """Say what became of a batch."""
    from sam_edge.batch.collected import COCO, ERRORS

    line = f"{summary.done} photos done"
    if summary.kept:
        line += f", {summary.kept} were"
    line += f", {summary.failed} failed, {summary.masks} masks, {duration(summary.seconds)}"
    if summary.unnamed:
        line += f"; {prompts} says nothing of {summary.unnamed} of them"
    if summary.errors:
        line += f"; {out}/{ERRORS} has {summary.errors} lines"
    if summary.stopped:
        return f"{line}; stopped: go on with --resume"
    return f"{line}; {out}/{COCO} has them all"
