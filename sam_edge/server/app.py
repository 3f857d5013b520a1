"""The application: routes behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sam_edge.server.answers import json_answer, refusal_answer
from sam_edge.server.body import Budget
from sam_edge.server.guard import Guard
from sam_edge.server.openapi import ENDPOINTS, document
from sam_edge.server.page import STATIC, page_files, show_page
from sam_edge.server.refusals import NotFoundError, RefusedError, WrongMethodError
from sam_edge.server.service import Service


def application(service: Service, static: Path = STATIC) -> Starlette:
    """Return the ASGI application.

    Args:
        service: what answers.
        static: the folder of the page's files, which need not be there.
    """
    described = document()

    async def openapi(request: Request) -> Response:
        return json_answer(described)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await service.close()

    budget = Budget(service.options.limits.bodies_bytes)
    app = Starlette(
        routes=[
            *(Route(item.path, item.handler, methods=[item.method]) for item in ENDPOINTS),
            Route("/openapi.json", openapi),
            Route("/{path:path}", show_page),
        ],
        middleware=[Middleware(Guard, options=service.options, budget=budget)],
        exception_handlers={HTTPException: _refused},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.budget = budget
    app.state.page = page_files(static)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Say in our own words what Starlette refuses: a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    kinds: dict[int, type[RefusedError]] = {404: NotFoundError, 405: WrongMethodError}
    kind = kinds.get(error.status_code, RefusedError)
    answer = refusal_answer(kind("this path has no such method; see /openapi.json"))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer
