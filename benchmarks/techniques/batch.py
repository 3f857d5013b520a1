"""Measure ``sam-edge batch``: a thousand photos killed twice, and how fast photos are done.

    python benchmarks/techniques/batch.py   # quiet: some ten minutes; writes batch.json

The photos are drawn: 640 x 480 JPEG, two boxes each in a CSV, ten of a thousand cut off. The model
is the one in the box.

``killed``: the command is killed with ``kill -9`` after a third of the photos, stopped with SIGINT
after another, and resumed to its end; its files are compared with those of a run that nobody
disturbed, byte for byte.

``speed``: variants take turns. ``loop`` is what one writes without ``batch``: ``encode_image``,
``decode`` for each box, run lengths, one JSON at the end, in one process with an engine thread a
core. Rates are of the photos after the first, so that no start-up counts: Ray's takes seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scale
from PIL import Image, ImageDraw

import sam_edge
import sam_edge.batch
from sam_edge.masks import encode_rle, to_coco_rle
from sam_edge_benchmarks.machine import fingerprint, software
from sam_edge_runtimes.threads import cores_here

RESULT = Path(__file__).parent / "batch.json"
SIZE = (480, 640)  # height, width


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1000, help="of the killed run")
    parser.add_argument("--bad", type=int, default=10, help="of them, cut off")
    parser.add_argument("--speed-photos", type=int, default=300, help="of each timed run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--scratch", type=Path, help="a folder to work in; default: a new one")
    parser.add_argument("-o", "--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sam-edge-batch-", dir=arguments.scratch) as folder:
        record = measure(arguments, Path(folder))
    text = json.dumps(record, indent=1) + "\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)
    print(table(record))
    if arguments.out == RESULT:
        scale.main()  # docs/scale.md tells of it


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the record."""
    machine = fingerprint()
    before = os.getloadavg()
    start = time.perf_counter()
    killed = killed_twice(folder, arguments.photos, arguments.bad)
    killed["seconds"] = time.perf_counter() - start
    speed = timed(folder, arguments.speed_photos, arguments.rounds, not arguments.no_ray)
    return {
        "machine": {"processor": machine["cpu_model"], "cores": cores_here()},
        "software": software(),
        "load_average_before": before,
        "model": "nano",
        "killed": killed,
        "speed": speed,
    }


