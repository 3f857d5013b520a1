"""A real HTTP server on loopback that misbehaves as it is told."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does. ``requests`` notes the Range header of each file request, or ''."""

    content: bytes
    cut_after: int | None = None  # bytes of each answer before the connection drops
    ranges: bool = True
    claimed_length: int | None = None
    statuses: list[int] = field(default_factory=list)  # answered first, one a request
    retry_after: str | None = None
    stall_once_after: int | None = None
    redirect: bool = False
    loop: bool = False
    shift_ranges: bool = False
    slow: float = 0.0  # seconds between pieces
    piece: int = 4096  # bytes
    location: str | None = None  # where every request is sent on to
    body_of_redirect: int = 0  # bytes, which come at one piece every tenth of a second
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request
    requests: list[str] = field(default_factory=list)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Yield the address of the folder that holds the file."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.close_connection = True
            behaviour.headers.append(dict(self.headers))
            location = behaviour.location
            if behaviour.loop or (behaviour.redirect and "moved" not in self.path):
                location = f"/moved{'' if behaviour.loop else self.path}"
            if location is not None:
                self.send_response(302)
                self.send_header("Location", location)
                self.send_header("Content-Length", str(behaviour.body_of_redirect))
                self.end_headers()
                self.send(bytes(behaviour.body_of_redirect), 0.1)
                return
            asked = self.headers.get("Range", "")
            behaviour.requests.append(asked)
            if behaviour.statuses:
                self.send_response(behaviour.statuses.pop(0))
                if behaviour.retry_after is not None:
                    self.send_header("Retry-After", behaviour.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.answer(asked)

        def answer(self, asked):
            body, start = behaviour.content, 0
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            if match and behaviour.ranges:
                start = int(match[1])
                if start >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                claimed = start + 1 if behaviour.shift_ranges else start
                self.send_header("Content-Range", f"bytes {claimed}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            length = behaviour.claimed_length
            self.send_header("Content-Length", str(len(body) - start if length is None else length))
            self.end_headers()
            end = len(body) if behaviour.cut_after is None else start + behaviour.cut_after
            body = body[start:end]
            if behaviour.stall_once_after is not None:
                self.send(body[: behaviour.stall_once_after], 0)
                behaviour.stall_once_after = None
                time.sleep(3)
                return
            self.send(body, behaviour.slow)

        def send(self, content, pause):
            piece = behaviour.piece
            for at in range(0, len(content), piece):
                try:
                    self.wfile.write(content[at : at + piece])
                except OSError:
                    return
                time.sleep(pause)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
