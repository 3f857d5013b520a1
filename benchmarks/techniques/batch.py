"""Measure ``sam-edge batch``: a thousand photos killed twice, and how fast photos are done.

    python benchmarks/techniques/batch.py   # quiet: some eight minutes; writes batch.json
    python benchmarks/techniques/batch.py --runtime openvino --compute bfloat16 \
        -o benchmarks/techniques/batch-amx-bfloat16.json  # on a processor that has AMX

The photos are drawn: 640 x 480 JPEG, two boxes each in a CSV, ten of a thousand cut off. The model
is the one in the box.

``killed``: the command is killed with ``kill -9`` after a third of the photos, stopped with SIGINT
after another, and resumed to its end; its files are compared with those of a run that nobody
disturbed, byte for byte.

``speed``: variants take turns, all with the same engine and format. ``loop`` is what one writes
without ``batch``: ``encode_image``, ``decode`` for each box, run lengths, one JSON at the end, in
one process with an engine thread a core. ``engines alone`` runs the two graphs on inputs that are
there already, in a process a core: no batch can be faster. Rates, and the time of processors that
the script and all of its processes used, are of the photos after the first fifth, when every
process is open: Ray's takes seconds. Ratios are medians of those within a turn.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
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
from processes import processor_seconds

import sam_edge
import sam_edge.batch
from sam_edge.image import preprocess, read_image
from sam_edge.masks import encode_rle, to_coco_rle
from sam_edge.prompts import Prompt, sparse_prompts
from sam_edge.spec import IMAGE_ENCODER
from sam_edge_benchmarks.machine import fingerprint, software
from sam_edge_runtimes.threads import cores_here

RESULT = Path(__file__).parent / "batch.json"
SIZE = (480, 640)  # height, width
UNCOUNTED = 1 / 5
"""Of the photos: the first ones, while processes start."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=1000, help="of the killed run; 0: none")
    parser.add_argument("--bad", type=int, default=10, help="of them, cut off")
    parser.add_argument("--speed-photos", type=int, default=400, help="of each timed run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--runtime", default="onnxruntime", help="of the timed runs")
    parser.add_argument("--compute", default="float32", help="likewise")
    parser.add_argument("--scratch", type=Path, help="a folder to work in; default: a new one")
    parser.add_argument("-o", "--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sam-edge-batch-", dir=arguments.scratch) as folder:
        record = measure(arguments, Path(folder))
    text = json.dumps(record, indent=1) + "\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)
    print(table(record))
    if arguments.out.resolve().parent == RESULT.parent:
        scale.main()  # docs/scale.md tells of it


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the record."""
    machine = fingerprint()
    before = os.getloadavg()
    killed = None
    if arguments.photos:
        start = time.perf_counter()
        killed = killed_twice(folder, arguments.photos, arguments.bad)
        killed["seconds"] = time.perf_counter() - start
    how = {"runtime": arguments.runtime, "compute": arguments.compute}
    speed = timed(folder, arguments.speed_photos, arguments.rounds, not arguments.no_ray, how)
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


def timed(
    folder: Path, count: int, rounds: int, with_ray: bool, how: dict[str, str]
) -> dict[str, Any]:
    """Time variants in turn; return their rates and what they are to each other.

    Args:
        folder: to work in.
        count: photos of each run.
        rounds: runs of each variant.
        with_ray: whether Ray is one.
        how: ``runtime`` and ``compute`` of all of them.
    """
    boxes = draw_set(folder / "timed", count, 0)
    cores = cores_here()
    loop_name, alone = "loop", f"{cores} processes, engines alone"
    many, of_ray = f"{cores} processes", f"{cores} Ray workers"
    variants: dict[str, Callable[[Path], Iterator[Any]]] = {
        loop_name: lambda out: loop(boxes, out, how),
        "1 process": lambda out: batch(boxes, out, processes=1, threads=cores, **how),
        many: lambda out: batch(boxes, out, processes=cores, threads=1, **how),
        f"{cores} processes, {cores} threads each": lambda out: batch(
            boxes, out, processes=cores, threads=cores, **how
        ),
        alone: lambda out: engines_alone(boxes, count, how),
    }
    if with_ray:
        variants[of_ray] = lambda out: ray_batch(boxes, out, processes=cores, threads=1, **how)
    uncounted = max(1, int(UNCOUNTED * count))
    times: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for turn in range(rounds):
        for number, (name, work) in enumerate(variants.items()):
            start = time.perf_counter()
            ends, used = [], []
            for _ in work(folder / f"timed-{turn}-{number}"):
                ends.append(time.perf_counter())
                if len(ends) in (uncounted, count):
                    used.append(processor_seconds())
            assert len(ends) == count, (name, len(ends))
            counted = count - uncounted
            times[name].append(
                {
                    "first_s": ends[0] - start,
                    "photos_per_s": counted / (ends[-1] - ends[uncounted - 1]),
                    "core_ms_per_photo": 1000 * (used[1] - used[0]) / counted,
                }
            )
    rates, used_ms = (
        {
            name: statistics.median(sample[key] for sample in samples)
            for name, samples in times.items()
        }
        for key in ("photos_per_s", "core_ms_per_photo")
    )

    def in_turn(name: str, other: str) -> float:
        """Compare what ran one after the other: machines' speeds drift."""
        pairs = zip(times[name], times[other], strict=True)
        return statistics.median(a["photos_per_s"] / b["photos_per_s"] for a, b in pairs)

    return {
        **how,
        "photos": count,
        "samples": times,
        "photos_per_s": rates,
        "core_ms_per_photo": used_ms,
        "processes_to_loop": in_turn(many, loop_name),
        "engines_alone_to_loop": in_turn(alone, loop_name),
        "ray_to_processes": in_turn(of_ray, many) if with_ray else None,
    }


