"""The page without a server of ours: a folder, served by Python's plain http.server."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_edge.cli import main
from sam_edge.masks import decode_rle, from_coco_rle
from sam_edge.masks.quality import iou
from tests.browser.conftest import CHROMIUM, PHOTOS, Page, Served
from tests.browser.marionette import firefox

TRAINED = Path(__file__).parents[2] / "export" / "training" / "nano.safetensors"
FIREFOX = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("static") / "page"
    assert main(["web-bundle", str(out)]) == 0
    return out


@pytest.fixture
def host(folder: Path) -> Iterator[Callable[..., Served]]:
    """Serve a folder as part of a site, with no header but those of plain files."""
    running: list[Served] = []

    def start(folder: Path = folder) -> Served:
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
        process = subprocess.Popen(
            [*command, "--directory", str(folder.parent)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        found = re.search(r"port (\d+)", process.stdout.readline())
        assert found is not None
        running.append(Served(f"http://127.0.0.1:{found[1]}/{folder.name}/", process, None))
        return running[-1]

    yield start
    for served in running:
        served.kill()
        assert served.process.stdout is not None
        served.process.stdout.close()


def visit(page: Page) -> None:
    page.tab.goto(page.served.address)
    page.tab.wait_for_selector(".welcome:not([hidden])", timeout=60_000)


def add(page: Page, *photos: Path) -> None:
    page.tab.set_input_files("input[type=file]", [str(photo) for photo in photos])
    page.ready()


def exported(page: Page, name: str) -> tuple[str, bytes]:
    page.settled()
    page.press("x")
    page.tab.get_by_role("radio", name=name).check()
    with page.tab.expect_download() as download:
        page.tab.locator("form.export button.primary").click()
    page.tab.wait_for_selector("dialog", state="detached")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def exported_mask(page: Page) -> np.ndarray[Any, Any]:
    name, data = exported(page, "PNG masks")
    assert name.endswith("-mask.png")
    return np.asarray(Image.open(BytesIO(data))) == 255


def prompt_of(page: Page) -> dict[str, Any]:
    """The only object's prompt, out of the page's own store."""
    return page.tab.evaluate(
        """() => new Promise((resolve, reject) => {
            const opening = indexedDB.open(`sam-edge ${location.pathname}`);
            opening.onerror = () => reject(opening.error);
            opening.onsuccess = () => {
                const store = opening.result.transaction("objects").objectStore("objects");
                store.getAll().onsuccess = ({ target }) => {
                    opening.result.close();
                    resolve(target.result.flat()[0].prompt);
                };
            };
        })"""
    )


def segmented(photo: Path, out: Path, *words: str) -> np.ndarray[Any, Any]:
    """What ``sam-edge segment`` writes."""
    assert main(["segment", str(photo), *words, "-o", str(out)]) == 0
    return np.asarray(Image.open(out)) == 255


def as_words(prompt: dict[str, Any]) -> list[str]:
    words = []
    for (x, y), label in zip(prompt["points"], prompt["labels"], strict=True):
        words += ["--point", f"{x},{y},{label}"]
    return words + (["--box", ",".join(map(str, prompt["box"]))] if prompt["box"] else [])


def test_a_mask_is_segments_own_and_the_page_outlives_its_host(host, browse, tmp_path):
    served = host()
    page = browse(served)
    visit(page)
    assert page.tab.evaluate("crossOriginIsolated"), "the service worker's headers give threads"
    photo = PHOTOS / "chelsea.jpg"
    add(page, photo)
    page.click(0.5, 0.5)
    page.saved()
    mask = exported_mask(page)
    assert mask.sum() > 1000
    out = tmp_path / "mask.png"
    assert iou(mask, segmented(photo, out, *as_words(prompt_of(page)))) >= 0.999

    served.kill()
    page.tab.reload()
    page.ready()
    page.tab.locator(".objects .choose").first.click()
    page.click(0.3, 0.6)
    page.click(0.7, 0.2, button="right")
    page.saved()
    prompt = prompt_of(page)
    assert len(prompt["points"]) == 3
    assert iou(exported_mask(page), segmented(photo, out, *as_words(prompt))) >= 0.999
    page.tab.goto(f"{served.address}index.html")
    page.ready()
    assert len(page.rows) == 1
    assert page.problems == []
    page.tab.goto(f"{served.address}licences.txt")
    assert "MIT License" in page.tab.locator("body").inner_text()
    page.tab.wait_for_timeout(500)
    page.problems.clear()  # the browser itself asks for the text's icon


@pytest.mark.slow
def test_a_larger_model_is_the_pages_on_request(host, browse, tmp_path):
    """Of MobileSAM: random weights in the encoder, trained ones in the decoder."""
    pytest.importorskip("torch")
    from sam_edge_export.seeded import seeded_checkpoint

    checkpoint = seeded_checkpoint("mobile_sam", 1024, 0, tmp_path / "seeded.pth", TRAINED)
    bundle, out = tmp_path / "bundle", tmp_path / "page"
    assert main(["export", str(checkpoint), "-o", str(bundle), "--no-verify"]) == 0
    assert main(["web-bundle", str(out), "-m", str(bundle)]) == 0
    served = host(out)
    page = browse(served)
    visit(page)
    photo = PHOTOS / "chelsea.jpg"
    add(page, photo)
    page.click(0.5, 0.5)
    page.saved()
    mask = exported_mask(page)
    prompt = prompt_of(page)
    assert 0.001 < mask.mean() < 0.999
    expected = segmented(photo, tmp_path / "mask.png", *as_words(prompt), "-m", str(bundle))
    assert iou(mask, expected) >= 0.999

    served.kill()
    page.tab.reload()
    page.ready()
    page.tab.locator(".objects .choose").first.click()
    assert iou(exported_mask(page), expected) >= 0.999
    assert page.problems == []


def strange_photos(folder: Path) -> dict[str, Path]:
    """The same photo as files that browsers like to show otherwise than they are."""
    photo = Image.open(PHOTOS / "chelsea.jpg")
    turned = folder / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.rotate(90, expand=True).save(turned, exif=exif, quality=95)
    clear = folder / "clear.png"
    alpha = Image.fromarray(np.tile(np.arange(photo.width, dtype=np.uint8), (photo.height, 1)))
    seen = photo.copy()
    seen.putalpha(alpha)
    seen.save(clear)
    grey = folder / "grey.png"
    photo.convert("L").save(grey)
    large = folder / "large.webp"
    photo.resize((2055, 1367)).save(large, lossless=True)
    return {path.stem: path for path in (turned, clear, grey, large)}


@pytest.mark.parametrize("kind", ["turned", "clear", "grey", "large"])
def test_photos_are_read_as_sam_edge_reads_them(host, browse, tmp_path, kind):
    photo = strange_photos(tmp_path)[kind]
    page = browse(host())
    visit(page)
    add(page, photo)
    page.drag((0.2, 0.15), (0.8, 0.85))
    page.saved()
    prompt = prompt_of(page)
    assert prompt["box"] is not None
    mask = segmented(photo, tmp_path / "mask.png", *as_words(prompt))
    assert iou(exported_mask(page), mask) >= 0.999


def test_a_mask_drawn_by_hand_is_gone_on_from(host, browse, tmp_path):
    page = browse(host())
    visit(page)
    photo = PHOTOS / "coffee.jpg"
    add(page, photo)
    page.press("b")
    page.drag((0.3, 0.5), (0.6, 0.5))
    drawn = exported_mask(page)
    page.press("s")
    page.click(0.5, 0.45)
    page.saved()
    assert len(page.rows) == 1
    height, width = drawn.shape
    Image.fromarray(drawn).save(tmp_path / "drawn.png")
    point = f"{0.5 * width:g},{0.45 * height:g}"
    words = ["--point", point, "--mask", str(tmp_path / "drawn.png")]
    mask = segmented(photo, tmp_path / "mask.png", *words)
    assert iou(exported_mask(page), mask) >= 0.999


def test_objects_of_several_photos_go_out_as_coco_and_as_label_maps(host, browse, tmp_path):
    page = browse(host())
    visit(page)
    add(page, PHOTOS / "coffee.jpg", PHOTOS / "rocket.jpg")
    for at in ((0.5, 0.5), (0.2, 0.2)):
        page.click(*at)
        page.press("Enter")
    page.saved()
    page.press(".")
    page.ready()
    page.click(0.5, 0.5)
    page.saved()
    page.press("x")
    assert page.tab.locator("form.export fieldset").first.locator("label").count() == 3
    page.tab.get_by_role("radio", name="All photos").check()
    with page.tab.expect_download() as download:
        page.tab.locator("form.export button.primary").click()
    assert download.value.suggested_filename == "annotations.json"
    document = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert [image["file_name"] for image in document["images"]] == ["coffee.jpg", "rocket.jpg"]
    assert [entry["image_id"] for entry in document["annotations"]] == [1, 1, 2]
    masks = [decode_rle(from_coco_rle(entry["segmentation"])) for entry in document["annotations"]]
    for entry, mask in zip(document["annotations"], masks, strict=True):
        assert entry["area"] == mask.sum() > 0
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, top = int(columns[0]), int(rows[0])
        assert entry["bbox"] == [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
    page.tab.wait_for_selector("dialog", state="detached")
    page.press(",")
    page.ready()
    name, data = exported(page, "PNG label map")
    assert name == "coffee-labels.png"
    labels = np.asarray(Image.open(BytesIO(data)))
    first, second = sorted(masks[:2], key=np.sum)
    small = 1 if first is masks[0] else 2
    assert np.array_equal(labels == small, first)
    assert np.array_equal(labels == 3 - small, second & ~first)
    _, data = exported(page, "PNG masks")
    (tmp_path / "masks.zip").write_bytes(data)
    subprocess.run([sys.executable, "-m", "zipfile", "-t", tmp_path / "masks.zip"], check=True)


def test_two_tabs_do_not_lose_each_others_work(host, browse):
    served = host()
    one = browse(served)
    visit(one)
    add(one, PHOTOS / "coffee.jpg")
    two = browse(served, context=one.tab.context)
    two.tab.goto(one.tab.url)
    two.ready()
    one.click(0.5, 0.5)
    one.saved()
    two.click(0.2, 0.2)
    two.tab.locator("dialog.conflict").wait_for()
    two.tab.get_by_text("Keep both").click()
    two.saved()
    assert len(two.rows) == 2


def test_without_https_it_works_on_one_thread(host, browse, chromium):
    """A machine's own name over plain http: no service worker, no shared memory."""
    served = host()
    rules = "--host-resolver-rules=MAP page.test 127.0.0.1"
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=[rules])
    try:
        served.address = served.address.replace("127.0.0.1", "page.test")
        page = browse(served, context=browser.new_context())
        visit(page)
        assert not page.tab.evaluate("crossOriginIsolated")
        add(page, PHOTOS / "coffee.jpg")
        page.click(0.5, 0.5)
        page.saved()
        assert len(page.rows) == 1
    finally:
        browser.close()


