"""The page and a model as a folder that any static host serves; see ``docs/static-page.md``."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from sam_edge.bundle import GROUNDING, MANIFEST_NAME, check_hashes, kind_of, read_spec
from sam_edge.errors import JsonFileError, SamEdgeError, UnwritableError
from sam_edge.files import json_text, read_json
from sam_edge.server.model_record import model_record, portable_graph
from sam_edge.spec import ROLES, GraphFile, ModelSpec
from sam_edge.staging import BUNDLE, Kind, check_output, install, staging
from sam_edge.text import printable

STATIC = Path(__file__).parent / "static"

MOST_BYTES = 100_000_000
"""Of a bundle's graphs: a page that fetches more before its first mask needs a reason."""

MADE_BY = "sam-edge web-bundle"
MODEL = "model.json"
WORKER = "service_worker.js"


def write_web_folder(
    bundle: Path, out: Path, *, large: bool = False, force: bool = False
) -> dict[str, int]:
    """Write the page and a bundle as a folder, whole or not at all.

    Args:
        bundle: its directory.
        out: the folder to write; it may be there if it is empty.
        large: whether a bundle over ``MOST_BYTES`` is wanted all the same.
        force: whether a folder of an earlier call is replaced.

    Returns:
        Its files and their bytes, which are what the first visit loads.

    Raises:
        SamEdgeError: if the bundle cannot run in a browser, or the folder holds something else.
    """
    spec, graphs = _browser_graphs(bundle, large)
    if out.is_symlink():
        raise SamEdgeError(f"{out} exists and is no folder; name another {A_PAGE.flag}")
    force = force or (out.is_dir() and not any(out.iterdir()))
    place = check_output(out, [bundle], force, A_PAGE)
    with staging(place, A_PAGE) as work:
        try:
            files = _fill(work / BUNDLE, bundle, spec, graphs)
        except OSError as error:
            raise UnwritableError(f"{out} cannot be written: {error.strerror or error}") from error
        install(work, place, force, A_PAGE)
    return files


def _browser_graphs(bundle: Path, large: bool) -> tuple[ModelSpec, dict[str, GraphFile]]:
    """Return a bundle's manifest and the graphs that a browser runs.

    Raises:
        SamEdgeError: if it has none.
    """
    if kind_of(bundle) == GROUNDING:
        raise SamEdgeError(f"{bundle} finds words; a page needs a bundle that makes masks")
    spec = read_spec(bundle)
    if spec.decoder != "native":
        raise SamEdgeError(
            f"{bundle} has the decoder layout {spec.decoder}, which the page does not speak; "
            "export it with --decoder native"
        )
    graphs = {}
    for role in ROLES:
        graph = portable_graph(spec, role)
        if graph is None:
            raise SamEdgeError(
                f"{bundle}: its {role} is no single file that a browser can run; "
                "export it for onnxruntime, and smaller than 2 GB"
            )
        graphs[role] = graph
    size = sum(graph.size_bytes for graph in graphs.values())
    if size > MOST_BYTES and not large:
        raise SamEdgeError(
            f"{bundle} has {size / 1e6:.0f} MB, which everybody who opens the page would wait for; "
            "take a smaller one (-m mobile_sam), or say --allow-large"
        )
    check_hashes(bundle, spec)
    return spec, graphs


def _stranger(place: Path) -> str:
    """Say why a folder is not to be replaced; empty if a page, or nothing, is all that it holds."""
    if not place.is_dir():
        return "is no folder"
    found = {path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir()}
    try:
        record = read_json(place / MODEL)
        known = set(record["files"]) if record["made_by"] == MADE_BY else set()
    except (OSError, JsonFileError, LookupError, TypeError):
        known = set()
    strangers = sorted(found - known)
    return f"holds {printable(strangers[0])}, which is no part of a page" if strangers else ""


A_PAGE = Kind("page", "OUT", _stranger)


def _fill(
    folder: Path, bundle: Path, spec: ModelSpec, graphs: dict[str, GraphFile]
) -> dict[str, int]:
    if not (STATIC / "folder.html").exists():
        raise SamEdgeError("this installation has no page; build it with: make page")
    shutil.copytree(STATIC, folder)
    os.replace(folder / "folder.html", folder / "index.html")
    places = {}
    for role, graph in graphs.items():
        # Packed, as a host may send files as they are; equal graphs give equal bytes.
        place = f"model/{role}-{graph.sha256[:8]}.onnx.gz"
        (folder / "model").mkdir(exist_ok=True)
        data = (bundle / graph.file).read_bytes()
        (folder / place).write_bytes(gzip.compress(data, 9, mtime=0))
        places[role] = place
    shutil.copyfile(bundle / MANIFEST_NAME, folder / "model" / MANIFEST_NAME)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    record: dict[str, Any] = {
        "made_by": MADE_BY,
        **model_record(spec, "onnxruntime-web", "float32"),
        "decoder": None,
        "graphs": places,
        "files": sorted({*names, MODEL}),
    }
    (folder / MODEL).write_text(json_text(record, indent=1), encoding="utf-8", newline="\n")
    return _write_worker(folder)


def _write_worker(folder: Path) -> dict[str, int]:
    """Tell the service worker which files it keeps; return all of them."""
    digest = hashlib.sha256()
    sizes = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        data = path.read_bytes()
        sizes[name] = len(data)
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    kept = {"./" if name == "index.html" else name: size for name, size in sizes.items()}
    del kept[WORKER]
    facts = json_text({"version": digest.hexdigest()[:16], "files": kept}).strip()
    worker = folder / WORKER
    code = worker.read_text(encoding="utf-8")
    worker.write_text(f"self.FOLDER = {facts};\n{code}", encoding="utf-8", newline="\n")
    return {**sizes, WORKER: worker.stat().st_size}
