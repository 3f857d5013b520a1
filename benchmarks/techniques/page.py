"""Measure the page of ``sam-edge serve``: from a move to its mask, by server and in the page.

    python benchmarks/techniques/page.py   # needs chromium and playwright; writes page*.json

A real Chromium without a window moves its mouse over a photo, each time waiting for the mask. The
page itself notes when the browser got the move and when the mask was drawn. Between the moves, some
at a time, stands the native decode: the decoder's session alone, in this process, on two threads,
by the engine that the page has, in float32 as there: all of the graph, of which the page's own
decoder computes what depends on the photo alone before the first move.
Ratios are to that of the same minute, as other programs may run. "while encoding" is by server
while the server's process for the next photo encodes one after the other. Masks by the page's own
decoder are compared with Python's for the same points, on the float16 embedding that the page
gets, and on the float32 one.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import shutil
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from processes import served

import sam_edge
from sam_edge.masks.quality import iou
from sam_edge.photos import photos_in
from sam_edge.spec import PROMPT_ENCODER_MASK_DECODER
from sam_edge.zoo import resolve
from sam_edge_benchmarks.machine import fingerprint, load_average
from sam_edge_runtimes import open_session

FOLDER = Path(__file__).parent
THREADS = 2
ENGINE, FORMAT = "onnxruntime", "float32"
ENGINE_WORDS = ["--runtime", ENGINE, "--compute", FORMAT]
AT_ONCE = 10

WATCH = """() => {
  window.drawn = [];
  window.tasks = [];
  let moved = 0;
  document.querySelector(".stage").addEventListener(
    "pointerrawupdate", event => { moved = event.timeStamp; }, true);
  document.addEventListener("preview-drawn", ({ detail }) => window.drawn.push({
    moved_to_drawn_ms: performance.now() - moved, decode_ms: detail.ms, route: detail.route,
    scale: detail.scale, left: detail.candidates[0].region.left,
    start: [...detail.candidates[0].region.start], rows: [...detail.candidates[0].region.rows],
  }));
  new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(e => e.duration)))
    .observe({ type: "longtask" });
}"""

# Not Playwright's own waiting, which evaluates text: the page's policy forbids that.
WAIT = """count => new Promise((resolve, reject) => {
  if (window.drawn.length > count) return resolve();
  document.addEventListener("preview-drawn", () => setTimeout(resolve), { once: true });
  setTimeout(() => reject(new Error("no mask was drawn in 30 seconds")), 30000);
})"""


def main() -> None:
    """Measure every way, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--moves", type=int, default=120)
    arguments = parser.parse_args()
    photo = photos_in(None)[0]
    spec = sam_edge.load_model(arguments.model).spec
    report: dict[str, Any] = {
        "machine": fingerprint(),
        "model": spec.variant,
        "random_weights": spec.source.random,
        "photo": photo.name,
    }
    decode = native(arguments.model, photo)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shutil.copy(photo, folder)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        report["chromium"] = browser.version
        words = [
            folder,
            "-m",
            arguments.model,
            "--threads",
            str(THREADS),
            *ENGINE_WORDS,
            "--uploads",
        ]
        with served(*words, f"{folder}/up") as (address, _):
            for name, query in (
                ("server", "route=server"),
                ("page, 1 thread", "route=page&threads=1"),
                ("page, 2 threads", "route=page&threads=2"),
            ):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                report[name] = hover(page, f"{address}?{query}", arguments.moves, decode)
                if "2 threads" in name:
                    for dtype in ("float16", "float32"):
                        report[f"page_least_iou_{dtype}"] = agreement(
                            arguments.model, photo, report[name]["masks"], dtype
                        )
                page.close()
            with encoding_ahead(address) as report["encodes_ahead_ms"]:
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                report["server, while encoding"] = hover(
                    page, f"{address}?route=server", arguments.moves, decode
                )
        browser.close()
    report["load_average"] = load_average()
    summary = summarise(report)
    print(json.dumps(summary, indent=2))
    for value in report.values():
        if isinstance(value, dict):
            value.pop("masks", None)
    variant = report["model"]
    name = "page.json" if variant == "nano" else f"page-{variant}.json"
    (FOLDER / name).write_text(
        json.dumps({"summary": summary, **report}, indent=1) + "\n", encoding="utf-8"
    )


