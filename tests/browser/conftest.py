"""A served folder of real photos, and the page on it in Debian's Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import sam_edge

PHOTOS = Path(sam_edge.__file__).parent / "assets" / "photos"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


WEB = Path(sam_edge.__file__).parent / "server" / "web"


@pytest.fixture(scope="session")
def page_code(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Bundle some of the page's modules, for node."""
    rolldown = WEB / "node_modules" / "rolldown" / "bin" / "cli.mjs"
    node = shutil.which("node")
    if node is None or not rolldown.exists():
        pytest.skip("the page's tools are not there: npm ci in sam_edge/server/web")

    def bundle(*modules: str) -> Path:
        folder = tmp_path_factory.mktemp("code")
        sources = [json.dumps(str(WEB / "src" / module)) for module in modules]
        entry = folder / "entry.ts"
        entry.write_text("".join(f"export * from {source};\n" for source in sources))
        target = folder / "code.mjs"
        subprocess.run([node, rolldown, entry, "--file", target], check=True, capture_output=True)
        return target

    return bundle


@dataclass
class Served:
    """A running ``sam-edge serve``."""

    address: str
    process: subprocess.Popen[str]
    folder: Path | None

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.address}{path}", timeout=30) as answer:
            return json.load(answer)

    def photo_id(self, name: str) -> str:
        return next(p["id"] for p in self.get("v1/photos")["photos"] if p["name"] == name)

    def annotations(self, name: str) -> Any:
        return self.get(f"v1/photos/{self.photo_id(name)}/annotations")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serve a folder: a new one with the box's photos, or one that is given; or (`bare`) none."""
    running: list[Served] = []

    def start(*flags: str, folder: Path | None = None, port: int = 0, bare: bool = False) -> Served:
        if folder is None and not bare:
            folder = tmp_path / "photos"
            folder.mkdir()
            for photo in PHOTOS.glob("*.jpg"):
                shutil.copy(photo, folder)
        command = [sys.executable, "-m", "sam_edge.cli", "serve", "--no-browser"]
        command += [] if folder is None else [str(folder)]
        command += ["--port", str(port), "--uploads", str(tmp_path / "uploads"), *flags]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        said: list[str] = []
        while not (said and said[-1].startswith("http")):
            line = process.stdout.readline()
            assert line, "".join(said)
            said.append(line)
        running.append(Served(said[-1].strip(), process, folder))
        return running[-1]

    yield start
    for served in running:
        served.process.terminate()
        served.process.communicate(timeout=20)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser; whoever has none is told what to install."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright, to try the page in a browser"
    )
    pytest.importorskip("uvicorn", reason="pip install 'sam-edge[serve]'")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@dataclass
class Page:
    """The page in a tab, with hands and eyes."""

    tab: Any
    served: Served
    problems: list[str] = field(default_factory=list)

    def open(self, photo: str = "astronaut.jpg") -> None:
        self.tab.goto(f"{self.served.address}?photo={self.served.photo_id(photo)}")
        self.ready()

    def ready(self) -> None:
        self.tab.wait_for_selector(".stage[data-phase=ready]", timeout=60_000)

    def check_address(self, url: str) -> None:
        parts = urlsplit(self.served.address)
        own = f"{parts.scheme}://{parts.netloc}/"
        if not url.startswith((own, f"blob:{own}")):
            self.problems.append(f"asked elsewhere: {url}")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the photo, given in shares of its sides, is in the window."""
        box = self.tab.locator(".picture").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def click(self, x: float, y: float, **options: Any) -> None:
        self.tab.mouse.click(*self.at(x, y), **options)
        self.settled()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.tab.mouse.move(*self.at(*start))
        self.tab.mouse.down()
        self.tab.mouse.move(*self.at(*end), steps=6)
        self.tab.mouse.up()
        self.settled()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)
            self.settled()

    def settled(self) -> None:
        """Wait until every step is done."""
        self.tab.wait_for_selector("body:not([data-busy])", timeout=30_000)

    def saved(self) -> None:
        self.settled()
        self.tab.wait_for_selector(".status[data-kind=saved]", timeout=30_000)

    @property
    def rows(self) -> list[str]:
        return self.tab.locator(".objects li .choose").all_inner_texts()

    def painted(self, layer: str) -> int:
        """How many pixels of a layer are not transparent."""
        return self.tab.evaluate(
            """name => {
                const canvas = document.querySelector(`canvas.${name}`);
                const { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                let count = 0;
                for (let i = 3; i < data.length; i += 4) if (data[i]) count++;
                return count;
            }""",
            layer,
        )


@pytest.fixture
def browse(chromium: Any) -> Iterator[Callable[..., Page]]:
    """Open the page in a new tab; whatever it complains about fails the test at its end."""
    contexts: list[Any] = []
    pages: list[Page] = []

    def start(served: Served, context: Any = None, **options: Any) -> Page:
        if context is None:
            context = chromium.new_context(
                **({"viewport": {"width": 1280, "height": 800}} | options)
            )
            contexts.append(context)
        page = Page(context.new_page(), served)
        page.tab.on("pageerror", lambda error: page.problems.append(str(error)))
        page.tab.on(
            "console",
            lambda said: said.type == "error" and page.problems.append(said.text),
        )
        page.tab.on("request", lambda asked: page.check_address(asked.url))
        pages.append(page)
        return page

    yield start
    problems = [problem for page in pages for problem in page.problems]
    for context in contexts:
        context.close()
    assert problems == []
