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
            if behaviour.loop or (behaviour.redirect and "moved" not in self.path):
                self.send_response(302)
                self.send_header("Location", f"/moved{'' if behaviour.loop else self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
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
            piece = 4096
            for at in range(start, min(end, len(body)), piece):
                stall = behaviour.stall_once_after
                if stall is not None and at - start >= stall:
                    behaviour.stall_once_after = None
                    time.sleep(3)
                    return
                try:
                    self.wfile.write(body[at : min(at + piece, end)])
                except OSError:
                    return
                time.sleep(behaviour.slow)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