def native(name: str, photo: Path) -> Callable[[], float]:
    """Return what runs the decoder's graph once, whole, and says how long it took, in milliseconds.

    ``model.decode`` computes what depends on the photo alone once; this is the measure that stays.
    """
    model = sam_edge.load_model(name, ENGINE, THREADS, compute=FORMAT)
    spec = model.spec
    grid, side = spec.embedding_size, spec.low_res_size
    graph = spec.graph(PROMPT_ENCODER_MASK_DECODER, ENGINE)
    session = open_session(
        ENGINE,
        resolve(name) / graph.file,
        threads=THREADS,
        compute=FORMAT,
        input_shapes={tensor.name: tensor.shape for tensor in graph.inputs},
        fixed={"grid_height": grid, "grid_width": grid, "mask_height": side, "mask_width": side},
    )
    feeds = {
        **model.encode_image(photo).features,
        "point_coords": np.array([[[140, 160], [0, 0]]], np.float32),
        "point_labels": np.array([[1, -1]], np.float32),
        "mask_input": np.zeros((1, 1, side, side), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }

    def decode() -> float:
        started = time.perf_counter()
        session.run(feeds)
        return 1000 * (time.perf_counter() - started)

    for _ in range(10):
        decode()
    return decode


def hover(page: Page, address: str, moves: int, decode: Callable[[], float]) -> dict[str, Any]:
    """Move over the photo, each time waiting for the mask, and decode natively now and then."""
    page.goto(address)
    page.wait_for_selector(".stage[data-phase=ready]", timeout=120_000)
    page.evaluate(WATCH)
    wanted = "page" if "route=page" in address else "server"
    box = page.locator(".picture").bounding_box()
    assert box is not None
    rng = np.random.default_rng(0)

    def move() -> None:
        count = page.evaluate("window.drawn.length")
        x, y = rng.uniform(0.1, 0.9, 2)
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.evaluate(WAIT, count)
        positions.append((float(x), float(y)))

    positions: list[tuple[float, float]] = []
    # Until the page has opened its decoder, and warmed it up.
    for _ in range(100):
        page.wait_for_timeout(1000)
        move()
        if page.evaluate("window.drawn.at(-1).route") == wanted:
            break
    page.wait_for_timeout(4000)
    for _ in range(20):
        move()
    page.evaluate("() => { window.drawn = []; window.tasks = []; }")
    positions.clear()
    own = []
    for number in range(moves):
        move()
        if number % AT_ONCE == AT_ONCE - 1:
            page.wait_for_timeout(200)
            own += [decode() for _ in range(AT_ONCE)]
            page.wait_for_timeout(200)
    drawn = page.evaluate("window.drawn")
    assert {entry["route"] for entry in drawn} == {wanted}
    return {
        "moved_to_drawn_ms": [entry["moved_to_drawn_ms"] for entry in drawn],
        "decode_ms": [entry["decode_ms"] for entry in drawn],
        "native_decode_ms": own,
        "main_thread_tasks_over_50_ms": page.evaluate("window.tasks"),
        "masks": [(*position, entry) for position, entry in zip(positions, drawn, strict=True)],
    }


@contextmanager
def encoding_ahead(address: str) -> Iterator[dict[str, list[float]]]:
    """Keep the server's process for the next photo at work: ever another part of a large one.

    Yields what encodes take in ms, by whether anything else was done meanwhile.
    """
    noise = np.random.default_rng(1).integers(0, 255, (1200, 1800, 3), np.uint8)
    picture = io.BytesIO()
    Image.fromarray(noise).save(picture, format="JPEG")
    photo = json.loads(ask(f"{address}v1/photos?name=noise.jpg", picture.getvalue()))["id"]
    cuts = itertools.count(1)
    took: dict[str, list[float]] = {"alone": [], "beside_hovering": []}
    stop = threading.Event()

    def encode(which: str) -> None:
        cut = next(cuts)
        part = [0, 0, 1800 - cut % 600, 1200 - cut // 600]
        question = {"photo": photo, "part": part, "ahead": True}
        started = time.perf_counter()
        # Not what waits for it: were the page's own first, that would be encoded beside it.
        while json.loads(ask(f"{address}v1/encode", question)).get("state") == "ahead":
            time.sleep(0.02)
        took[which].append(1000 * (time.perf_counter() - started))

    def keep_on() -> None:
        while not stop.is_set():
            encode("beside_hovering")

    for _ in range(AT_ONCE):
        encode("alone")
    worker = threading.Thread(target=keep_on, daemon=True)
    worker.start()
    yield took
    stop.set()
    worker.join(60)


def ask(url: str, body: bytes | dict[str, Any]) -> bytes:
    """POST bytes or JSON and wait for the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    headers = {"Content-Type": kind, "X-Client": "benchmark1"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return bytes(answer.read())


def agreement(
    name: str, photo: Path, masks: list[tuple[float, float, dict[str, Any]]], dtype: str
) -> float:
    """The least IoU of the page's masks with Python's, for the same points."""
    model = sam_edge.load_model(name, ENGINE, THREADS, compute=FORMAT)
    exact = model.encode_image(photo)
    rounded = {key: value.astype(dtype).astype("float32") for key, value in exact.features.items()}
    embedding = replace(exact, features=rounded)
    height, width = embedding.original_size
    least = 1.0
    for x, y, entry in masks:
        if entry["scale"] != 1:
            raise SystemExit("the photo is shown smaller than it is: masks cannot be compared")
        point = round(x * width, 1), round(y * height, 1)
        result = model.decode(embedding, points=[point])
        expected = result.masks[int(np.argmax(result.scores))]
        least = min(least, iou(expected, drawn_mask(entry, expected.shape)))
    return least


def drawn_mask(entry: dict[str, Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The page's runs down the columns as a mask."""
    mask = np.zeros(shape, np.bool_)
    start, rows = entry["start"], entry["rows"]
    for column in range(len(start) - 1):
        for run in range(start[column], start[column + 1]):
            mask[rows[2 * run] : rows[2 * run + 1], entry["left"] + column] = True
    return mask


def summarise(report: dict[str, Any]) -> dict[str, Any]:
    """Medians, and ratios to the native decode of the same run."""
    summary: dict[str, Any] = {"load_average": report["load_average"]}
    summary |= {key: value for key, value in report.items() if key.startswith("page_least_iou")}
    for name, value in report.items():
        if not isinstance(value, dict) or "decode_ms" not in value:
            continue
        own = statistics.median(value["native_decode_ms"])
        decode = statistics.median(value["decode_ms"])
        moved = value["moved_to_drawn_ms"]
        summary[name] = {
            "native_decode_p50_ms": round(own, 1),
            "decode_p50_ms": round(decode, 1),
            "decode_to_native": round(decode / own, 2),
            "moved_to_drawn_p50_ms": round(statistics.median(moved), 1),
            "moved_to_drawn_p95_ms": round(float(np.quantile(moved, 0.95)), 1),
            "p50_beyond_decode_ms": round(statistics.median(moved) - decode, 1),
            "tasks_over_50_ms": len(value["main_thread_tasks_over_50_ms"]),
        }
    if "server, while encoding" in summary:
        idle, busy = summary["server"], summary["server, while encoding"]
        ratio = busy["moved_to_drawn_p50_ms"] / idle["moved_to_drawn_p50_ms"]
        summary["while_encoding_to_idle"] = round(ratio, 2)
        summary["encodes_ahead_p50_ms"] = {
            how: round(statistics.median(took), 1)
            for how, took in report["encodes_ahead_ms"].items()
        }
    return summary


if __name__ == "__main__":
    main()
