"""A client of `sam-edge serve` in one file, with nothing but the standard library.

    sam-edge serve photos/ --no-browser          # in one terminal
    python examples/http_client.py photo.jpg 500,375 mask.png

docs/http.md says what else there is.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ADDRESS = os.environ.get("SAM_EDGE_ADDRESS", "http://127.0.0.1:8765")
TOKEN = os.environ.get("SAM_EDGE_TOKEN", "")


def request(
    method: str,
    path: str,
    body: object = None,
    media_type: str = "application/json",
    **headers: str,
) -> Any:  # noqa: ANN401 - JSON is anything
    """Ask the server, and return its answer as it stands: a response to be read."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if TOKEN:
        headers["Authorization"] = f"Bearer {TOKEN}"
    if data is not None:
        headers["Content-Type"] = media_type
    asked = urllib.request.Request(ADDRESS + path, data, headers, method=method)
    # No proxy: the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(asked, timeout=600)
    except urllib.error.HTTPError as error:
        said = json.load(error)["error"]
        sys.exit(f"{error.code} {said['code']}: {said['message']}")


def call(method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON is anything
    """Ask for JSON."""
    with request(method, path, body) as answer:
        return json.load(answer)


def encode(photo: Path) -> Iterator[dict[str, Any]]:
    """Send a photo and yield what happens to it, ``done`` last."""
    path = f"/v1/encode?name={urllib.parse.quote(photo.name)}"
    with request(
        "POST",
        path,
        photo.read_bytes(),
        "application/octet-stream",
        Accept="application/x-ndjson",
    ) as answer:
        for line in answer:
            event = json.loads(line)
            if event["event"] == "error":
                sys.exit(f"{event['status']} {event['error']['message']}")
            yield event


def frame(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Take a binary answer apart: what it says, and its tensors' bytes by their names."""
    (length,) = struct.unpack_from("<I", data)
    facts = json.loads(data[4 : 4 + length])
    start = 4 + length
    tensors = {
        tensor["name"]: data[start + tensor["offset"] : start + tensor["offset"] + tensor["bytes"]]
        for tensor in facts["tensors"]
    }
    return facts, tensors


def main() -> None:
    """Segment one click."""
    photo, click, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    print(call("GET", "/v1/version"))
    event: dict[str, Any] = {}
    for event in encode(photo):
        print(event["event"], {name: event[name] for name in event if name != "event"})
    identity = event["embedding"]["id"]
    prompt = {"points": [[float(number) for number in click.split(",")]]}

    # While the pointer hovers: low-resolution logits, half the bytes of float32.
    hover = {**prompt, "answer": "logits", "only_best": True, "hover": True}
    with request("POST", f"/v1/embeddings/{identity}/decode", hover) as answer:
        facts, tensors = frame(answer.read())
    (tensor,) = facts["tensors"]
    size = len(tensors["low_res_logits"])
    print(f"logits {tensor['shape']} {tensor['dtype']}, {size} bytes, scores {facts['scores']}")

    # What is kept: the exact mask, and a file of it.
    found = call("POST", f"/v1/embeddings/{identity}/decode", {**prompt, "only_best": True})
    (mask,) = found["masks"]
    print(f"mask of {mask['area']} pixels in {mask['box']}, score {mask['score']:.3f}")
    thing = {"id": "1", "label": "thing", "rle": mask["rle"], "score": mask["score"]}
    wanted = {"format": "mask", "photos": [event["photo"]["id"]], "objects": [thing]}
    with request("POST", "/v1/export", wanted) as answer:
        out.write_bytes(answer.read())
    print(out)


if __name__ == "__main__":
    main()
