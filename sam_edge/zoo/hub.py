"""Files of Hugging Face's hub: what they are is asked of the hub itself, and compared once here.

Where nobody has published a file's size and sha256, the hub's own answer to HEAD is all there is:
for a large file the sha256 of its content, for a small one the id that git gives it. That finds
what was damaged on the way, not a hub that has another file.

Source: ``get_hf_file_metadata`` of huggingface_hub.
"""

from __future__ import annotations

import hashlib
import re
import urllib.error
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_edge.errors import ChecksumError, DownloadError
from sam_edge.zoo.download import Progress, headers_of, shown

FILES = (
    "config.json",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
)
"""What a detector of words needs beside its weights."""

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The first that is there is fetched."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """What the hub says of a file.

    Attributes:
        url: its address.
        size: in bytes.
        etag: the sha256 of its content, or git's sha1 of it.
    """

    url: str
    size: int
    etag: str


def fetch_folder(page: str, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch a detector's files into a folder, those that are not there yet.

    Args:
        page: of the files on the hub.
        folder: made if it is missing. Files in it are whole: each is moved there when it is right.
        progress: as for ``download``, of the weights.

    Returns:
        ``folder``.

    Raises:
        DownloadError: if a file cannot be had.
        ChecksumError: if the bytes are not what the hub says.
    """
    from sam_edge.zoo.download import download

    missing = [name for name in FILES if not (folder / name).is_file()]
    wanted: list[tuple[str, HubFile]] = []
    for name in missing:
        found = ask(f"{page}/resolve/main/{name}")
        if found is None:
            raise DownloadError(f"{page} has no {name}; it is another model's page")
        wanted.append((name, found))
    if not any((folder / name).is_file() for name in WEIGHTS):
        wanted.append(_first(page, WEIGHTS))
    for name, file in wanted:
        target = folder / name
        is_sha256 = len(file.etag) == 64
        if is_sha256:
            download(file.url, target, size=file.size, sha256=file.etag, progress=progress)
            continue
        # Small: it is compared before it has its name, which tells the next run that it is right.
        fresh = target.with_name(f"{name}.fetched")
        download(file.url, fresh, size=file.size, sha256=None)
        if git_id(fresh.read_bytes()) != file.etag:
            fresh.unlink()
            raise ChecksumError(
                f"{shown(file.url)}: the content is not what the hub says; try again"
            )
        fresh.replace(target)
    return folder


def _first(page: str, names: Sequence[str]) -> tuple[str, HubFile]:
    for name in names:
        found = ask(f"{page}/resolve/main/{name}")
        if found is not None:
            return name, found
    raise DownloadError(f"{page} has none of {', '.join(names)}")


def ask(url: str, timeout: float = 30.0) -> HubFile | None:
    """Ask the hub what a file is; None if it has none of that name.

    Raises:
        DownloadError: if it does not answer, or does not say.
    """
    try:
        headers = headers_of(url, timeout)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise DownloadError(f"{shown(url)}: HTTP {error.code}; try again later") from error
    # What a large file's address sends on to has headers of its own.
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
    etag = etag.removeprefix("W/").strip('"').lower()
    if not re.fullmatch("[0-9]{1,15}", size) or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", etag):
        raise DownloadError(f"{shown(url)}: the server does not say what the file is")
    return HubFile(url, int(size), etag)


def git_id(content: bytes) -> str:
    """Return what git calls a file with this content.

    >>> git_id(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    # git's name of a thing, no protection against anybody
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return digest.hexdigest()
