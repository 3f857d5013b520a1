"""Time and memory of one encoder in a process of its own: ``python -m ...fresh REQUEST``."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sam_edge.gates import open_encoder
from sam_edge_runtimes import FLOAT32, EngineError
from sam_edge_runtimes.memory import peak_rss


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        engine: an installed one.
        graph: the encoder's file.
        image: a ``.npy`` file with its input, ``(1, 3, S, S)`` float32.
        runs: after one to warm up.
        threads: None leaves it to the engine.
        compute: the format of its products.
    """

    engine: str
    graph: str
    image: str
    runs: int
    threads: int | None
    compute: str = FLOAT32


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took.

    Attributes:
        seconds: the median run.
        peak_bytes: peak RSS of the process, None where the system does not tell.
    """

    seconds: float
    peak_bytes: int | None


def cost_of(request: Request) -> Cost:
    """Run a request in a fresh process.

    Raises:
        EngineError: if the process fails, with its last line.
    """
    command = [sys.executable, "-m", "sam_edge_export.quantize.fresh", json.dumps(asdict(request))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EngineError((done.stderr.strip().splitlines() or ["a measuring process died"])[-1])
    return Cost(**json.loads(done.stdout))


def _run(request: Request) -> Cost:
    image = np.load(request.image)
    session = open_encoder(
        request.engine, Path(request.graph), image.shape[2:], request.threads, request.compute
    )
    taken = []
    for _ in range(request.runs + 1):
        began = time.perf_counter()
        session.run({"image": image})
        taken.append(time.perf_counter() - began)
    return Cost(statistics.median(taken[1:]), peak_rss())


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_run(Request(**json.loads(sys.argv[1]))))))
