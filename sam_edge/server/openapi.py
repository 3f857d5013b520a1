"""The API's paths as data: what is routed, and what ``/openapi.json`` says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sam_edge._version import __version__
from sam_edge.server import model_routes, photo_routes, status_routes
from sam_edge.server.everything import KNOBS
from sam_edge.server.export import KINDS
from sam_edge.server.requests import Handler

Schema = Mapping[str, Any]

JSON, FRAME, EVENTS = "application/json", "application/octet-stream", "application/x-ndjson"
PHOTO_BYTES = ("application/octet-stream", "image/*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        method: HTTP's.
        path: with ``{id}`` where one stands.
        handler: answers it.
        answer: what a good answer is, for people.
        types: its media types.
        status: its status.
        body: the JSON body's schema, or None.
        photo: whether a photo's bytes may be the body.
        query: parameters, name -> schema.
        refusals: statuses that this path has beyond those of every path.
    """

    method: str
    path: str
    handler: Handler
    answer: str
    types: Sequence[str] = (JSON,)
    status: int = 200
    body: Schema | None = None
    photo: bool = False
    query: Mapping[str, Schema] = field(default_factory=dict)
    refusals: Sequence[int] = ()


def _object(properties: Mapping[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(of: Schema, least: int | None = None) -> Schema:
    bounds = {} if least is None else {"minItems": least, "maxItems": least}
    return {"type": "array", "items": of, **bounds}


NUMBER, TEXT, WHOLE, TRUTH = ({"type": kind} for kind in ("number", "string", "integer", "boolean"))
BOX, WHOLE_BOX, POINTS = _list(NUMBER, 4), _list(WHOLE, 4), _list(_list(NUMBER, 2))
DTYPE: Schema = {"enum": ["float16", "float32"]}
LABELS = _list({"enum": [0, 1]})
RLE = _object({"size": _list(WHOLE, 2), "counts": TEXT}, "size", "counts")
PROMPT: Mapping[str, Schema] = {
    "points": POINTS,
    "labels": _or_null(LABELS),
    "box": _or_null(BOX),
    "mask": _or_null(_object({"rle": RLE, "logits": TEXT, "dtype": DTYPE})),
}
KEPT_PROMPT = _object(
    {"points": POINTS, "labels": LABELS, "box": _or_null(BOX), "part": _or_null(WHOLE_BOX)}
)
OBJECT = _object(
    {
        "id": TEXT,
        "label": TEXT,
        "rle": RLE,
        "score": _or_null(NUMBER),
        "stability": _or_null(NUMBER),
        "prompt": _or_null(KEPT_PROMPT),
        "extra": {"type": "object"},
    },
    "id",
    "rle",
)
MULTIMASK: Schema = {"type": ["boolean", "null"]}

ENDPOINTS: Sequence[Endpoint] = (
    Endpoint("GET", "/v1/health", status_routes.health, "The server is there."),
    Endpoint("GET", "/v1/version", status_routes.version, "Its version."),
    Endpoint("GET", "/v1/models", model_routes.list_models, "The model that is served."),
    Endpoint(
        "GET",
        "/v1/models/{id}/decoder.onnx",
        model_routes.show_decoder,
        "The decoder's graph.",
        types=(FRAME,),
    ),
    Endpoint("GET", "/v1/photos", photo_routes.list_photos, "The photos, and labels in use."),
    Endpoint(
        "POST",
        "/v1/photos",
        photo_routes.upload_photo,
        "The upload's PHOTO.",
        status=201,
        photo=True,
        query={"name": TEXT},
        refusals=(408, 413, 415, 422, 507),
    ),
    Endpoint("GET", "/v1/photos/{id}", photo_routes.show_photo, "A PHOTO.", refusals=(422,)),
    Endpoint(
        "DELETE", "/v1/photos/{id}", photo_routes.remove_photo, "It is gone.", types=(), status=204
    ),
    Endpoint(
        "GET",
        "/v1/photos/{id}/image",
        photo_routes.show_image,
        "The photo as a browser shows it.",
        types=("image/jpeg", "image/png", "image/webp"),
        refusals=(422, 503),
    ),
    Endpoint(
        "GET",
        "/v1/photos/{id}/thumbnail",
        photo_routes.show_thumbnail,
        "A small picture.",
        types=("image/jpeg",),
        query={"side": WHOLE},
        refusals=(422, 503),
    ),
    Endpoint(
        "POST",
        "/v1/encode",
        model_routes.encode,
        "The EMBEDDING, or events.",
        types=(JSON, EVENTS),
        body=_object({"photo": TEXT, "path": TEXT, "part": _or_null(WHOLE_BOX), "ahead": TRUTH}),
        photo=True,
        query={"name": TEXT, "part": TEXT},
        refusals=(408, 409, 413, 415, 422, 503, 507),
    ),
    Endpoint("GET", "/v1/embeddings/{id}", model_routes.show_embedding, "An EMBEDDING."),
    Endpoint(
        "GET",
        "/v1/embeddings/{id}/features",
        model_routes.show_features,
        "A frame with its tensors.",
        types=(FRAME,),
        query={"dtype": DTYPE},
    ),
    Endpoint(
        "POST",
        "/v1/embeddings/{id}/decode",
        model_routes.decode,
        "Masks, or a frame of logits.",
        types=(JSON, FRAME),
        body=_object(
            {
                **PROMPT,
                "multimask": MULTIMASK,
                "answer": {"enum": ["rle", "logits"]},
                "dtype": DTYPE,
                "only_best": TRUTH,
                "hover": TRUTH,
            }
        ),
        refusals=(408, 409, 413, 415, 429, 503),
    ),
    Endpoint(
        "POST",
        "/v1/embeddings/{id}/decode_batch",
        model_routes.decode_batch,
        "Each prompt's masks.",
        body=_object(
            {"prompts": _list(_object(PROMPT)), "multimask": MULTIMASK, "only_best": TRUTH},
            "prompts",
        ),
        refusals=(408, 413, 415, 429, 503),
    ),
    Endpoint(
        "POST",
        "/v1/everything",
        model_routes.find_everything,
        "All masks, or events.",
        types=(JSON, EVENTS),
        body=_object(
            {"photo": TEXT, "coarse_first": TRUTH, **dict.fromkeys(KNOBS, _or_null(NUMBER))},
            "photo",
        ),
        refusals=(408, 409, 413, 415, 422, 503),
    ),
    Endpoint(
        "POST",
        "/v1/text",
        model_routes.find_words,
        "A mask an object, or events.",
        types=(JSON, EVENTS),
        body=_object(
            {
                "photo": TEXT,
                "phrases": _list(TEXT),
                "exclude": _or_null(_list(TEXT)),
                "threshold": _or_null(NUMBER),
                "top_k": _or_null(WHOLE),
                "nms_iou": _or_null(NUMBER),
                "best_phrase": TRUTH,
                "duplicate_iou": _or_null(NUMBER),
            },
            "photo",
            "phrases",
        ),
        refusals=(408, 409, 413, 415, 422, 503),
    ),
    Endpoint(
        "GET",
        "/v1/photos/{id}/annotations",
        photo_routes.load_annotations,
        "The photo's objects.",
        refusals=(422,),
    ),
    Endpoint(
        "PUT",
        "/v1/photos/{id}/annotations",
        photo_routes.save_annotations,
        "The new version.",
        body=_object(
            {"base_version": WHOLE, "done": _or_null(TRUTH), "objects": _list(OBJECT)},
            "base_version",
            "objects",
        ),
        refusals=(408, 409, 413, 415, 507),
    ),
    Endpoint(
        "PATCH",
        "/v1/photos/{id}/annotations",
        photo_routes.change_annotations,
        "The new version.",
        body=_object(
            {
                "base_version": WHOLE,
                "done": _or_null(TRUTH),
                "set": _list(OBJECT),
                "remove": _list(TEXT),
            },
            "base_version",
        ),
        refusals=(408, 409, 413, 415, 507),
    ),
    Endpoint(
        "POST",
        "/v1/export",
        photo_routes.export_photos,
        "A file, or a zip of them.",
        types=(JSON, "image/png", "image/svg+xml", "text/plain", "application/zip"),
        body=_object(
            {
                "format": {"enum": list(KINDS)},
                "photos": {"anyOf": [_list(TEXT), {"const": "all"}]},
                "objects": _list(OBJECT),
                "tolerance": NUMBER,
            }
        ),
        refusals=(408, 413, 415, 422, 503),
    ),
)

EVERYWHERE = (400, 401, 403, 404, 500)


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    error = _object({"code": TEXT, "message": TEXT}, "code", "message")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sam-edge",
            "version": __version__,
            "description": "What the fields mean stands in docs/http.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": _object({"error": {**error, "additionalProperties": True}}, "error")
            },
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in endpoint.query.items()
    ]
    if "{id}" in endpoint.path:
        parameters.append({"name": "id", "in": "path", "required": True, "schema": TEXT})
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    refusals = {
        str(status): {"description": "See docs/http.md.", "content": {JSON: error}}
        for status in sorted({*EVERYWHERE, *endpoint.refusals})
    }
    content: dict[str, Any] = {kind: {} for kind in endpoint.types}
    good: dict[str, Any] = {"description": endpoint.answer}
    if content:
        good["content"] = content
    bodies: dict[str, Any] = {}
    if endpoint.body is not None:
        bodies[JSON] = {"schema": endpoint.body}
    if endpoint.photo:
        bodies |= {kind: {} for kind in PHOTO_BYTES}
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": (endpoint.handler.__doc__ or "").strip().splitlines()[0],
        "parameters": parameters,
        "responses": {str(endpoint.status): good, **refusals},
    }
    if bodies:
        operation["requestBody"] = {"required": True, "content": bodies}
    if endpoint.path == "/v1/health":
        operation["security"] = []
    return operation
