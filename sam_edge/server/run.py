"""Listen, and answer until told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sam_edge.errors import SamEdgeError
from sam_edge.grounding.grounder import Grounder
from sam_edge.model import Model
from sam_edge.server.app import application
from sam_edge.server.options import Options
from sam_edge.server.page import STATIC
from sam_edge.server.service import Choice, Service

STOP_S = 3
"""How long answers that are under way may take when the server is told to stop."""


class ListenError(SamEdgeError, OSError):
    """An address that cannot be listened on."""


def open_socket(options: Options) -> socket.socket:
    """Listen, so that whatever is asked from now on is answered once the server runs.

    Raises:
        ListenError: if somebody else does already, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio switches off Nagle's waiting, 40 ms an answer, where it is told that this is TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((options.host, options.port))
        listening.listen(options.limits.connections)
    except OSError as error:
        listening.close()
        raise ListenError(
            f"{options.host} port {options.port} cannot be listened on: {error.strerror}; "
            "choose another with --port, or --port 0 for any that is free"
        ) from error
    return listening


def address_of(listening: socket.socket, options: Options) -> str:
    """Return the address to open in a browser on this machine."""
    port = listening.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def server(
    model: Model,
    choice: Choice,
    words: Sequence[str],
    options: Options,
    log_level: str = "error",
    static: Path = STATIC,
    grounder: Grounder | None = None,
) -> uvicorn.Server:
    """Return what serves: ``serve_on`` runs it, and ``should_exit = True`` stops it.

    Args:
        model: what is served.
        choice: how it was opened.
        words: photos and folders, as commands take them.
        options: see there.
        log_level: of uvicorn's own log.
        static: the folder of the page's files.
        grounder: finds what words name; None for none.

    Raises:
        ImageError: if a photo or a folder is not there.
    """
    app = application(Service(model, choice, words, options, grounder), static)
    config = uvicorn.Config(
        app,
        # uvicorn takes a class, or what makes protocols as one.
        http=partial(_Protocol, options.limits.header_s),  # type: ignore[arg-type]
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level=log_level,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=options.limits.connections,
        timeout_keep_alive=options.limits.idle_s,
        timeout_graceful_shutdown=STOP_S,
    )
    return uvicorn.Server(config)


def serve_on(listening: socket.socket, running: uvicorn.Server) -> None:
    """Answer until told to stop; Ctrl-C is the way."""
    try:
        running.run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()


class _Protocol(H11Protocol):
    """HTTP/1.1 that waits for a request's header only so long; uvicorn itself would for ever.

    Args:
        header_s: seconds from the connection, and from a later request's first byte.
    """

    def __init__(self, header_s: float, **arguments: Any) -> None:  # noqa: ANN401
        super().__init__(**arguments)
        self._header_s = header_s
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes; where they are no whole header, wait for the rest of it."""
        super().data_received(data)
        if self._is_between():
            self._wait()
        elif self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self._header_s, self._give_up)

    def _give_up(self) -> None:
        self._patience = None
        if self._is_between():
            self.transport.close()

    def _is_between(self) -> bool:
        return self.cycle is None or self.cycle.response_complete
