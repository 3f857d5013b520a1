"""What the model does: encode, decode, find everything, find what words name."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from sam_edge.server.answers import Emit, frame, json_answer, json_bytes, long_answer, while_there
from sam_edge.server.body import flag, whole_box, word
from sam_edge.server.decoding import (
    DTYPES,
    PROMPT_FIELDS,
    Decode,
    answer_of,
    decode_logits,
    decode_many,
    decode_masks,
    multimask_of,
)
from sam_edge.server.everything import KNOBS
from sam_edge.server.library import ServedPhoto
from sam_edge.server.model_record import model_record, portable_graph
from sam_edge.server.photo_routes import described, keep_upload
from sam_edge.server.refusals import BadRequestError, NotFoundError
from sam_edge.server.requests import client_of, json_of, photo_named, service_of
from sam_edge.server.words import FIELDS
from sam_edge.spec import PROMPT_ENCODER_MASK_DECODER
from sam_edge.text import shown

AT_ONCE = 8
"""Prompts of a batch after which somebody else's hover gets its turn."""


async def list_models(request: Request) -> Response:
    """The model that is served, what a decoder elsewhere must know, and what finds words."""
    service = service_of(request)
    spec = service.model.spec
    graph = portable_graph(spec, PROMPT_ENCODER_MASK_DECODER)
    decoder = None
    if graph is not None:
        url = f"/v1/models/{spec.variant}/decoder.onnx"
        decoder = {"url": url, "bytes": graph.size_bytes, "sha256": graph.sha256}
    record = model_record(spec, service.model.engine, service.model.compute.name)
    models = [{**record, "decoder": decoder}]
    return json_answer({"models": models, "grounder": service.words.record()})


