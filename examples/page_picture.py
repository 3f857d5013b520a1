"""Draw docs/page.png: the page of ``sam-edge serve`` at work, in a real browser.

python examples/page_picture.py   # needs chromium, and playwright beside 'sam-edge[serve,cpu]'
"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import sam_edge

ROOT = Path(__file__).parents[1]
PHOTO = Path(sam_edge.__file__).parent / "assets" / "photos" / "astronaut.jpg"
COLOURS = 256
"""A palette makes the picture a third as large; a photograph of this size shows no banding."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        photos = Path(folder) / "photos"
        photos.mkdir()
        shutil.copy(PHOTO, photos)
        command = [sys.executable, "-m", "sam_edge.cli", "serve", str(photos), "--no-browser"]
        server = subprocess.Popen(
            [*command, "--port", "0", "--uploads", f"{folder}/uploads"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            page = browser.new_page(viewport={"width": 1180, "height": 700})
            page.goto(server.stdout.readline().strip())
            page.wait_for_selector(".stage[data-phase=ready]")
            annotate(page)
            with Image.open(io.BytesIO(page.screenshot())) as shot:
                picture = shot.convert("RGB").quantize(COLOURS, kmeans=4)
            picture.save(ROOT / "docs" / "page.png", optimize=True)
            browser.close()
        finally:
            server.terminate()
            server.wait(20)


def annotate(page: Page) -> None:
    """Three objects by boxes, of which the last is being worked on."""
    for label, start, end in (
        ("helmet", (262, 335), (500, 511)),
        ("rocket", (350, 5), (470, 300)),
        ("face", (150, 10), (300, 190)),
    ):
        page.keyboard.press("Escape")
        page.keyboard.press("l")
        page.keyboard.type(label)
        page.keyboard.press("Enter")
        page.mouse.move(*at(page, *start))
        page.mouse.down()
        page.mouse.move(*at(page, *end), steps=5)
        page.mouse.up()
        page.wait_for_selector("body:not([data-busy])")
    page.mouse.click(*at(page, 225, 100))
    page.wait_for_selector("body:not([data-busy])")
    page.mouse.click(*at(page, 170, 270), button="right")
    page.wait_for_selector("body:not([data-busy])")
    page.get_by_role("button", name="Others").click()
    page.get_by_role("button", name="answer").click()
    page.mouse.move(10, 300)
    page.wait_for_timeout(4500)  # until the notice has gone


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    box = page.locator(".picture").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"] / 512, box["y"] + y * box["height"] / 512


if __name__ == "__main__":
    main()
