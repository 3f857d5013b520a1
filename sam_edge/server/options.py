"""How much the server takes, holds and waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAX_UPLOAD = 200 * 2**20
MAX_PIXELS = 100_000_000
CACHE_BYTES = 512 * 2**20
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Limits:
    """What nobody has to choose.

    Attributes:
        json_bytes: of a body.
        large_json_bytes: of a body that holds many masks.
        decodes_waiting: beyond the one that runs.
        encodes_waiting: beyond the one that runs; of "everything", too.
        pictures_waiting: photos to be turned into what a browser shows.
        bodies_bytes: of all bodies that are held at once.
        connections: open ones.
        header_s: seconds until a request's header is there.
        idle_s: seconds that a connection is kept after an answer.
        body_s: seconds until its body is.
        send_s: seconds until a client has read the next piece of its answer.
        decode_s: seconds for a decode, with its wait.
        prompts: of a batch.
        objects: on one photo.
    """

    json_bytes: int = 4 * 2**20
    large_json_bytes: int = 64 * 2**20
    decodes_waiting: int = 64
    encodes_waiting: int = 8
    pictures_waiting: int = 64
    bodies_bytes: int = 512 * 2**20
    connections: int = 256
    header_s: float = 15
    idle_s: int = 60
    body_s: float = 30
    send_s: float = 60
    decode_s: float = 30
    prompts: int = 1000
    objects: int = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """What a server is told at its start.

    Attributes:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        token: what requests must bring; None for none.
        hosts: further names that the ``Host`` header may have, of a proxy's.
        uploads: the folder for photos that are sent here.
        annotations: the folder for annotations; None puts them beside their photos.
        max_upload: bytes of a photo that is sent here.
        max_pixels: of any photo.
        cache_bytes: of embeddings.
        upload_bytes: of all photos in ``uploads`` together.
        timeout_s: for an encode, and for "everything".
        limits: the rest.
    """

    host: str
    port: int
    token: str | None
    uploads: Path
    hosts: tuple[str, ...] = ()
    annotations: Path | None = None
    max_upload: int = MAX_UPLOAD
    max_pixels: int = MAX_PIXELS
    cache_bytes: int = CACHE_BYTES
    upload_bytes: int = 4 * 2**30
    timeout_s: float = TIMEOUT_S
    limits: Limits = field(default_factory=Limits)
