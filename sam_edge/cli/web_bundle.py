"""The command ``web-bundle``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sam_edge.cli.console import say, show, status
from sam_edge.cli.flags import model_named
from sam_edge.cli.frame import Subparsers, add_command
from sam_edge.server.web_folder import write_web_folder
from sam_edge.zoo import resolve

DESCRIPTION = """\
Write the annotation page and a model as a folder of files. Any static host serves it, and no server
of ours is needed: the browser encodes photos and decodes clicks by itself, photos and objects stay
in it, and once opened the page works without a network.
"""

EXAMPLES = """\
examples:
  the small model in the box, tried on this machine:
    sam-edge web-bundle page
    python -m http.server --directory page 8000     # then open http://127.0.0.1:8000
  better masks, for a larger download and some seconds a photo:
    sam-edge web-bundle page -m mobile_sam --pull
  again, after an upgrade:
    sam-edge web-bundle page --force

Put the folder's content wherever your host serves files from, under https or on localhost: only
there do browsers keep a page for use without a network, and give it threads. docs/static-page.md
says what the page can do without a server.
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``web-bundle`` to the command line."""
    command = add_command(
        subparsers,
        "web-bundle",
        "the annotation page and a model as a folder for any static host",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    command.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    command.add_argument(
        "-m",
        "--model",
        metavar="BUNDLE",
        help="a bundle's folder, or a name of `sam-edge models list`; default: nano, in the box",
    )
    command.add_argument(
        "--pull",
        action="store_true",
        help="fetch a named model that is not here yet; so does SAM_EDGE_PULL=1",
    )
    command.add_argument(
        "--allow-large", action="store_true", help="a bundle over 100 MB is what is wanted"
    )
    command.add_argument(
        "--force", action="store_true", help="replace a folder that this command wrote earlier"
    )
    command.set_defaults(run=run_web_bundle)


def run_web_bundle(arguments: argparse.Namespace) -> int:
    """Write the folder."""
    bundle = resolve(model_named(arguments))
    status("packing the page and the model")
    files = write_web_folder(
        bundle, arguments.out, large=arguments.allow_large, force=arguments.force
    )
    show(str(arguments.out))
    say(
        f"{len(files)} files, {sum(files.values()) / 1e6:.1f} MB, which is what the first visit "
        f"loads; try it: python -m http.server --directory {arguments.out} 8000"
    )
    return 0
