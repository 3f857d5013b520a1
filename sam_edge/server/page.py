"""The page's own files, as they lie in the package: those stored as ``.gz`` are sent so."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from sam_edge.server.refusals import NotFoundError

STATIC = Path(__file__).parent / "static"

OF_A_FOLDER = ("folder.html", "service_worker.js")
"""What only a folder without a server has; see ``web_folder.py``."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
"""Nothing else is sent."""

HASHED = "/assets/"
"""Vite names what lies there by its content, so that browsers may keep it for good."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page.

    Attributes:
        path: on disk.
        media_type: of what it holds.
        zipped: whether it is stored as gzip.
        tag: changes with its bytes.
    """

    path: Path
    media_type: str
    zipped: bool
    tag: str


def page_files(folder: Path = STATIC) -> dict[str, PageFile]:
    """Return the page's files by their paths in the address; none if there is no page."""
    files = {}
    for path in sorted(folder.rglob("*")):
        zipped = path.suffix == ".gz"
        name = path.with_suffix("") if zipped else path
        if not path.is_file() or name.suffix not in MEDIA_TYPES or path.name in OF_A_FOLDER:
            continue
        tag = hashlib.sha256(path.read_bytes()).hexdigest()[:20]
        found = PageFile(path, MEDIA_TYPES[name.suffix], zipped, f'"{tag}"')
        files[f"/{name.relative_to(folder).as_posix()}"] = found
    if "/index.html" in files:
        files["/"] = files["/index.html"]
    return files


async def show_page(request: Request) -> Response:
    """Send a file of the page."""
    files: dict[str, PageFile] = request.app.state.page
    path = request.url.path
    found = files.get(path)
    if found is None:
        hint = "; the API is at /v1, see /openapi.json" if path == "/" else ""
        raise NotFoundError(f"there is nothing at this path{hint}")
    kept = "public, max-age=31536000, immutable" if path.startswith(HASHED) else "no-cache"
    headers = {"ETag": found.tag, "Cache-Control": kept, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    data = found.path.read_bytes()
    if found.zipped:
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            data = gzip.decompress(data)
    return Response(data, headers=headers, media_type=found.media_type)
