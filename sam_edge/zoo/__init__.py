"""Model names: the model in the box, named checkpoints and their exports, bundles on disk."""

from __future__ import annotations

import os
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.errors import ModelNotFoundError
from sam_edge.spec import MANIFEST_NAME, PRECISIONS
from sam_edge.zoo.cache import bundle_path, checkpoint_path, is_complete
from sam_edge.zoo.table import BOXED, NamedModel, named_models

if TYPE_CHECKING:
    from sam_edge.zoo.download import Progress


def resolve(model: str | PathLike[str] | None = None) -> Path:
    """Return a bundle's directory. Never asks the network.

    Args:
        model: the bundle's directory; or a name, alone (``vit_b``) or with a precision
            (``vit_b-int8``), whose export is in the cache; None means the model in the box. A
            directory goes before a name.

    Raises:
        ModelNotFoundError: if there is none; the message says how to get it.
    """
    if model is None:
        return _boxed()
    path = Path(model)
    if path.is_dir():
        return path
    if str(model) == BOXED:
        return _boxed()
    name, wanted = _split(str(model))
    if name is None:
        names = ", ".join(named_models())
        raise ModelNotFoundError(
            f"{model} is neither a bundle's folder nor one of {names}; make a bundle with: "
            "sam-edge export CHECKPOINT -o BUNDLE"
        )
    for precision in wanted:
        bundle = bundle_path(name, precision)
        if (bundle / MANIFEST_NAME).is_file():
            return bundle
    raise ModelNotFoundError(
        f"{model} is not here yet; get it with: sam-edge models pull {name} --export {wanted[0]}"
    )


def pull(name: str, progress: Progress | None = None) -> Path:
    """Return a named checkpoint's file, downloaded and checked if it is not in the cache.

    The official source is asked, or the mirror that ``SAM_EDGE_MIRROR`` names: a folder's address,
    which holds files under their official names. A mirror is not trusted, its bytes are checked.

    Args:
        name: as ``sam-edge models list`` prints it.
        progress: called as ``progress(done, total)``, in bytes.

    Raises:
        ModelNotFoundError: if nobody knows the name, or it has no checkpoint to fetch.
        ChecksumError: if the content is wrong.
        DownloadError: if the file cannot be had.
        OSError: if the disk is full or cannot be written.
    """
    model = named_model(name)
    checkpoint = model.checkpoint
    if checkpoint is None:
        raise ModelNotFoundError(f"{name} comes with the package; there is nothing to fetch")
    target = checkpoint_path(checkpoint)
    if is_complete(checkpoint, target):
        return target
    from sam_edge.zoo.download import download  # urllib and ssl, which most programs never need

    url, mirror = checkpoint.url, os.environ.get("SAM_EDGE_MIRROR")
    if mirror:
        if checkpoint.sha256 is None:
            raise ModelNotFoundError(
                f"{name} has no published sha256, so a mirror's file could not be checked; unset "
                "SAM_EDGE_MIRROR to fetch it from its official source"
            )
        url = f"{mirror.rstrip('/')}/{checkpoint.file}"
    return download(url, target, size=checkpoint.size, sha256=checkpoint.sha256, progress=progress)


def named_model(name: str) -> NamedModel:
    """Return a row of the table.

    Raises:
        ModelNotFoundError: if nobody knows the name.
    """
    try:
        return named_models()[name]
    except KeyError:
        raise ModelNotFoundError(
            f"{name!r} is not a model's name; expected one of {', '.join(named_models())}"
        ) from None


def _boxed() -> Path:
    return Path(str(files("sam_edge") / "assets" / "nano"))


def _split(text: str) -> tuple[str | None, tuple[str, ...]]:
    """Take ``vit_b-int8`` apart: the name, None if unknown, and the precisions it allows."""
    name, _, precision = text.partition("-")
    if name not in named_models() or (precision and precision not in PRECISIONS):
        return None, ()
    return name, (precision,) if precision else PRECISIONS
