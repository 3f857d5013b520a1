"""What the server sends: JSON, frames of tensors, streams of events, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sam_edge.server.refusals import RefusedError, as_refusal

T = TypeVar("T")
Emit: TypeAlias = Callable[[dict[str, Any]], None]
"""Takes one event; may be called in the event loop only."""

ALIGNMENT = 16


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


def json_answer(content: object, status: int = 200, headers: Mapping[str, str] = {}) -> Response:
    """Return a JSON answer."""
    return Response(json_bytes(content), status, headers, "application/json")


def json_bytes(content: object) -> bytes:
    """Spell JSON as short as it can be. A NaN in it is a bug and raises."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def refusal_answer(refusal: RefusedError) -> Response:
    """Return an error's answer."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_answer({"error": error_fields(refusal)}, refusal.status, headers)


def error_fields(refusal: RefusedError) -> dict[str, Any]:
    """Return what ``error`` says."""
    return {"code": refusal.code, "message": str(refusal), **refusal.more}


def frame(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> bytes:
    """Lay out tensors behind a JSON header; see "Binary answers" in ``docs/http.md``."""
    entries, parts, offset = [], [], 0
    for name, tensor in tensors.items():
        data = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes()
        entries.append(
            {
                "name": name,
                "dtype": tensor.dtype.name,
                "shape": list(tensor.shape),
                "offset": offset,
                "bytes": len(data),
            }
        )
        parts.append(data)
        offset += len(data)
    header = json_bytes({**facts, "tensors": entries})
    header += b" " * (-(4 + len(header)) % ALIGNMENT)
    return b"".join([len(header).to_bytes(4, "little"), header, *parts])


def frame_answer(tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Response:
    """Return a frame's answer."""
    return Response(frame(tensors, facts), media_type="application/octet-stream")


async def while_there(request: Request, work: Awaitable[T]) -> T:
    """Do work as long as its client waits for it. The request's body must have been read.

    Raises:
        ClientGoneError: if the client closed the connection; the work is cancelled.
    """
    return await _until_gone(request.receive, asyncio.ensure_future(work))


async def _until_gone(receive: Receive, work: asyncio.Future[T]) -> T:
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        both: set[asyncio.Future[Any]] = {work, gone}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientGoneError
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def long_answer(
    request: Request, work: Callable[[Emit], Awaitable[dict[str, Any]]]
) -> Response:
    """Answer with a stream of events if the client takes one, else when the work is done.

    What is refused before the first event is an ordinary error with its status.

    Args:
        request: whose body has been read.
        work: is given what takes events, and returns what ``done`` says.
    """
    if "application/x-ndjson" not in request.headers.get("accept", ""):
        return json_answer(await while_there(request, work(lambda event: None)))
    events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(events.put_nowait))
    task.add_done_callback(lambda _: events.put_nowait(None))
    first: dict[str, Any] | None = None
    try:
        first = await _until_gone(request.receive, asyncio.ensure_future(events.get()))
        if first is None and not task.cancelled() and task.exception() is not None:
            await task
    except BaseException:
        task.cancel()
        raise
    return _EventStream(first, events, task)


class _EventStream(Response):
    """The rest of the events, then ``done`` or ``error``."""

    media_type = "application/x-ndjson"

    def __init__(
        self,
        first: dict[str, Any] | None,
        events: asyncio.Queue[dict[str, Any] | None],
        task: asyncio.Future[dict[str, Any]],
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first, self._events, self._task = first, events, task

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _until_gone(receive, asyncio.ensure_future(self._send(send)))
        except (ClientGoneError, OSError):
            pass
        finally:
            self._task.cancel()

    async def _send(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        event = self._first
        while event is not None:
            await self._line(send, event)
            event = await self._events.get()
        try:
            last = {"event": "done", **await self._task}
        except Exception as error:
            refusal = as_refusal(error)
            last = {"event": "error", "status": refusal.status, "error": error_fields(refusal)}
        await self._line(send, last)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _line(self, send: Send, event: dict[str, Any]) -> None:
        body = json_bytes(event) + b"\n"
        await send({"type": "http.response.body", "body": body, "more_body": True})
