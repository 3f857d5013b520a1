"""Measure the server: what a decode's trip costs beside the decoder alone, and twenty clients.

    python benchmarks/techniques/serve_load.py   # needs two minutes; writes serve_load.json

The server is ``sam-edge serve`` in a process of its own with the model in the box. A request is
what the page sends while the pointer hovers: one point, the best mask's logits in float16. Native
is the same decode through ``Model.decode_tensors`` in this process, in turn with the lone client's
trips. The load is one request in flight a client, sent anew when it is answered, each on its own
connection, from the threads of a third process.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from processes import answer_of, served

import sam_edge
from sam_edge.photos import photos_in
from sam_edge.prompts import Prompt, sparse_prompts
from sam_edge_benchmarks.machine import fingerprint
from sam_edge_runtimes.memory import resident_sizes

RESULT = Path(__file__).parent / "serve_load.json"
SIZE = 451, 300  # of chelsea.jpg
WARM_UP = 30


class Client:
    """One keep-alive connection."""

    def __init__(self, address: str, embedding: str, number: int) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self._path = f"/v1/embeddings/{embedding}/decode"
        self._headers = {"Content-Type": "application/json", "X-Client": f"client-{number:04d}"}
        self._random = random.Random(number)

    def hover(self) -> tuple[int, float]:
        """Ask once; return the status and the seconds."""
        x, y = (self._random.uniform(0, side) for side in SIZE)
        asked = {"points": [[x, y]], "answer": "logits", "only_best": True, "hover": True}
        body = json.dumps(asked)
        start = time.perf_counter()
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status, time.perf_counter() - start


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--lone", type=int, default=300, help="trips of the lone client")
    parser.add_argument(
        "--load", nargs=2, metavar=("ADDRESS", "EMBEDDING"), help="the third process"
    )
    parser.add_argument("-m", "--model", help="a bundle's folder; default: the model in the box")
    parser.add_argument("-o", "--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.load:
        address, embedding = arguments.load
        print(json.dumps(load(address, embedding, arguments.clients, arguments.seconds)))
        return
    arguments.out.write_text(json.dumps(measure(arguments), indent=1) + "\n", encoding="utf-8")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the record."""
    photo = next(path for path in photos_in(None) if path.name == "chelsea.jpg")
    with tempfile.TemporaryDirectory() as cache:
        words = [] if arguments.model is None else ["-m", arguments.model]
        with served(str(photo), *words, cache=cache) as (address, server):
            address = address.rstrip("/")
            embedding = encode(address, photo)
            variant = sam_edge.load_model(arguments.model).spec.variant
            lone = lone_trips(address, embedding, photo, arguments)
            before = resident_sizes(server)
            Path(f"/proc/{server}/clear_refs").write_text("5", encoding="ascii")  # the peak's
            words = ["--load", address, embedding]
            words += ["--clients", str(arguments.clients), "--seconds", str(arguments.seconds)]
            loaded = answer_of(__file__, *words)
            after = resident_sizes(server)
    machine = fingerprint()
    trips, native = lone["trip_s"], lone["native_s"]
    busy = loaded.pop("trip_s")
    record = {
        "machine": {"processor": machine["cpu_model"], "cores": machine["cores"]},
        "load_average": os.getloadavg(),
        "model": variant,
        "native_ms": percentiles(native),
        "lone_trip_ms": percentiles(trips),
        "trip_to_native": statistics.median(trips) / statistics.median(native),
        "clients": arguments.clients,
        "seconds": arguments.seconds,
        **loaded,
        "answers_a_second": len(busy) / arguments.seconds,
        "loaded_trip_ms": percentiles(busy),
        "loaded_p95_to_lone_p50": float(np.percentile(busy, 95)) / statistics.median(trips),
        "rss_before_mb": before["VmRSS"] / 1e6,
        "peak_rss_mb": after["VmHWM"] / 1e6,
        "rss_grown_mb": (after["VmHWM"] - before["VmRSS"]) / 1e6,
    }
    print(json.dumps(record, indent=1))
    return record


def encode(address: str, photo: Path) -> str:
    """Encode the photo, and return its embedding's id."""
    parts = urlsplit(address)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=600)
    body = json.dumps({"path": photo.name})
    connection.request("POST", "/v1/encode", body, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    identity: str = answer["embedding"]["id"]
    return identity


def lone_trips(
    address: str, embedding: str, photo: Path, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Time the decoder alone and a trip, in turn: the machine's speed drifts."""
    model = sam_edge.load_model(arguments.model)
    encoded = model.encode_image(photo)
    coords, labels = sparse_prompts(
        Prompt.of([(200, 150)]), encoded.original_size, encoded.input_size
    )
    client = Client(address, embedding, 0)
    times: dict[str, list[float]] = {"native_s": [], "trip_s": []}
    for number in range(-WARM_UP, arguments.lone):
        start = time.perf_counter()
        model.decode_tensors(encoded, coords[None], labels[None])
        native = time.perf_counter() - start
        status, trip = client.hover()
        assert status == 200
        if number >= 0:
            times["native_s"].append(native)
            times["trip_s"].append(trip)
    return times


def load(address: str, embedding: str, clients: int, seconds: float) -> dict[str, Any]:
    """Be many clients for some time."""
    statuses: Counter[int] = Counter()
    times: list[float] = []
    errors: list[str] = []
    end = time.monotonic() + seconds

    def run(number: int) -> None:
        client = Client(address, embedding, number + 1)
        try:
            while time.monotonic() < end:
                status, trip = client.hover()
                statuses[status] += 1
                if status == 200:
                    times.append(trip)
                else:
                    time.sleep(0.05)
        except (OSError, http.client.HTTPException) as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"statuses": dict(statuses), "errors": errors, "trip_s": times}


def percentiles(times: list[float]) -> dict[str, float]:
    """Return some of them, in ms."""
    return {f"p{at}": 1000 * float(np.percentile(times, at)) for at in (5, 50, 95, 99)}


if __name__ == "__main__":
    main()
