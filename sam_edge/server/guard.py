"""Who may ask, and what every answer says to browsers."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sam_edge.server.answers import ClientGoneError, refusal_answer
from sam_edge.server.body import Budget
from sam_edge.server.options import Options
from sam_edge.server.refusals import ForbiddenError, WrongTokenError, as_refusal
from sam_edge.text import shown

logger = logging.getLogger("sam_edge")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
        "style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; font-src 'none'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # The first two let the page have shared memory, and so threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


PIECE_BYTES = 256 * 2**10


class Guard:
    """Lets through what may pass, and turns whatever is raised behind it into an answer.

    A page of another site cannot read an answer, but it could ask: by a name of its own that it
    lets point here (DNS rebinding), which ``Host`` shows, or plainly, which ``Origin`` and
    ``Sec-Fetch-Site`` show.

    Args:
        app: what answers.
        options: the token and the names of this server.
        budget: what bodies are counted in.
    """

    def __init__(self, app: ASGIApp, options: Options, budget: Budget) -> None:
        self._app, self._budget = app, budget
        self._token = None if options.token is None else options.token.encode()
        self._send_s = options.limits.send_s
        self._names = {name.lower() for name in (options.host, *options.hosts)}
        self._anywhere = not is_loopback(options.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            for piece in _pieces(message):
                try:
                    async with asyncio.timeout(self._send_s):
                        await send(piece)
                except TimeoutError:
                    raise ClientGoneError from None

        try:
            self._check(Headers(scope=scope), scope["path"])
            await self._app(scope, receive, guarded)
        except ClientGoneError:
            logger.debug("%s: nobody waits any more", scope["path"])
        except Exception as error:
            refusal = as_refusal(error)
            if started:  # it is too late for another status: the connection breaks off
                logger.error("%s broke off: %s", scope["path"], refusal)
                raise
            await refusal_answer(refusal)(scope, receive, guarded)
        finally:
            self._budget.release(scope)

    def _check(self, headers: Headers, path: str) -> None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            raise ForbiddenError(
                f"the Host {shown(host)} is none of this server's; name it with --allow-host"
            )
        origin = headers.get("origin")
        if origin is not None and not _is_same_origin(origin, host):
            raise ForbiddenError(f"pages of {shown(origin)} may not ask this server")
        if not is_api(path):
            return
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise ForbiddenError("pages of other sites may not ask this server")
        if self._token is not None and path != "/v1/health":
            kind, _, token = headers.get("authorization", "").partition(" ")
            given = token.strip().encode()
            if kind.lower() != "bearer" or not hmac.compare_digest(given, self._token):
                raise WrongTokenError(
                    "this server needs Authorization: Bearer TOKEN, as --token says"
                )

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        if name is None:
            return False
        if name in self._names or name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # A number cannot be rebound: whoever has it in the address bar went there.
        return self._anywhere or address.is_loopback


def _pieces(message: Message) -> Iterator[Message]:
    """Cut a large body, so that a client that does not read it holds up no more than a piece."""
    body = message.get("body", b"")
    more = message.get("more_body", False)
    starts = range(0, len(body), PIECE_BYTES)
    if len(starts) < 2:
        yield message
        return
    for start in starts:
        last = start == starts[-1]
        piece = body[start : start + PIECE_BYTES]
        yield {**message, "body": piece, "more_body": more or not last}


def is_api(path: str) -> bool:
    """Whether a path is of the API, which needs the token; the rest is the page's own files."""
    return path.startswith("/v1/") or path in ("/v1", "/openapi.json")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str | None:
    """Return the name in a ``Host`` header in small letters, without port; None of nonsense.

    >>> host_name("LocalHost:80"), host_name("[::1]:80"), host_name("a@b")
    ('localhost', '::1', None)
    """
    if not host or any(letter in host for letter in "/@\\?#% \t,") or not host.isascii():
        return None
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


def _is_same_origin(origin: str, host: str) -> bool:
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host.lower()
