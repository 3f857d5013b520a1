"""Photos and what people said about them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from sam_edge.fields import is_number
from sam_edge.server import pictures
from sam_edge.server.annotations import patched, replaced
from sam_edge.server.answers import json_answer, while_there
from sam_edge.server.body import read_body, word
from sam_edge.server.export import KINDS, ExportedPhoto, export
from sam_edge.server.library import ServedPhoto
from sam_edge.server.objects import checked_objects, labelled_objects
from sam_edge.server.refusals import BadRequestError, NotFoundError, RefusedError, WrongTypeError
from sam_edge.server.requests import json_of, photo_of, photo_record, service_of
from sam_edge.server.service import Service
from sam_edge.text import shown

LONGEST_TOLERANCE = 100


async def list_photos(request: Request) -> Response:
    """What is there, and what was done of it."""
    service = service_of(request)

    def look() -> dict[str, Any]:
        records, labels = [], Counter[str]()
        for photo in service.library.photos():
            summary = service.annotations.summary(photo)
            try:
                records.append(photo_record(service, photo, summary))
            except RefusedError:
                continue  # it went away meanwhile
            labels += summary.labels
        return {
            "photos": records,
            "labels": [{"name": name, "count": count} for name, count in labels.most_common()],
            "folders": [folder.name for folder in service.library.folders],
        }

    return json_answer(await asyncio.to_thread(look))


async def upload_photo(request: Request) -> Response:
    """Take a photo and keep it."""
    photo = await keep_upload(request)
    return json_answer(await described(service_of(request), photo), 201)


async def keep_upload(request: Request) -> ServedPhoto:
    """Read a photo from a request's body and keep it."""
    service = service_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/octet-stream" and not kind.startswith("image/"):
        raise WrongTypeError(
            f"expected a photo's bytes as image/* or application/octet-stream, got {shown(kind)}"
        )
    options = service.options
    data = await read_body(request, options.max_upload, options.limits.body_s)
    name = request.query_params.get("name", "photo")
    return await asyncio.to_thread(service.library.keep, data, name)


async def described(service: Service, photo: ServedPhoto) -> dict[str, Any]:
    """Return a photo's record, its size filled in."""

    def look() -> dict[str, Any]:
        service.library.size(photo)
        return photo_record(service, photo, service.annotations.summary(photo))

    return await asyncio.to_thread(look)


async def show_photo(request: Request) -> Response:
    """One photo."""
    photo = await photo_of(request)
    return json_answer(await described(service_of(request), photo))


async def remove_photo(request: Request) -> Response:
    """Remove an upload and what was said about it."""
    service, photo = service_of(request), await photo_of(request)
    await asyncio.to_thread(service.library.remove, photo)
    await asyncio.to_thread(service.annotations.remove, photo)
    return Response(status_code=204)


async def show_image(request: Request) -> Response:
    """The photo as a browser shows it."""
    service, photo = service_of(request), await photo_of(request)
    await asyncio.to_thread(service.library.size, photo)
    tag = '"' + "-".join(f"{number:x}" for number in photo.signature()) + '"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    work = service.pictures.run(lambda: pictures.browser_picture(photo))
    data, media_type = await while_there(request, work)
    return Response(data, headers=headers, media_type=media_type)


async def show_thumbnail(request: Request) -> Response:
    """A small picture of the photo."""
    service, photo = service_of(request), await photo_of(request)
    text = request.query_params.get("side", "256")
    side = int(text) if text.isdecimal() and len(text) < 6 else 0
    if not pictures.LEAST_SIDE <= side <= pictures.MOST_SIDE:
        raise BadRequestError(
            f"side is {pictures.LEAST_SIDE} to {pictures.MOST_SIDE} pixels, got {shown(text)}"
        )
    await asyncio.to_thread(service.library.size, photo)
    tag = f'"{side}-' + "-".join(f"{number:x}" for number in photo.signature()) + '"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    work = service.pictures.run(lambda: pictures.thumbnail(photo, side))
    return Response(await while_there(request, work), headers=headers, media_type="image/jpeg")


async def load_annotations(request: Request) -> Response:
    """A photo's objects."""
    service, photo = service_of(request), await photo_of(request)
    document = await asyncio.to_thread(service.annotations.load, photo)
    return json_answer(document, headers={"ETag": f'"{document["version"]}"'})


async def save_annotations(request: Request) -> Response:
    """Save all objects of a photo."""
    service, photo = service_of(request), await photo_of(request)
    content = await json_of(request, ("base_version", "done", "objects"), large=True)
    change = replaced(content.get("objects"))
    return await _saved(service, photo, content, change)


async def change_annotations(request: Request) -> Response:
    """Save what changed."""
    service, photo = service_of(request), await photo_of(request)
    content = await json_of(request, ("base_version", "done", "set", "remove"), large=True)
    change = patched(content.get("set"), content.get("remove"))
    return await _saved(service, photo, content, change)


async def _saved(
    service: Service,
    photo: ServedPhoto,
    content: dict[str, Any],
    change: Any,  # noqa: ANN401
) -> Response:
    # Not cancelled with its request: what was sent is saved, whether or not the page still waits.
    version = await asyncio.to_thread(
        service.annotations.save, photo, content.get("base_version"), content.get("done"), change
    )
    return json_answer({"version": version}, headers={"ETag": f'"{version}"'})


async def export_photos(request: Request) -> Response:
    """What was said about photos, as a file of another tool."""
    service = service_of(request)
    fields = ("format", "photos", "objects", "tolerance")
    content = await json_of(request, fields, large=True)
    kind = word(content, "format", KINDS, "coco")
    tolerance = content.get("tolerance", 1.0)
    if not is_number(tolerance) or not 0 <= tolerance <= LONGEST_TOLERANCE:
        raise BadRequestError(
            f"tolerance is 0 to {LONGEST_TOLERANCE} pixels, got {shown(tolerance)}"
        )
    names, objects = content.get("photos", "all"), content.get("objects")
    if names != "all" and not isinstance(names, list):
        raise BadRequestError(f"photos is a list of ids or 'all', got {shown(names)}")
    if objects is not None and (names == "all" or len(names) != 1):
        raise BadRequestError("objects go with one photo; name it in photos")

    def work() -> Response:
        if names == "all":
            photos = service.library.photos()
            photos = [photo for photo in photos if service.annotations.summary(photo).version]
            if not photos:
                raise NotFoundError("nothing is annotated yet")
        else:
            photos = [service.library.photo(str(name)) for name in names]
        most = service.options.limits.objects
        exported = []
        for photo in photos:
            size = service.library.size(photo)
            if objects is None:
                mine = service.annotations.load(photo)["objects"]
            else:
                mine = checked_objects(objects, size, most)
            exported.append(ExportedPhoto(photo, size, labelled_objects(mine, size)))
        file = export(exported, kind, float(tolerance))
        disposition = f"attachment; filename*=UTF-8''{quote(file.name)}"
        headers = {"Content-Disposition": disposition}
        return Response(file.data, headers=headers, media_type=file.media_type)

    return await while_there(request, service.pictures.run(work))
