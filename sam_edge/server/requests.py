"""What every handler needs of a request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from sam_edge.server.annotations import Summary
from sam_edge.server.body import read_object
from sam_edge.server.library import ServedPhoto
from sam_edge.server.refusals import BadRequestError
from sam_edge.server.service import Service
from sam_edge.text import shown

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def service_of(request: Request) -> Service:
    """Return what the server holds."""
    service: Service = request.app.state.service
    return service


def client_of(request: Request) -> str | None:
    """Return who asks, as it says itself.

    Raises:
        BadRequestError: if that is no name.
    """
    client = request.headers.get("x-client")
    if client is not None and not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", client):
        raise BadRequestError(f"X-Client is 8 to 64 letters and digits, got {shown(client)}")
    return client


async def json_of(
    request: Request, known: tuple[str, ...], *, large: bool = False
) -> dict[str, Any]:
    """Read a request's JSON object; ``large`` where it may hold many masks."""
    limits = service_of(request).options.limits
    most = limits.large_json_bytes if large else limits.json_bytes
    return await read_object(request, known, most, limits.body_s)


async def photo_of(request: Request) -> ServedPhoto:
    """Return the photo that the path names."""
    return await photo_named(request, request.path_params["id"])


async def photo_named(request: Request, name: object) -> ServedPhoto:
    """Return the photo that a field of the body names."""
    if not isinstance(name, str):
        raise BadRequestError(f"photo is a photo's id, got {shown(name)}")
    return await asyncio.to_thread(service_of(request).library.photo, name)


def photo_record(service: Service, photo: ServedPhoto, summary: Summary) -> dict[str, Any]:
    """Return the PHOTO of ``docs/http.md``. It looks into the photo's folder."""
    _, size_bytes, _ = photo.signature()
    size = service.library.known_size(photo)
    imported = None
    if not summary.version and not photo.upload:
        imported = service.annotations.imports.kind(photo.path)
    return {
        "id": photo.id,
        "name": photo.name,
        "folder": photo.folder,
        "upload": photo.upload,
        "bytes": size_bytes,
        "size": None if size is None else list(size),
        "objects": summary.objects,
        "done": summary.done,
        "version": summary.version,
        "imported": imported,
    }
