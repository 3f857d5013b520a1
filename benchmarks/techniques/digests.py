"""What it costs at the start that bytes are compared with their digests.

``python benchmarks/techniques/digests.py NAME=BUNDLE ...`` opens each bundle on each engine from
the cache, in turn, and writes ``digests.json`` beside this file: seconds to open both graphs, and
seconds of it in which the bundle's files and what the engine made of them were hashed. The files
are in the system's memory, as after a first start.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sam_edge.bundle
import sam_edge_runtimes.compiled
from sam_edge.bundle import read_spec
from sam_edge.loading import graph_opener
from sam_edge.spec import ROLES
from sam_edge_runtimes import ENGINES, engine_version
from sam_edge_runtimes.compiled import processor

ROUNDS = 7
RESULT = Path(__file__).with_suffix(".json")


def main(bundles: list[str]) -> None:
    """Measure and write."""
    spent: list[float] = []
    for module, name in (
        (sam_edge.bundle, "examine"),
        (sam_edge.bundle, "sha256_file"),
        (sam_edge_runtimes.compiled, "sha256_file"),
    ):
        setattr(module, name, timed(getattr(module, name), spent))
    rows = []
    for bundle in bundles:
        label, _, path = bundle.partition("=")
        directory = Path(path)
        spec = read_spec(directory)
        for engine in ENGINES:
            engine_version(engine)  # its import is the same for every model
            samples = []
            for _ in range(ROUNDS + 1):  # the first may have to fill the cache
                spent.clear()
                sam_edge_runtimes.compiled._compared.clear()  # as in a new process
                began = time.perf_counter()
                sessions = [graph_opener(directory, spec, role, engine, 2)() for role in ROLES]
                samples.append((time.perf_counter() - began, sum(spent)))
                del sessions
            opened, hashed = (
                statistics.median(column) for column in zip(*samples[1:], strict=True)
            )
            rows.append({"model": label, "engine": engine, "open_s": opened, "hash_s": hashed})
            print(rows[-1])
    cpu = json.loads(processor())[2].get("model name", "")
    RESULT.write_text(json.dumps({"cpu": cpu, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return the function with its time added to a list."""

    def call(*arguments: object) -> object:
        began = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            spent.append(time.perf_counter() - began)

    return call


if __name__ == "__main__":
    main(sys.argv[1:])
