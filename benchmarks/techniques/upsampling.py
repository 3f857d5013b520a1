"""What bringing three masks to a photo's pixels takes, by how much of the photo has an edge in it.

``python benchmarks/techniques/upsampling.py`` writes ``upsampling.json`` beside this file: for each
photo in the box and a grid of clicks, the candidates of the model in the box, brought to a photo
of 1800 x 1200; and three masks of noise, the worst there is. Beside each, ``every_pixel_ms`` is the
same by resizing every logit and comparing, in turn.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sam_edge import load_model
from sam_edge.image import read_image, resized_shape
from sam_edge.masks.rle import Mask
from sam_edge.masks.upsample import upsample_logits, upsample_masks
from sam_edge.photos import photos_in
from sam_edge_runtimes import Float32
from sam_edge_runtimes.compiled import processor

PHOTO = (1200, 1800)
CLICKS = 5
ROUNDS = 15
RESULT = Path(__file__).with_suffix(".json")


def main() -> None:
    """Measure and write."""
    model = load_model()
    size = model.spec.image_size
    where = {
        "input_size": resized_shape(*PHOTO, size),
        "image_size": size,
        "original_size": PHOTO,
    }
    typical = []
    for photo in photos_in(None):
        pixels = np.asarray(read_image(photo))
        embedding = model.encode_image(pixels)
        height, width = pixels.shape[:2]
        for x in np.linspace(0.1, 0.9, CLICKS):
            for y in np.linspace(0.1, 0.9, CLICKS):
                found = model.decode(embedding, [(x * width, y * height)])
                typical.append(timed(found.low_res_logits, where))
    side = model.spec.low_res_size
    noise = np.random.default_rng(0).standard_normal((3, side, side), np.float32)
    rows = {
        "typical": {
            name: {
                "median": statistics.median(row[name] for row in typical),
                "p95": float(np.percentile([row[name] for row in typical], 95)),
            }
            for name in typical[0]
        },
        "noise": timed(noise, where),
    }
    cpu = json.loads(processor())[2].get("model name", "")
    content = {"cpu": cpu, "photo": PHOTO, "clicks": len(typical), **rows}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))


def timed(logits: Float32, where: dict[str, Any]) -> dict[str, float]:
    """Return medians in milliseconds of both ways, taken in turn."""

    def every_pixel() -> Mask:
        return upsample_logits(logits, **where) > 0

    ways: dict[str, Callable[[], Mask]] = {
        "ms": lambda: upsample_masks(logits, **where),
        "every_pixel_ms": every_pixel,
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(samples[1:]) for name, samples in taken.items()}


if __name__ == "__main__":
    main()