async def show_decoder(request: Request) -> Response:
    """The decoder's graph."""
    service = service_of(request)
    graph = portable_graph(service.model.spec, PROMPT_ENCODER_MASK_DECODER)
    if request.path_params["id"] != service.model.spec.variant or graph is None:
        raise NotFoundError(f"there is no decoder of {shown(request.path_params['id'])} to be had")
    headers = {"ETag": f'"{graph.sha256}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    path = service.directory / graph.file
    return FileResponse(path, headers=headers, media_type="application/octet-stream")


async def encode(request: Request) -> Response:
    """Encode a photo, or a part of it."""
    service, client = service_of(request), client_of(request)
    ahead = False
    if request.headers.get("content-type", "").startswith("application/json"):
        content = await json_of(request, ("photo", "path", "part", "ahead"))
        ahead, part = flag(content, "ahead"), whole_box(content.get("part"), "part")
        photo = await _named(request, content)
    else:
        part = _part_of(request.query_params.get("part"))
        photo = await keep_upload(request)
    target = await service.encoder.target(photo, part)
    held = service.encoder.held(target)
    if ahead and held is None:
        service.encoder.encode_ahead(target, client)
        return json_answer({"state": "ahead"}, 202)

    async def work(emit: Emit) -> dict[str, Any]:
        found = await service.encoder.encode(target, client, emit)
        return {
            "embedding": found.record(),
            "photo": await described(service, photo),
            "cached": held is not None,
            "encode_ms": round(found.encode_ms, 2),
        }

    return await long_answer(request, work)


async def _named(request: Request, content: dict[str, Any]) -> ServedPhoto:
    if ("photo" in content) == ("path" in content):
        raise BadRequestError("say either photo, an id, or path, inside a served folder")
    if "photo" in content:
        return await photo_named(request, content["photo"])
    path = content["path"]
    if not isinstance(path, str):
        raise BadRequestError(f"path is a text, got {shown(path)}")
    return await asyncio.to_thread(service_of(request).library.at, path)


def _part_of(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    words = text.split(",")
    numbers = [int(word) for word in words if word.isdecimal() and len(word) < 10]
    return whole_box(numbers if len(numbers) == len(words) else text, "part")


async def show_embedding(request: Request) -> Response:
    """What an embedding is of."""
    return json_answer(service_of(request).embeddings.get(request.path_params["id"]).record())


async def show_features(request: Request) -> Response:
    """An embedding's tensors."""
    held = service_of(request).embeddings.get(request.path_params["id"])
    dtype = word(dict(request.query_params), "dtype", DTYPES, "float16")

    def work() -> bytes:
        return frame(held.tensors(dtype), {"embedding": held.record()})

    return Response(await asyncio.to_thread(work), media_type="application/octet-stream")


async def decode(request: Request) -> Response:
    """One prompt's masks."""
    service, client = service_of(request), client_of(request)
    fields = (*PROMPT_FIELDS, "multimask", "answer", "dtype", "only_best", "hover")
    content = await json_of(request, fields)
    held = service.embeddings.get(request.path_params["id"])
    answer, dtype, only_best, hover = answer_of(content)
    question = Decode.of(content, held, multimask_of(content), only_best)

    def work() -> Response:
        if answer == "rle":
            return json_answer(decode_masks(service.model, held, question))
        decoded = decode_logits(service.model, held, question)
        facts = {"scores": decoded.scores.tolist(), **decoded.facts()}
        tensors = {"low_res_logits": decoded.logits.astype(dtype)}
        return Response(frame(tensors, facts), media_type="application/octet-stream")

    seconds = service.options.limits.decode_s
    owner = client if hover else None
    return await while_there(request, service.decodes.run(work, owner=owner, seconds=seconds))


async def decode_batch(request: Request) -> Response:
    """Many prompts' masks."""
    service = service_of(request)
    content = await json_of(request, ("prompts", "multimask", "only_best"), large=True)
    held = service.embeddings.get(request.path_params["id"])
    prompts, most = content.get("prompts"), service.options.limits.prompts
    if not isinstance(prompts, list) or not 0 < len(prompts) <= most:
        raise BadRequestError(f"prompts is a list of 1 to {most}, got {shown(prompts)}")
    multimask = multimask_of(content)
    only_best = flag(content, "only_best") if "only_best" in content else True
    questions = []
    for number, entry in enumerate(prompts):
        if not isinstance(entry, dict) or set(entry) - set(PROMPT_FIELDS):
            raise BadRequestError(
                f"prompts[{number}] has {', '.join(PROMPT_FIELDS)}, got {shown(entry)}"
            )
        questions.append(Decode.of(entry, held, multimask, only_best))

    async def work() -> bytes:
        answers = decode_many(service.model, held, questions)
        results: dict[int, dict[str, Any]] = {}
        while len(results) < len(questions):
            taken = await service.decodes.run(
                lambda: list(islice(answers, AT_ONCE)), seconds=service.options.timeout_s
            )
            results.update(taken)
        ordered = [results[number] for number in range(len(questions))]
        return await asyncio.to_thread(json_bytes, {"results": ordered})

    return Response(await while_there(request, work()), media_type="application/json")


async def find_words(request: Request) -> Response:
    """What words name in a photo."""
    service, client = service_of(request), client_of(request)
    content = await json_of(request, ("photo", *FIELDS))
    question = service.words.question(content)
    photo = await photo_named(request, content.get("photo"))
    target = await service.encoder.target(photo, None)

    async def work(emit: Emit) -> dict[str, Any]:
        async with asyncio.timeout(service.options.timeout_s):
            return await service.words.find(target, question, client, emit)

    return await long_answer(request, work)


async def find_everything(request: Request) -> Response:
    """Everything in a photo."""
    service, client = service_of(request), client_of(request)
    content = await json_of(request, ("photo", "coarse_first", *KNOBS))
    photo = await photo_named(request, content.get("photo"))
    make = service.everything.generator(content)
    target = await service.encoder.target(photo, None)

    async def work(emit: Emit) -> dict[str, Any]:
        held = await service.encoder.encode(target, client, emit)
        async with asyncio.timeout(service.options.timeout_s):
            return await service.everything.find(photo, held, make, emit)

    return await long_answer(request, work)
