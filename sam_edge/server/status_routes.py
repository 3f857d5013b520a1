"""Whether the server is there, and which it is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sam_edge._version import __version__
from sam_edge.server.answers import json_answer

API = 1
"""Changes when a client of before would no longer work."""


async def health(request: Request) -> Response:
    """Say that the server answers."""
    return json_answer({"status": "ok"})


async def version(request: Request) -> Response:
    """Say which version answers."""
    return json_answer({"name": "sam-edge", "version": __version__, "api": API})