def test_what_needs_a_server_is_not_offered(host, browse):
    page = browse(host())
    visit(page)
    add(page, PHOTOS / "coffee.jpg")
    assert page.tab.get_by_role("button", name="Everything").count() == 0
    assert page.tab.locator("form.words").count() == 0
    page.press("?")
    text = page.tab.locator("dialog").inner_text()
    assert "Everything" not in text
    assert "in this page" in text


ADD_PHOTO = """
const [name, text] = arguments;
const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const files = new DataTransfer();
files.items.add(new File([bytes], name, { type: "image/jpeg", lastModified: 1 }));
document.querySelector("input[type=file]").files = files.files;
document.querySelector("input[type=file]").dispatchEvent(new Event("change"));
"""

CLICK = """
const box = document.querySelector(".picture").getBoundingClientRect();
return [box.x + box.width / 2, box.y + box.height / 2].map(Math.round);
"""

OBJECTS = """
return new Promise((resolve) => {
    indexedDB.open(`sam-edge ${location.pathname}`).onsuccess = ({ target: { result } }) => {
        const store = result.transaction("objects").objectStore("objects");
        store.getAll().onsuccess = ({ target }) => resolve(target.result.flat());
    };
});
"""


@pytest.mark.skipif(FIREFOX is None, reason="there is no Firefox: apt-get install firefox-esr")
def test_firefox_too_gives_segments_mask_and_outlives_the_host(host, tmp_path):
    served = host()
    photo = PHOTOS / "chelsea.jpg"
    with firefox(str(FIREFOX), tmp_path / "profile") as window:
        window.call("WebDriver:Navigate", {"url": served.address})
        window.wait_for("document.querySelector('.welcome:not([hidden])') && crossOriginIsolated")
        window.evaluate(ADD_PHOTO, photo.name, base64.b64encode(photo.read_bytes()).decode())
        window.wait_for("document.querySelector('.stage[data-phase=ready]')")
        x, y = window.evaluate(CLICK)
        mouse = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        actions = [{"type": "pointer", "id": "mouse", "actions": mouse}]
        window.call("WebDriver:PerformActions", {"actions": actions})
        window.wait_for("document.querySelector('.objects li')")
        window.wait_for("document.querySelector('.status[data-kind=saved]')")
        (found,) = window.evaluate(OBJECTS)
        served.kill()
        window.call("WebDriver:Navigate", {"url": "about:blank"})
        window.call("WebDriver:Navigate", {"url": served.address})
        window.wait_for("document.querySelector('.stage[data-phase=ready]')")
        window.wait_for("document.querySelector('.objects li')")
    mask = segmented(photo, tmp_path / "mask.png", *as_words(found["prompt"]))
    assert iou(decode_rle(from_coco_rle(found["rle"])), mask) >= 0.999
