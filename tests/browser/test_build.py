"""What is served is what its sources give, to the byte."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

import sam_edge

SERVER = Path(sam_edge.__file__).parent / "server"
WEB = SERVER / "web"
NPM = shutil.which("npm")

pytestmark = pytest.mark.skipif(
    NPM is None or not (WEB / "node_modules").exists(),
    reason="the page's tools are not there: npm ci in sam_edge/server/web",
)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def content(folder: Path) -> dict[str, bytes]:
    """Files by name, unpacked: another zlib may pack the same bytes otherwise."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name.removesuffix(".gz"): (
            gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        )
        for name, path in files.items()
        if path.is_file()
    }


def test_the_page_is_built_from_its_sources(tmp_path):
    run("npx", "tsc", "--noEmit")
    run("npx", "vite", "build", "--outDir", tmp_path / "built", "--emptyOutDir")
    served, built = content(SERVER / "static"), content(tmp_path / "built")
    assert served.keys() == built.keys(), "run `make page` and commit what it builds"
    assert [name for name in built if built[name] != served[name]] == []


def test_the_page_asks_nobody_but_its_server():
    for path in (SERVER / "static").rglob("*"):
        if path.suffix in {".html", ".css"}:
            assert "//" not in path.read_text(encoding="utf-8").replace(
                "http://www.w3.org/2000/svg", ""
            )
