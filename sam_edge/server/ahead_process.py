"""The process that encodes ahead: at the lowest priority, one JSON line in and one out a photo.

Started by ``sam_edge.server.ahead``. It ends when its stdin does, so it outlives no server; and as
it would not notice that while it is stopped, Linux kills it with the server.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from sam_edge.errors import ImageError
from sam_edge.image import read_image
from sam_edge.loading import load_model
from sam_edge.model import Model
from sam_edge.text import printable

NICE = 19

PR_SET_PDEATHSIG = 1
"""Source: ``linux/prctl.h``."""


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the server tells
    if hasattr(os, "nice"):
        os.nice(NICE)
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    model = load_model(**json.loads(sys.stdin.readline()))
    _say(answers, {"stoppable": _dies_with_server()})
    for line in sys.stdin:
        _say(answers, _answer(model, json.loads(line)))


def _say(to: TextIO, answer: dict[str, Any]) -> None:
    to.write(json.dumps(answer) + "\n")
    to.flush()


def _dies_with_server() -> bool:
    if sys.platform != "linux":
        return False
    return not ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _answer(model: Model, work: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()  # a clock that the server has, too
    try:
        pixels = read_image(Path(work["path"]))
        size = pixels.shape[:2]
        if work["part"] is not None:
            x0, y0, x1, y1 = work["part"]
            pixels = pixels[y0:y1, x0:x1]
        model.encode_image(pixels).save(work["out"])
    except Exception as error:
        kind = "photo" if isinstance(error, ImageError) else "engine"
        return {"error": printable(str(error))[:500], "kind": kind}
    return {"size": size, "start": start, "end": time.monotonic()}


if __name__ == "__main__":
    main()
