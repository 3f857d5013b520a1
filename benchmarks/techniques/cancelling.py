"""How soon an encode ends once it is asked to: on each engine, at twenty moments of the run.

``python benchmarks/techniques/cancelling.py BUNDLE [BUNDLE...]`` writes ``cancelling.json`` beside
this file. ``whole_ms`` is what an encode takes; ``p50_ms`` and ``most_ms`` go from ``Stop.ask`` to
``RunStoppedError`` in the encoding thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge import Model, load_model
from sam_edge.image import RgbImage, read_image
from sam_edge.photos import photos_in
from sam_edge_benchmarks.machine import fingerprint, load_average
from sam_edge_runtimes import ENGINES
from sam_edge_runtimes.errors import RunStoppedError
from sam_edge_runtimes.stopping import Stop

MOMENTS = 20
RESULT = Path(__file__).with_suffix(".json")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    arguments = parser.parse_args()
    before = load_average()
    photo = read_image(photos_in(None)[0])
    rows = []
    for bundle in arguments.bundles:
        for engine in ENGINES:
            model = load_model(bundle, engine)
            rows.append({"model": model.spec.variant, "engine": engine, **measured(model, photo)})
            print(json.dumps(rows[-1]), flush=True)
    content = {"machine": fingerprint(), "load_average": [before, load_average()], "rows": rows}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measured(model: Model, photo: RgbImage) -> dict[str, Any]:
    """Stop encodes at moments spread over their length."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        model.encode_image(photo)
        taken.append(time.perf_counter() - began)
    whole = min(taken)
    waits = []
    for share in np.linspace(0.05, 0.9, MOMENTS):
        stop = Stop()
        asked = [0.0]

        def ask(stop: Stop = stop, asked: list[float] = asked) -> None:
            asked[0] = time.perf_counter()
            stop.ask()

        timer = threading.Timer(share * whole, ask)
        timer.start()
        try:
            model.encode_image(photo, cancel=stop)
        except RunStoppedError:
            waits.append(time.perf_counter() - asked[0])
        timer.cancel()
    return {
        "whole_ms": 1000 * whole,
        "stopped": len(waits),
        "p50_ms": 1000 * statistics.median(waits),
        "most_ms": 1000 * max(waits),
    }


if __name__ == "__main__":
    main()
