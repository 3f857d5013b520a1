"""The command ``serve``."""

from __future__ import annotations

import argparse
import re
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from sam_edge.cache import cache_directory
from sam_edge.cli.console import say, show
from sam_edge.cli.flags import add_model_arguments, load_from, memory_size, whole_number
from sam_edge.cli.frame import CommandLineError, Subparsers, add_command
from sam_edge.cli.words import GROUNDER_TOO
from sam_edge.errors import MissingDependencyError
from sam_edge.grounding.opening import load_grounder
from sam_edge.server.options import CACHE_BYTES, MAX_PIXELS, MAX_UPLOAD, TIMEOUT_S, Options
from sam_edge.zoo import resolve
from sam_edge.zoo.grounders import DEFAULT_GROUNDER

PORT = 8765
LEAST_TOKEN = 16

SERVE_EXAMPLES = """\
examples:
  a folder of photos, in the browser:
    sam-edge serve photos/
  a better model than the one in the box:
    sam-edge serve photos/ -m vit_b
  with words, too (see docs/text.md for the bundle):
    sam-edge serve photos/ --grounder owlvit-base-patch32
  the HTTP API for other programs, on any free port (the address is printed):
    sam-edge serve photos/ --no-browser --port 0
  for other machines, too; they need the token that is printed:
    sam-edge serve photos/ --host 0.0.0.0 --token auto

Annotations are saved as PHOTO.sam-edge.json beside each photo, or in --annotations FOLDER.
LabelMe, SA-1B and COCO files that lie there are shown for correction and never written to.
Photos that are dropped on the page are kept in --uploads FOLDER, by default in sam-edge's cache.
Ctrl-C stops the server.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``serve`` to the command line."""
    serve = add_command(
        subparsers,
        "serve",
        "annotate in a browser, and answer other programs by HTTP",
        description="Annotate photos in a browser, and answer other programs by HTTP.",
        examples=SERVE_EXAMPLES,
    )
    serve.add_argument(
        "images", nargs="*", metavar="PHOTO|FOLDER", help="what is served; photos can be sent, too"
    )
    add_model_arguments(serve)
    serve.add_argument(
        "--grounder",
        metavar="BUNDLE",
        help="finds what words name: a grounding bundle's folder, or a name such as "
        f"{DEFAULT_GROUNDER} (default: none); {GROUNDER_TOO}",
    )
    serve.add_argument("--port", type=whole_number(0, 65535), default=PORT, metavar="N")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    serve.add_argument(
        "--token",
        help=f"what requests must bring, {LEAST_TOKEN} letters and digits or more; auto makes one",
    )
    serve.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which a proxy shows this server",
    )
    serve.add_argument("--no-browser", action="store_true", help="open no browser")
    serve.add_argument("--annotations", type=Path, metavar="FOLDER", help="where they are saved")
    serve.add_argument("--uploads", type=Path, metavar="FOLDER", help="where sent photos are kept")
    limits = serve.add_argument_group("limits")
    for flag, (kind, default, metavar, text) in _LIMITS.items():
        limits.add_argument(f"--{flag}", type=kind, default=default, metavar=metavar, help=text)
    serve.set_defaults(run=run_serve)


_LIMITS: dict[str, tuple[Callable[[str], int], int, str, str]] = {
    "max-upload": (memory_size, MAX_UPLOAD, "SIZE", "of a photo that is sent (default 200MB)"),
    "max-pixels": (whole_number(1), MAX_PIXELS, "N", "of a photo (default 100 million)"),
    "cache-bytes": (memory_size, CACHE_BYTES, "SIZE", "of embeddings kept (default 512MB)"),
    "timeout": (whole_number(1, 86_400), TIMEOUT_S, "SECONDS", "of an encode (default 600)"),
}


def run_serve(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    try:
        from sam_edge.server import run
        from sam_edge.server.guard import is_loopback
        from sam_edge.server.page import page_files
        from sam_edge.server.service import Choice
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("starlette", "uvicorn", "h11"):
            raise
        raise MissingDependencyError(
            f"serve needs {package}; install it with: pip install 'sam-edge[serve]'"
        ) from error
    token = _token(arguments.token)
    if token is None and (arguments.allow_host or not is_loopback(arguments.host)):
        flag = "--allow-host" if arguments.allow_host else f"--host {arguments.host}"
        raise CommandLineError(
            f"{flag} lets other machines in, who then need a token; add --token auto"
        )
    options = Options(
        host=arguments.host,
        port=arguments.port,
        token=token,
        uploads=arguments.uploads or cache_directory() / "uploads",
        hosts=tuple(arguments.allow_host),
        annotations=arguments.annotations,
        max_upload=arguments.max_upload,
        max_pixels=arguments.max_pixels,
        cache_bytes=arguments.cache_bytes,
        timeout_s=arguments.timeout,
    )
    model = load_from(arguments)
    grounder = None
    if arguments.grounder is not None:
        grounder = load_grounder(
            arguments.grounder,
            arguments.runtime,
            arguments.threads,
            arguments.memory,
            compute=arguments.compute,
        )
    directory = resolve(arguments.model).absolute()
    choice = Choice(directory, arguments.threads, arguments.memory)
    level = "debug" if arguments.debug else "error"
    server = run.server(model, choice, arguments.images, options, level, grounder=grounder)
    listening = run.open_socket(options)
    address = run.address_of(listening, options) + ("" if token is None else f"#token={token}")
    show(address)
    sys.stdout.flush()
    served = [found for found in (model, grounder) if found is not None]
    how = " and ".join(
        f"{found.spec.variant} on {found.engine} in {found.compute.name}" for found in served
    )
    say(f"sam-edge serves {how}; Ctrl-C stops it")
    if page_files() and not arguments.no_browser:
        # In a thread of its own: some browsers return only when they are closed.
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    run.serve_on(listening, server)
    return 0


def _token(word: str | None) -> str | None:
    if word == "auto":
        return secrets.token_urlsafe(24)
    if word is not None and not re.fullmatch(rf"[A-Za-z0-9_.~-]{{{LEAST_TOKEN},}}", word):
        raise CommandLineError(
            f"--token: {LEAST_TOKEN} letters and digits at least, or auto, which makes one"
        )
    return word
