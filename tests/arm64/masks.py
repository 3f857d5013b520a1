"""Masks of two processors beside each other; needs no torch.

``python masks.py write FILE [ENGINE...]`` writes those of nano, stored in float32 and in 8 bits, on
each engine and in each number format that the engine has on this processor;
``python masks.py compare HERE THERE`` exits with 1 if THERE's are not HERE's of float32.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import sam_edge
from sam_edge.errors import SamEdgeError
from sam_edge.filling.bundle import fill_bundle
from sam_edge.photos import photos_in
from sam_edge_runtimes import ENGINES, FORMATS, formats_of

CHECKPOINT = Path(__file__).parents[2] / "export" / "training" / "nano.safetensors"

# Of single masks, the worst candidate's included. Reduced formats round: how good their masks
# are is for `sam-edge verify` to say, here they must be the same answer and not another one.
LEAST_IOU = {"float32": 0.999, "bfloat16": 0.9, "float16": 0.97}


def say(line: str) -> None:
    """Print at once: an emulated run takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def prompts(height: int, width: int) -> dict[str, sam_edge.Prompt]:
    """Return a click on the photo's middle, and a box around it."""
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    return {
        "point": sam_edge.Prompt.of([(width // 2, height // 2)]),
        "box": sam_edge.Prompt.of(box=box),
    }


def masks_of(bundle: str | None, engine: str, compute: str) -> dict[str, np.ndarray]:
    """Return masks of two photos by photo and prompt; none where the format is refused."""
    try:
        model = sam_edge.load_model(bundle, runtime=engine, compute=compute, cache=False)
    except SamEdgeError as error:
        if compute in formats_of(engine):
            raise
        say(str(error))
        return {}
    if compute not in formats_of(engine):
        raise SystemExit(f"{engine} took {compute}, which this processor has not")
    masks = {}
    for photo in photos_in(None)[:2]:
        embedding = model.encode_image(photo)
        for name, prompt in prompts(*embedding.original_size).items():
            (result,) = model.decode_batch(embedding, [prompt])
            masks[f"{Path(photo).stem} {name}"] = result.masks
    return masks


def write(target: Path, engines: list[str]) -> None:
    """Write this processor's masks, each by the name of what gave it."""
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "nano"
        fill_bundle(CHECKPOINT, filled)
        for stored, bundle in {"float32": str(filled), "int8-weights": None}.items():
            for engine in engines:
                for compute in FORMATS:
                    start = time.monotonic()
                    masks = masks_of(bundle, engine, compute)
                    found |= {f"{stored} {engine} {compute} {key}": masks[key] for key in masks}
                    seconds = time.monotonic() - start
                    say(f"{stored} {engine} {compute}: {seconds:.0f} s")
    np.savez_compressed(target, allow_pickle=False, **found)


def compare(here: Path, there: Path) -> bool:
    """Print each way's least IoU; return whether all are the same masks."""
    least: dict[tuple[str, ...], float] = {}
    with np.load(here) as one, np.load(there) as other:
        for key in other.files:
            *way, photo, prompt = key.split()
            exact = one[f"{way[0]} {way[1]} float32 {photo} {prompt}"]
            both, either = (exact & other[key]).sum((1, 2)), (exact | other[key]).sum((1, 2))
            iou = float((both / np.maximum(either, 1)).min())
            least[tuple(way)] = min(least.get(tuple(way), 1.0), iou)
    for way, iou in least.items():
        say(f"{' '.join(way)}: least IoU {iou:.5f}")
    return bool(least) and all(iou >= LEAST_IOU[way[-1]] for way, iou in least.items())


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), sys.argv[3:] or list(ENGINES))
    elif not compare(Path(sys.argv[2]), Path(sys.argv[3])):
        sys.exit("not the same masks")
