"""The ``models`` command: what has a name, and what of it is here."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from sam_edge.cli.console import ERASE_LINE, say, show
from sam_edge.cli.frame import CommandLineError, Subparsers, add_command, main
from sam_edge.errors import ModelNotFoundError
from sam_edge.files import json_text
from sam_edge.spec import PRECISIONS
from sam_edge.zoo import named_model, pull, resolve
from sam_edge.zoo.cache import bundle_path, kept_bundle, kept_checkpoint
from sam_edge.zoo.table import BOXED, NamedModel, named_models

EXAMPLES = """\
examples:
  what has a name, how large it is, and what of it is here:
    sam-edge models list
  fetch SAM's ViT-B and make a bundle of it (needs: pip install 'sam-edge[export]'):
    sam-edge models pull vit_b --export fp32
    sam-edge segment photo.jpg -m vit_b --point 500,375
  where a script finds it:
    sam-edge models path vit_b
    sam-edge models path vit_b --checkpoint

environment:
  SAM_EDGE_CACHE   where files are kept
  SAM_EDGE_MIRROR  http(s) address of a folder with the official files; its bytes are checked
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``models`` to the command line."""
    models = add_command(
        subparsers,
        "models",
        "list, fetch and find models by name",
        description="List, fetch and find models by name.",
        examples=EXAMPLES,
    )
    verbs = models.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = verbs.add_parser("list", help="what has a name, and what of it is here")
    listing.add_argument("--json", action="store_true", help="print it as JSON")
    listing.set_defaults(run=run_list)

    fetch = verbs.add_parser(
        "pull",
        help="fetch a checkpoint into the cache",
        description="Fetch a checkpoint into the cache. Interrupt it at any time: the next call "
        "goes on from there.",
    )
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument(
        "--export",
        choices=PRECISIONS,
        metavar="PRECISION",
        help=f"make a verified bundle of it, too: {', '.join(PRECISIONS)} (needs torch)",
    )
    fetch.set_defaults(run=run_pull)

    path = verbs.add_parser("path", help="print where a model's bundle is")
    path.add_argument("name", metavar="NAME")
    path.add_argument("--checkpoint", action="store_true", help="the checkpoint's file instead")
    path.set_defaults(run=run_path)


def run_list(arguments: argparse.Namespace) -> int:
    """Print the table."""
    rows = [_row(model) for model in named_models().values()]
    if arguments.json:
        show(json_text(rows, indent=2))
        return 0
    for row in rows:
        size = f"{row['bytes'] / 1e6:,.0f} MB" if row["bytes"] else "-"
        here = row["bundles"] + (["checkpoint"] if row["checkpoint"] else [])
        columns = f"{row['name']:<11} {size:>9}  {row['licence']:<11} {row['title']:<53}"
        show(f"{columns} {', '.join(here) or 'not here'}")
    return 0


def _row(model: NamedModel) -> dict[str, Any]:
    checkpoint = model.checkpoint
    bundles = ["in the box"] if model.name == BOXED else _bundles(model.name)
    kept = None if checkpoint is None else kept_checkpoint(checkpoint)
    return {
        "name": model.name,
        "title": model.title,
        "licence": model.licence,
        "url": checkpoint.url if checkpoint else None,
        "bytes": checkpoint.size if checkpoint else None,
        "sha256": checkpoint.sha256 if checkpoint else None,
        "checkpoint": None if kept is None else str(kept),
        "bundles": bundles,
    }


def _bundles(name: str) -> list[str]:
    return [precision for precision in PRECISIONS if kept_bundle(name, precision) is not None]


def run_pull(arguments: argparse.Namespace) -> int:
    """Fetch, and export if asked."""
    name = arguments.name
    if named_model(name).checkpoint is None:
        say(f"{name} comes with the package: {resolve(name)}")
        return 0
    bundle = bundle_path(name, arguments.export) if arguments.export else None
    if bundle is not None and kept_bundle(name, arguments.export) is not None:
        show(f"{bundle}")
        return 0
    checkpoint = pull(name, TransferBar() if sys.stderr.isatty() else None)
    if bundle is None:
        show(f"{checkpoint}")
        return 0
    # By its command, because the exporter sits above this package and may not be installed.
    return main(["export", str(checkpoint), "-o", str(bundle), "--precision", arguments.export])


def run_path(arguments: argparse.Namespace) -> int:
    """Print where it is."""
    if not arguments.checkpoint:
        show(f"{resolve(arguments.name)}")
        return 0
    checkpoint = named_model(arguments.name).checkpoint
    if checkpoint is None:
        raise CommandLineError(f"{arguments.name} is a bundle in the box; leave out --checkpoint")
    path = kept_checkpoint(checkpoint)
    if path is None:
        raise ModelNotFoundError(
            f"{arguments.name} is not here yet; get it with: sam-edge models pull {arguments.name}"
        )
    show(f"{path}")
    return 0


class TransferBar:
    """Draws bytes, rate and what is left, at most ten times a second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None
        self._drawn = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` bytes are here."""
        now = time.monotonic()
        if self._first is None:
            self._first = done  # what an earlier run brought is not this run's speed
        if done < total and now - self._drawn < 0.1:
            return
        self._drawn = now
        print(f"{ERASE_LINE}{self.text(done, total, now)}", end="", file=sys.stderr, flush=True)
        if done == total:
            print(file=sys.stderr)

    def text(self, done: int, total: int, now: float) -> str:
        """Return the bar as one line."""
        rate = (done - (self._first or 0)) / max(now - self._began, 1e-9)
        filled = 30 * done // max(total, 1)
        line = f"{'█' * filled:░<30} {done / 1e6:.0f}/{total / 1e6:.0f} MB"
        if rate > 0:
            line += f"  {rate / 1e6:.1f} MB/s"
            if done < total:
                line += f"  {(total - done) / rate:.0f} s left"
        return line
