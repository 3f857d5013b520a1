"""Model names: the model in the box, named checkpoints and their exports, bundles on disk."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.cache import CacheError
from sam_edge.errors import ModelNotFoundError, SamEdgeError
from sam_edge.spec import PRECISIONS
from sam_edge.text import printable
from sam_edge.zoo.cache import checkpoint_path, kept_bundle, kept_checkpoint
from sam_edge.zoo.table import BOXED, NamedModel, named_models

if TYPE_CHECKING:
    from sam_edge.zoo.download import Progress


def resolve(model: str | PathLike[str] | None = None) -> Path:
    """Return a bundle's directory. Never asks the network.

    Args:
        model: the bundle's directory; or a name, alone (``vit_b``), with a precision
            (``vit_b-int8``) or with an image size, too (``vit_b-int8-512``), whose bundle is in the
            cache; None means the model in the box. A directory goes before a name, and ``~`` is the
            user's home.

    Raises:
        ModelNotFoundError: if there is none; the message says how to get it.
    """
    if model is None:
        return _boxed()
    text = os.fspath(model)
    path = os.path.expanduser(text)
    if os.path.isdir(path):  # False, too, for a path that no file system takes
        return Path(path)
    if text == BOXED:
        return _boxed()
    name, precision, size = split_name(text)
    if name is None:
        names = ", ".join(named_models())
        raise ModelNotFoundError(
            f"{_shown(text) or repr(text)} is neither a bundle's folder nor one of {names}; make a "
            "bundle with: sam-edge export CHECKPOINT -o BUNDLE"
        )
    for wanted in (precision,) if precision else PRECISIONS:
        bundle = kept_bundle(name, wanted, size)
        if bundle is not None:
            return bundle
    words = f"{name} --precision {precision}" if precision else name
    words += f" --image-size {size}" if size else ""
    raise ModelNotFoundError(f"{text} is not here yet; get it with: sam-edge models pull {words}")


def pull(name: str, progress: Progress | None = None) -> Path:
    """Return a named checkpoint's file, downloaded and checked if it is not in the cache.

    The official source is asked, or the mirror that ``SAM_EDGE_MIRROR`` names: an http or https
    address of a folder that holds files under their official names. Its user, password and query
    are sent along and never shown. A mirror is not trusted, its bytes are checked.

    Args:
        name: as ``sam-edge models list`` prints it.
        progress: called as ``progress(done, total)``, in bytes.

    Raises:
        ModelNotFoundError: if nobody knows the name, or it has no checkpoint to fetch.
        CacheError: if there is no place for a cache, or it cannot be written.
        ChecksumError: if the content is wrong.
        DownloadError: if the file cannot be had.
    """
    model = named_model(name)
    checkpoint = model.checkpoint
    if checkpoint is None:
        raise ModelNotFoundError(f"{name} comes with the package; there is nothing to fetch")
    if (kept := kept_checkpoint(checkpoint)) is not None:
        return kept
    target = checkpoint_path(checkpoint)
    # urllib and ssl, which most programs never need
    from sam_edge.zoo.download import download, in_folder

    url, mirror = checkpoint.url, os.environ.get("SAM_EDGE_MIRROR")
    if mirror:
        if checkpoint.sha256 is None:
            raise ModelNotFoundError(
                f"{name} has no published sha256, so a mirror's file could not be checked; unset "
                "SAM_EDGE_MIRROR to fetch it from its official source"
            )
        url = in_folder(mirror, checkpoint.file)
    try:
        return download(
            url, target, size=checkpoint.size, sha256=checkpoint.sha256, progress=progress
        )
    except SamEdgeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise CacheError(
            f"{target.parent}: {reason}; name a folder that can be written in SAM_EDGE_CACHE"
        ) from error


def named_model(name: str) -> NamedModel:
    """Return a row of the table.

    Raises:
        ModelNotFoundError: if nobody knows the name.
    """
    try:
        return named_models()[name]
    except KeyError:
        raise ModelNotFoundError(
            f"{_shown(name)!r} is not a model's name; expected one of {', '.join(named_models())}"
        ) from None


def _boxed() -> Path:
    return Path(str(files("sam_edge") / "assets" / "nano"))


def split_name(text: str) -> tuple[str | None, str | None, int | None]:
    """Take a model's name apart.

    >>> split_name("vit_b-int8-512"), split_name("vit_b")
    (('vit_b', 'int8', 512), ('vit_b', None, None))
    >>> split_name("sam3-int8")  # no model of the table with a checkpoint
    (None, None, None)
    """
    name, *words = text.split("-")
    if name not in named_models() or name == BOXED or "" in words:
        return None, None, None
    size = int(words.pop()) if words and re.fullmatch("[1-9][0-9]{2,3}", words[-1]) else None
    precision = "-".join(words)  # int8-weights has a dash of its own
    if precision and precision not in PRECISIONS:
        return None, None, None
    return name, precision or None, size


def _shown(name: str) -> str:
    """Return a name as a message shows it: printable, its beginning if it is long."""
    return printable(name if len(name) <= 100 else f"{name[:100]}...")
