"""Firefox as it is installed, driven by what it brings itself: its protocol Marionette."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Marionette:
    """A window of a running Firefox.

    Source: https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html
    """

    def __init__(self, port: int, timeout: float = 60) -> None:
        self._stream = _connected(port, timeout)
        self._file = self._stream.makefile("rb")
        self._read()  # who it is
        self._number = 0
        self.call("WebDriver:NewSession", {})

    def call(self, name: str, body: dict[str, Any]) -> Any:
        """Send a command and return what it answers."""
        self._number += 1
        text = json.dumps([0, self._number, name, body]).encode()
        self._stream.sendall(b"%d:%b" % (len(text), text))
        _, number, error, result = self._read()
        assert number == self._number
        assert error is None, error
        return result

    def evaluate(self, script: str, *arguments: object) -> Any:
        """Run a function's body in the page; a promise is waited for."""
        body = {"script": script, "args": list(arguments)}
        return self.call("WebDriver:ExecuteScript", body)["value"]

    def wait_for(self, condition: str, timeout: float = 60) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + timeout
        while not self.evaluate(f"return Boolean({condition})"):
            if time.monotonic() > end:
                shown = self.evaluate("return document.body.innerText")
                raise AssertionError(f"not {condition}, but the page says: {shown}")
            time.sleep(0.1)

    def close(self) -> None:
        self._file.close()
        self._stream.close()

    def _read(self) -> Any:
        length = b""
        while (digit := self._file.read(1)) != b":":
            assert digit, "Firefox has closed the connection"
            length += digit
        return json.loads(self._file.read(int(length)))


def _connected(port: int, timeout: float) -> socket.socket:
    end = time.monotonic() + timeout
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout)
        except OSError:
            assert time.monotonic() < end, "Firefox does not listen"
            time.sleep(0.2)


@contextmanager
def firefox(program: str, profile: Path) -> Iterator[Marionette]:
    """Run Firefox without a window, on a new profile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    profile.mkdir()
    preferences = {
        "marionette.port": port,
        "datareporting.policy.dataSubmissionEnabled": False,
        "dom.storageManager.prompt.testing": True,
        "dom.storageManager.prompt.testing.allow": True,
    }
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(at)});" for key, at in preferences.items()]
    (profile / "user.js").write_text("\n".join(lines))
    process = subprocess.Popen(
        [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        window = Marionette(port)
        yield window
        window.close()
    finally:
        process.terminate()
        process.wait(30)
