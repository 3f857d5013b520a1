"""Flags that several commands have, and what reads their values."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable
from os import PathLike

from sam_edge.cli.pulling import pull_bundle
from sam_edge.errors import ModelNotFoundError
from sam_edge.loading import load_model
from sam_edge.model import Model
from sam_edge.photos import PHOTOS_HELP
from sam_edge.segmenter import MEMORY_LIMIT
from sam_edge.zoo import resolve, split_name
from sam_edge_runtimes import FORMATS

LEAST_MEMORY = 16 * 2**20
"""Less than a decoder call itself takes is no limit that anything could keep."""


def whole_number(least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    """Return what reads a flag's whole number from ``least`` to ``most``."""

    def read(text: str) -> int:
        number = int(text) if len(text) < 20 and text.removeprefix("-").isdecimal() else None
        if number is None or not least <= number <= most:
            bounds = f"from {least} up" if most == sys.maxsize else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"expected a whole number {bounds}, got {text[:40]!r}")
        return number

    return read


def finite_number(text: str) -> float:
    """Read a flag's number. A NaN passes every comparison with a threshold unnoticed."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"expected a number, got {text[:40]!r}")
    return number


def memory_size(text: str) -> int:
    """Read a flag's amount of memory, in bytes.

    >>> memory_size("512MB"), memory_size("1.5 gb")
    (536870912, 1610612736)
    """
    words = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    size = 0
    if words is not None:
        size = int(float(words[1]) * 1024 ** " KMGT".index(words[2].upper() or " "))
    if size < LEAST_MEMORY:
        raise argparse.ArgumentTypeError(
            f"expected an amount from {LEAST_MEMORY >> 20}MB up, such as 512MB or 2GB, "
            f"got {text[:40]!r}"
        )
    return size


MOST_THREADS = 1024


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which model runs, and how."""
    parser.add_argument(
        "-m",
        "--model",
        metavar="BUNDLE",
        help="a bundle's folder, or a name of `sam-edge models list`; default: nano, in the box",
    )
    parser.add_argument(
        "--pull",
        action="store_true",
        help="fetch a named model that is not here yet; so does SAM_EDGE_PULL=1",
    )
    parser.add_argument("--runtime", default="auto", choices=("auto", "onnxruntime", "openvino"))
    parser.add_argument(
        "--compute",
        default="auto",
        choices=("auto", *FORMATS),
        help="number format of the products; auto: float32, or a smaller one that this CPU has, "
        "once `bench run` has found it faster here and its masks pass the gate of int8",
    )
    parser.add_argument("--threads", type=whole_number(1, MOST_THREADS), metavar="N")
    parser.add_argument(
        "--memory", default="normal", choices=("normal", "low"), help="low: for 1 to 4 GB boards"
    )


def add_photo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the photos, and the flags that say how they are read and decoded."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=PHOTOS_HELP)
    parser.add_argument(
        "--stretch", action="store_true", help="spread deep or dark pixels over the whole range"
    )
    parser.add_argument(
        "--memory-limit",
        type=memory_size,
        default=MEMORY_LIMIT,
        metavar="SIZE",
        help=f"what decoding may hold at once, such as 2GB (default {MEMORY_LIMIT >> 20}MB)",
    )


def load_from(arguments: argparse.Namespace) -> Model:
    """Open the model that the flags of ``add_model_arguments`` name, fetched if they say so."""
    return load_model(
        model_named(arguments),
        runtime=arguments.runtime,
        threads=arguments.threads,
        memory=arguments.memory,
        compute=arguments.compute,
    )


def model_named(arguments: argparse.Namespace) -> str | PathLike[str] | None:
    """Return what ``-m`` names; its bundle, if it had to be fetched and may be."""
    name: str | None = arguments.model
    wanted = arguments.pull or os.environ.get("SAM_EDGE_PULL", "") not in ("", "0")
    if not wanted or name is None:
        return name
    try:
        return resolve(name)
    except ModelNotFoundError:
        model, precision, image_size = split_name(name)
        if model is None:
            raise
        return pull_bundle(model, precision, image_size)