def draw_set(folder: Path, count: int, bad: int) -> Path:
    """Save photos with two things in each and a CSV of their boxes; return the CSV."""
    rows = ["image,x0,y0,x1,y1,label,score\n"]
    every = max(1, count // bad) if bad else count + 1
    (folder / "photos").mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng(number)
        noise = random.integers(0, 24, (*SIZE, 3), np.uint8)
        picture = Image.fromarray(noise + random.integers(120, 220, 3, np.uint8))
        pen = ImageDraw.Draw(picture)
        name = f"{number:06}.jpg"
        for label, shape, left in (("ball", pen.ellipse, 0), ("brick", pen.rectangle, 320)):
            x, y = left + int(random.integers(10, 100)), int(random.integers(10, 200))
            box = (x, y, x + int(random.integers(60, 200)), y + int(random.integers(60, 250)))
            shape(box, fill=tuple(random.integers(0, 110, 3).tolist()))
            rows.append(f"{name},{','.join(map(str, box))},{label},{random.uniform(0.3, 1):.3f}\n")
        picture.save(folder / "photos" / name, quality=90)
        if bad and number % every == every // 2:
            path = folder / "photos" / name
            path.write_bytes(path.read_bytes()[:400])
    (folder / "boxes.csv").write_text("".join(rows), encoding="utf-8")
    return folder / "boxes.csv"


def killed_twice(folder: Path, count: int, bad: int) -> dict[str, Any]:
    """Kill, stop and resume a run, and compare it with one that was left alone."""
    boxes = draw_set(folder / "killed", count, bad)
    photos = boxes.parent / "photos"
    whole, out = folder / "whole", folder / "out"
    alone = command(photos, boxes, whole)
    runs = [
        command(photos, boxes, out, count // 3, signal.SIGKILL),
        command(photos, boxes, out, count // 3 * 2, signal.SIGINT),
        command(photos, boxes, out),
    ]
    expected, found = tree(whole), tree(out)
    return {
        "photos": count,
        "bad": len((out / "errors.jsonl").read_text(encoding="utf-8").splitlines()),
        "files": len(expected),
        "bytes": sum(map(len, expected.values())),
        "undisturbed": alone,
        "runs": runs,
        "equal": expected == found,
        "masks": len(json.loads((out / "coco.json").read_bytes())["annotations"]),
    }


def command(
    photos: Path, boxes: Path, out: Path, count: int | None = None, number: int = 0
) -> dict[str, Any]:
    """Run the command, and send it a signal once so many photos are done or kept."""
    code = "import sys; from sam_edge.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["batch", str(photos), "-o", str(out), "--prompts", str(boxes), "--resume"]
    start = time.perf_counter()
    events: list[dict[str, Any]] = []
    with subprocess.Popen(
        [sys.executable, "-c", code, *words, "--json-log", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            events.append(json.loads(line))
            seen += events[-1]["event"] == "photo"
            if seen == count and events[-1]["event"] == "photo":
                process.send_signal(number)
    statuses = [event["status"] for event in events if event["event"] == "photo"]
    return {
        "signal": signal.Signals(number).name if number else None,
        "exit_code": process.returncode,
        "seconds": time.perf_counter() - start,
        **{status: statuses.count(status) for status in ("done", "kept", "failed")},
    }


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes by its name; what a killed process left is no file of the run."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".sam-edge-partial")
    }


def timed(folder: Path, count: int, rounds: int, with_ray: bool) -> dict[str, Any]:
    """Time variants in turn; return their rates and what they are to each other."""
    boxes = draw_set(folder / "timed", count, 0)
    cores = cores_here()
    variants: dict[str, Callable[[Path], Iterator[Any]]] = {
        "loop": lambda out: loop(boxes, out),
        "1 process": lambda out: batch(boxes, out, processes=1, threads=cores),
        f"{cores} processes": lambda out: batch(boxes, out, processes=cores, threads=1),
        f"{cores} processes, {cores} threads each": lambda out: batch(
            boxes, out, processes=cores, threads=cores
        ),
    }
    if with_ray:
        variants[f"{cores} Ray workers"] = lambda out: batch(
            boxes, out, engine="ray", processes=cores, threads=1
        )
    times: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for turn in range(rounds):
        for number, (name, work) in enumerate(variants.items()):
            start = time.perf_counter()
            ends = [time.perf_counter() for _ in work(folder / f"timed-{turn}-{number}")]
            assert len(ends) == count, (name, len(ends))
            rate = (count - 1) / (ends[-1] - ends[0])
            times[name].append({"first_s": ends[0] - start, "photos_per_s": rate})
    rates = {
        name: statistics.median(sample["photos_per_s"] for sample in samples)
        for name, samples in times.items()
    }
    processes = rates[f"{cores} processes"]
    ray = rates.get(f"{cores} Ray workers")
    return {
        "photos": count,
        "samples": times,
        "photos_per_s": rates,
        "processes_to_loop": processes / rates["loop"],
        "ray_to_processes": None if ray is None else ray / processes,
    }


def batch(boxes: Path, out: Path, **options: Any) -> Iterator[Any]:  # noqa: ANN401 - Options
    """Do the photos by ``batch``."""
    yield from sam_edge.batch.iterate(boxes.parent / "photos", out, prompts=boxes, **options)


def loop(boxes: Path, out: Path) -> Iterator[str]:
    """Do the photos one after another, as one would without ``batch``."""
    model = sam_edge.load_model(threads=cores_here())
    by_photo: dict[str, list[list[float]]] = {}
    for line in boxes.read_text(encoding="utf-8").splitlines()[1:]:
        name, *corners = line.split(",")[:5]
        by_photo.setdefault(name, []).append([float(corner) for corner in corners])
    found = []
    for name, prompts in by_photo.items():
        embedding = model.encode_image(boxes.parent / "photos" / name)
        for box in prompts:
            result = model.decode(embedding, box=box, multimask=False)
            rle = to_coco_rle(encode_rle(result.masks[0]))
            score = float(result.scores[0])
            found.append({"image": name, "box": box, "segmentation": rle, "score": score})
        yield name
    out.mkdir()
    (out / "masks.json").write_text(json.dumps(found), encoding="utf-8")


def table(record: dict[str, Any]) -> str:
    """Return the rates for people."""
    speed = record["speed"]
    rates = speed["photos_per_s"]
    lines = [f"{name:<32}{rate:8.2f} photos/s" for name, rate in rates.items()]
    lines.append(f"processes to loop: {speed['processes_to_loop']:.2f}")
    if speed["ray_to_processes"] is not None:
        lines.append(f"Ray to processes: {speed['ray_to_processes']:.2f}")
    lines.append(f"killed, resumed, equal: {record['killed']['equal']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
