"""A process that does photos: settings in, then a job in and an outcome out, until stdin ends.

Meanwhile ``ALIVE`` says that it gets on. Started by ``sam_edge.batch.steady``; it ends when its
parent does, so it outlives no batch.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from sam_edge.batch.values import ALIVE, reason
from sam_edge.batch.worker import Worker
from sam_edge.errors import SamEdgeError
from sam_edge_runtimes.memory import resident_sizes


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent tells
    # Whatever an engine prints is no answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.basicConfig(format="%(message)s", level="WARNING")
    requests = sys.stdin.buffer

    writing = threading.Lock()  # photos are decoded ahead, in a thread
    said = time.monotonic()

    def answer(content: object) -> None:
        with writing:
            pickle.dump(content, answers)
            answers.flush()

    def alive() -> None:
        nonlocal said
        if time.monotonic() - said > settings.stall_timeout / 10:
            said = time.monotonic()
            answer(ALIVE)

    try:
        settings, share = pickle.load(requests)
        limit_memory(share)
        worker = Worker(settings, alive)
        worker.limited = share is not None
    except Exception as error:
        answer(error if isinstance(error, SamEdgeError) else SamEdgeError(reason(error)))
        return
    answer(None)
    serve(worker, lambda: pickle.load(requests), answer)


def serve(worker: Worker, request: Callable[[], Any], answer: Callable[[object], None]) -> None:
    """Answer jobs, each with how much memory is held then, where that is limited."""
    while True:
        try:
            job, share = request()
        except EOFError:
            return
        limit_memory(share)
        outcome = worker(job)
        # What is limited is data, of which not all is resident.
        held = 0 if share is None else resident_sizes().get("VmData", 0)
        answer((outcome, held))


def limit_memory(share: int | None) -> None:
    """Let this process have no more data than its share, where the system can keep it to that.

    An allocation beyond it fails, which fails one photo and not the machine.
    """
    if share is None or sys.platform != "linux":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = share if hard == resource.RLIM_INFINITY else min(share, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


if __name__ == "__main__":
    main()
