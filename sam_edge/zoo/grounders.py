"""The detectors of words that have a name: ``grounders.json``, and where their bundles are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.bundle import MANIFEST_NAME
from sam_edge.cache import CacheError, cache_directory
from sam_edge.errors import JsonFileError, ModelNotFoundError
from sam_edge.files import parse_json
from sam_edge.spec import PRECISIONS
from sam_edge.text import shown
from sam_edge.zoo import resolve

if TYPE_CHECKING:
    from sam_edge.zoo.download import Progress

TABLE = files("sam_edge.zoo") / "grounders.json"

DEFAULT_GROUNDER = "owlvit-base-patch32"
"""What text prompts use where nothing is named."""


@dataclass(frozen=True, slots=True)
class NamedGrounder:
    """One row of the table.

    Attributes:
        name: the last part of its page's address.
        title: in a few words.
        licence: of its published weights, an SPDX identifier.
        variant: as in the manifest.
        page: of its files on Hugging Face's hub.
        parameters: about how many it has, at 4 bytes each in float32.
    """

    name: str
    title: str
    licence: str
    variant: str
    page: str
    parameters: int


@cache
def named_grounders() -> Mapping[str, NamedGrounder]:
    """Return the table by name.

    Raises:
        JsonFileError: if the installed file is damaged.
    """
    try:
        rows = parse_json(TABLE.read_bytes(), str(TABLE))
        return {name: NamedGrounder(name, **row) for name, row in rows.items()}
    except (AttributeError, TypeError) as error:
        raise JsonFileError(f"{TABLE} is no table of models; install sam-edge again") from error


def resolve_grounder(grounder: str | PathLike[str]) -> Path:
    """Return a grounding bundle's directory. Never asks the network.

    Args:
        grounder: the bundle's directory; or a name, alone or with a precision
            (``owlvit-base-patch32-int8``), whose bundle is in the cache.

    Raises:
        ModelNotFoundError: if there is none; the message says how to get it.
    """
    text = os.fspath(grounder)
    path = os.path.expanduser(text)
    if os.path.isdir(path):
        return Path(path)
    name, precision = split_grounder_name(text)
    if name is None:
        raise ModelNotFoundError(
            f"{shown(text)} is neither a grounding bundle's folder nor one of "
            f"{', '.join(named_grounders())}; make one with: sam-edge export FOLDER -o BUNDLE"
        )
    for wanted in (precision,) if precision else PRECISIONS:
        if (bundle := kept_grounder(name, wanted)) is not None:
            return bundle
    raise ModelNotFoundError(
        f"{text} is not here yet; get it with: sam-edge models pull {name} --export "
        f"{precision or 'fp32'}"
    )


def resolve_any(bundle: str | PathLike[str] | None) -> Path:
    """Return the directory of a bundle of any kind; see ``resolve`` and ``resolve_grounder``."""
    if bundle is not None and split_grounder_name(os.fspath(bundle))[0] is not None:
        return resolve_grounder(bundle)
    return resolve(bundle)


def pull_grounder(name: str, progress: Progress | None = None) -> Path:
    """Return a named grounder's folder as the hub has it, fetched if it is not in the cache.

    Raises:
        ModelNotFoundError: if ``SAM_EDGE_MIRROR`` is set: what a mirror has could not be checked.
        CacheError: as for ``cache_directory``.
        DownloadError, ChecksumError: as for ``fetch_folder``.
    """
    from sam_edge.zoo.hub import fetch_folder

    if os.environ.get("SAM_EDGE_MIRROR"):
        raise ModelNotFoundError(
            f"{name} has no published sha256, so a mirror's files could not be checked; unset "
            "SAM_EDGE_MIRROR to fetch it from its official source"
        )
    folder = cache_directory() / "checkpoints" / "hub" / name
    return fetch_folder(named_grounders()[name].page, folder, progress)


def split_grounder_name(text: str) -> tuple[str | None, str | None]:
    """Take a name apart.

    >>> split_grounder_name("owlvit-base-patch32-int8-weights")
    ('owlvit-base-patch32', 'int8-weights')
    >>> split_grounder_name("owlvit-base-patch32"), split_grounder_name("vit_b")
    (('owlvit-base-patch32', None), (None, None))
    """
    for name in named_grounders():
        if text == name:
            return name, None
        if text.startswith(f"{name}-") and text[len(name) + 1 :] in PRECISIONS:
            return name, text[len(name) + 1 :]
    return None, None


def grounder_path(name: str, precision: str) -> Path:
    """Return where the bundle of a named grounder is kept. It may not exist yet.

    Raises:
        CacheError: as for ``cache_directory``.
    """
    return cache_directory() / "bundles" / f"{name}-{precision}"


def kept_grounder(name: str, precision: str) -> Path | None:
    """Return the bundle of a named grounder if it is in the cache."""
    try:
        path = grounder_path(name, precision)
    except CacheError:
        return None
    return path if os.path.isfile(path / MANIFEST_NAME) else None