def batch(boxes: Path, out: Path, **options: Any) -> Iterator[Any]:  # noqa: ANN401 - Options
    """Do the photos by ``batch``."""
    yield from sam_edge.batch.iterate(boxes.parent / "photos", out, prompts=boxes, **options)


def ray_batch(boxes: Path, out: Path, **options: Any) -> Iterator[Any]:  # noqa: ANN401 - Options
    """Do the photos by ``batch`` on Ray, and leave nothing of it to run beside the others."""
    yield from batch(boxes, out, engine="ray", **options)
    import ray

    ray.shutdown()


def engines_alone(boxes: Path, count: int, how: dict[str, str]) -> Iterator[Any]:
    """Run the graphs as often as ``count`` photos need, in a process a core."""
    context = multiprocessing.get_context("spawn")
    ends = context.SimpleQueue()
    cores = cores_here()
    shares = [count // cores + (number < count % cores) for number in range(cores)]
    workers = [context.Process(target=run_graphs, args=(boxes, n, how, ends)) for n in shares]
    for worker in workers:
        worker.start()
    for _ in range(count):
        yield ends.get()
    for worker in workers:
        worker.join()


def run_graphs(boxes: Path, count: int, how: dict[str, str], ends: Any) -> None:  # noqa: ANN401 - a queue
    """Encode and decode what is prepared, with one thread, and tell of each time."""
    model = sam_edge.load_model(None, how["runtime"], 1, compute=how["compute"])
    (name, prompts), (other, _) = list(prompts_by_photo(boxes).items())[:2]
    photos = [read_image(boxes.parent / "photos" / each) for each in (name, other)]
    prepared = preprocess(photos[0], model.spec)
    # In turn: of the photo that it decoded last, a model still holds what depends on it alone.
    embedding, another = (model.encode_image(pixels) for pixels in photos)
    sizes = (embedding.original_size, embedding.input_size)
    sparse = [sparse_prompts(Prompt.of(box=box), *sizes) for box in prompts]
    coords, labels = (np.stack(part) for part in zip(*sparse, strict=True))
    for _ in range(count):
        model.sessions[IMAGE_ENCODER].run({"image": prepared})
        model.decode_tensors(embedding, coords, labels)
        embedding, another = another, embedding
        ends.put(None)


def prompts_by_photo(boxes: Path) -> dict[str, list[list[float]]]:
    """Read the CSV."""
    by_photo: dict[str, list[list[float]]] = {}
    for line in boxes.read_text(encoding="utf-8").splitlines()[1:]:
        name, *corners = line.split(",")[:5]
        by_photo.setdefault(name, []).append([float(corner) for corner in corners])
    return by_photo


def loop(boxes: Path, out: Path, how: dict[str, str]) -> Iterator[str]:
    """Do the photos one after another, as one would without ``batch``."""
    model = sam_edge.load_model(None, how["runtime"], cores_here(), compute=how["compute"])
    found = []
    for name, prompts in prompts_by_photo(boxes).items():
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
    lines = [
        f"{name:<32}{rate:8.2f} photos/s{speed['core_ms_per_photo'][name]:8.1f} ms of a core each"
        for name, rate in speed["photos_per_s"].items()
    ]
    ratios = ("processes_to_loop", "engines_alone_to_loop", "ray_to_processes")
    lines += [f"{key}: {speed[key]:.2f}" for key in ratios if speed[key] is not None]
    if record["killed"] is not None:
        lines.append(f"killed, resumed, equal: {record['killed']['equal']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
