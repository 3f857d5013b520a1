"""The ``models`` command: what has a name, and what of it is here."""

from __future__ import annotations

import argparse
from typing import Any

from sam_edge.cli.console import TransferBar, say, show
from sam_edge.cli.frame import CommandLineError, Subparsers, add_command, main
from sam_edge.cli.pulling import pull_bundle, pull_checkpoint
from sam_edge.errors import ModelNotFoundError
from sam_edge.files import json_text
from sam_edge.spec import PRECISIONS
from sam_edge.zoo import named_model, resolve
from sam_edge.zoo.cache import bundle_path, kept_bundle, kept_checkpoint
from sam_edge.zoo.grounders import (
    NamedGrounder,
    grounder_path,
    kept_grounder,
    named_grounders,
    pull_grounder,
    resolve_grounder,
    split_grounder_name,
)
from sam_edge.zoo.table import BOXED, NamedModel, named_models

EXAMPLES = """\
examples:
  what has a name, how large it is, and what of it is here:
    sam-edge models list
  fetch a checkpoint, check it, make a bundle of it, in the fastest precision that passes here:
    sam-edge models pull mobile_sam
    sam-edge segment photo.jpg -m mobile_sam --point 500,375
  in a precision of your choice, or smaller pictures for a board:
    sam-edge models pull vit_b --precision fp16
    sam-edge models pull vit_b --image-size 512
  traced and compared with PyTorch instead (needs: pip install 'sam-edge[export]'):
    sam-edge models pull vit_b --export int8
  where a script finds it:
    sam-edge models path vit_b
    sam-edge models path vit_b --checkpoint

environment:
  SAM_EDGE_CACHE   where files are kept
  SAM_EDGE_PULL    1: commands fetch a named model that is not here yet, as --pull does
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
        help="fetch a checkpoint, and make a bundle of it",
        description="Fetch a checkpoint into the cache, check it, and make a bundle of it, without "
        "torch. Interrupt it at any time: the next call goes on from there.",
    )
    fetch.add_argument("name", metavar="NAME", help="of `models list`")
    fetch.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="default: int8 if its masks and its speed pass here, else fp32",
    )
    fetch.add_argument(
        "--image-size", type=int, metavar="N", help="side of the frame; smaller is faster"
    )
    fetch.add_argument(
        "--no-verify", action="store_true", help="do not compare with float32, as on small boards"
    )
    fetch.add_argument("--checkpoint", action="store_true", help="fetch the file, and no more")
    fetch.add_argument(
        "--export",
        choices=PRECISIONS,
        metavar="PRECISION",
        help="trace it with PyTorch and compare with that, as `export` does (needs torch)",
    )
    fetch.set_defaults(run=run_pull)

    path = verbs.add_parser("path", help="print where a model's bundle is")
    path.add_argument("name", metavar="NAME")
    path.add_argument("--checkpoint", action="store_true", help="the checkpoint's file instead")
    path.set_defaults(run=run_path)


def run_list(arguments: argparse.Namespace) -> int:
    """Print the table."""
    rows = [_row(model) for model in named_models().values()]
    rows += [_grounder_row(grounder) for grounder in named_grounders().values()]
    if arguments.json:
        show(json_text(rows, indent=2))
        return 0
    for row in rows:
        size = f"{row['bytes'] / 1e6:,.0f} MB" if row["bytes"] else "-"
        here = row["bundles"] + (["checkpoint"] if row["checkpoint"] else [])
        columns = f"{row['name']:<27} {size:>9}  {row['licence']:<11} {row['title']:<53}"
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


def _grounder_row(grounder: NamedGrounder) -> dict[str, Any]:
    name = grounder.name
    return {
        "name": name,
        "title": grounder.title,
        "licence": grounder.licence,
        "url": grounder.page,
        "bytes": None,
        "sha256": None,
        "checkpoint": None,
        "bundles": [
            precision for precision in PRECISIONS if kept_grounder(name, precision) is not None
        ],
    }


def _bundles(name: str) -> list[str]:
    """Name a model's bundles as ``-m`` takes them, without the model's name."""
    from sam_edge.filling.template import sizes  # with lzma, which no other command needs

    return [
        f"{precision}-{size}" if size else precision
        for size in (None, *sizes().get(name, ()))
        for precision in PRECISIONS
        if kept_bundle(name, precision, size) is not None and size != named_model(name).image_size
    ]


def run_pull(arguments: argparse.Namespace) -> int:
    """Fetch, and make a bundle."""
    name, precision = arguments.name, arguments.precision
    if name in named_grounders():
        return _pull_grounder(name, arguments)
    if named_model(name).checkpoint is None:
        say(f"{name} comes with the package: {resolve(name)}")
        return 0
    if arguments.checkpoint:
        show(f"{pull_checkpoint(name)}")
        return 0
    if arguments.export:
        return _export(name, arguments.export)
    size = arguments.image_size
    if arguments.no_verify and precision is None:
        precision = "fp32"
    bundle = pull_bundle(name, precision, size, verify=not arguments.no_verify)
    show(f"{bundle}")
    return 0


def _pull_grounder(name: str, arguments: argparse.Namespace) -> int:
    precision = arguments.export
    if arguments.checkpoint:
        show(f"{pull_grounder(name, TransferBar.if_watched())}")
        return 0
    if precision is None:
        raise CommandLineError(
            f"{name} is traced with PyTorch: pip install 'sam-edge[export,text]', and then "
            f"sam-edge models pull {name} --export {arguments.precision or 'fp32'}"
        )
    place = grounder_path(name, precision)
    if kept_grounder(name, precision) is None:
        folder = pull_grounder(name, TransferBar.if_watched())
        return main(["export", str(folder), "-o", str(place), "--precision", precision])
    show(f"{place}")
    return 0


def _export(name: str, precision: str) -> int:
    bundle = bundle_path(name, precision)
    if kept_bundle(name, precision) is not None:
        show(f"{bundle}")
        return 0
    checkpoint = pull_checkpoint(name)
    # By its command, because the exporter sits above this package and may not be installed.
    return main(["export", str(checkpoint), "-o", str(bundle), "--precision", precision])


def run_path(arguments: argparse.Namespace) -> int:
    """Print where it is."""
    if split_grounder_name(arguments.name)[0] is not None and not arguments.checkpoint:
        show(f"{resolve_grounder(arguments.name)}")
        return 0
    if not arguments.checkpoint:
        show(f"{resolve(arguments.name)}")
        return 0
    checkpoint = named_model(arguments.name).checkpoint
    if checkpoint is None:
        raise CommandLineError(f"{arguments.name} is a bundle in the box; leave out --checkpoint")
    path = kept_checkpoint(checkpoint)
    if path is None:
        raise ModelNotFoundError(
            f"{arguments.name} is not here yet; get it with: sam-edge models pull {arguments.name} "
            "--checkpoint"
        )
    show(f"{path}")
    return 0
