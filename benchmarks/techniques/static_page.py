"""Measure the page of ``sam-edge web-bundle``: from a first visit to the first mask.

    python benchmarks/techniques/static_page.py   # needs chromium and playwright; writes JSON

Each visit is a new browser with nothing kept, and Python's http.server on this machine: the page is
opened, a photo is given to it at once, and clicked as soon as it can be. Then the host is stopped
and the page loaded again, until it can be clicked. Between visits stands the native encode and
decode of the same photo on two threads, to tell how busy the machine is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Playwright, sync_playwright
from processes import hosted

import sam_edge
from sam_edge.photos import photos_in
from sam_edge.server.web_folder import write_web_folder
from sam_edge.zoo import resolve
from sam_edge_benchmarks.machine import fingerprint, load_average

FOLDER = Path(__file__).parent
CAN_BE_CLICKED = ".stage[data-phase=ready]"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--model")
    parser.add_argument("--visits", type=int, default=7)
    arguments = parser.parse_args()
    photo = photos_in(None)[0]
    bundle = resolve(arguments.model)
    model = sam_edge.load_model(bundle, threads=2)
    visits, own = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "page"
        write_web_folder(bundle, page)
        files = [path for path in page.rglob("*") if path.is_file()]
        for _ in range(arguments.visits):
            with hosted(str(page)) as (address, stop):
                visits.append(visit(playwright, address, photo, stop))
            started = time.perf_counter()
            model.decode(model.encode_image(photo), points=[(140, 160)])
            own.append(1000 * (time.perf_counter() - started))
        stored = sum(path.stat().st_size for path in files)
        packed = sum(len(gzip.compress(path.read_bytes(), 9)) for path in files)
    summary = {
        "variant": model.spec.variant,
        "precision": model.spec.precision,
        "photo": photo.name,
        "files_bytes": stored,
        "gzip_bytes": packed,
        "native_encode_and_decode_p50_ms": round(statistics.median(own), 1),
    }
    for key in visits[0]:
        summary[f"{key}_p50"] = round(statistics.median(entry[key] for entry in visits))
        summary[f"{key}_least"] = round(min(entry[key] for entry in visits))
    load = load_average()
    print(json.dumps({**summary, "load_average": load}, indent=2))
    name = "" if summary["variant"] == "nano" else f"-{summary['variant']}"
    record: dict[str, Any] = {"machine": fingerprint(), "load_average": load, "summary": summary}
    record |= {"native_encode_and_decode_ms": own, "visits": visits}
    text = json.dumps(record, indent=1) + "\n"
    (FOLDER / f"static_page{name}.json").write_text(text, encoding="utf-8")


def visit(
    playwright: Playwright, address: str, photo: Path, stop: Callable[[], None]
) -> dict[str, float]:
    """Visit for the first time, and again without the host; in milliseconds."""
    browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    started = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(".welcome:not([hidden])", timeout=120_000)
    shown = time.perf_counter()
    page.set_input_files("input[type=file]", photo)
    page.wait_for_selector(CAN_BE_CLICKED, timeout=120_000)
    box = page.locator(".picture").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".objects li", timeout=120_000)
    masked = time.perf_counter()
    page.wait_for_selector(".status[data-kind=saved]", timeout=120_000)
    stop()
    again = time.perf_counter()
    page.reload()
    page.wait_for_selector(CAN_BE_CLICKED, timeout=120_000)
    reopened = time.perf_counter()
    browser.close()
    return {
        "page_ms": 1000 * (shown - started),
        "first_mask_ms": 1000 * (masked - started),
        "without_host_ms": 1000 * (reopened - again),
    }


if __name__ == "__main__":
    main()
