"""Writes the test vectors of docs/other-languages.md: what goes into nano's graphs, and comes out.

    python examples/vectors/make.py

Each step's answer is the next one's feed, so that a step can be checked without those before it.
tests/sam_edge/test_vectors.py compares what is here with what Python computes.
"""

from __future__ import annotations

import io
import json
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import sam_edge
from sam_edge.image import input_shape, preprocess, read_image
from sam_edge.mask_picture import mask_picture
from sam_edge.masks import upsample_masks
from sam_edge.prompts import Box, Prompt, sparse_prompts

HERE = Path(__file__).parent
PHOTO = HERE / "photo.png"
SOURCE = HERE.parents[1] / "sam_edge" / "assets" / "photos" / "coffee.jpg"
STEP = 8
"""Of the encoder's input, as large as three photos, every 8th row and column is kept."""

POINT = Prompt.of(points=[(280, 100)])
PROMPTS = {
    "point": POINT,
    "points": Prompt.of(points=[(280, 100), (330, 60)], labels=[1, 0]),
    "box": Prompt.of(box=Box(108, 0, 352, 159)),
    "point_in_box": Prompt.of(points=[(280, 100)], box=Box(108, 0, 352, 159)),
    "again": POINT,
}
"""``again`` also feeds the best answer to ``point`` back in."""


def vectors() -> dict[str, NDArray[np.generic]]:
    """Return every array by its file's name."""
    # Left to itself it computes in what was measured fastest on this machine.
    model = sam_edge.load_model(compute="float32")
    spec = model.spec
    photo = read_image(PHOTO)
    size = (photo.shape[0], photo.shape[1])
    inside = input_shape(*size, spec.image)
    image = preprocess(photo, spec)
    resized = Image.fromarray(photo).resize(inside[::-1], Image.Resampling.BILINEAR)
    embedding = model.encode_image(photo)
    # In half precision, for its size: what is stored is what the decoder below is fed.
    name = spec.embeddings[0].name
    features = embedding.features[name].astype(np.float16)
    embedding = replace(embedding, features={name: features.astype(np.float32)})
    found: dict[str, NDArray[np.generic]] = {
        "resized.png": np.asarray(resized),
        "image_every_8th.npy": np.ascontiguousarray(image[:, :, ::STEP, ::STEP]),
        "image_embeddings.npy": features,
    }
    best: NDArray[np.float32] | None = None
    for case, prompt in PROMPTS.items():
        coords, labels = sparse_prompts(prompt, size, inside)
        fed_back = best[None, None] if case == "again" and best is not None else None
        logits, scores = model.decode_tensors(embedding, coords[None], labels[None], fed_back)
        # One click may mean three things, of which the best-scored is taken; any more says which.
        lone = prompt.is_lone_point and fed_back is None
        chosen = 1 + int(np.argmax(scores[0, 1:])) if lone else 0
        if case == "point":
            best = logits[0, chosen]
            found["point.low_res_masks.npy"] = logits
        found[f"{case}.point_coords.npy"] = coords[None]
        found[f"{case}.point_labels.npy"] = labels[None]
        found[f"{case}.iou_predictions.npy"] = scores
        (mask,) = upsample_masks(
            logits[:, chosen],
            input_size=inside,
            image_size=spec.image_size,
            original_size=size,
            threshold=spec.masks.threshold,
        )
        found[f"{case}.mask.png"] = mask
    return found


def write() -> None:
    """Write the photo, and everything that is computed from it."""
    with Image.open(SOURCE) as picture:
        picture.crop((60, 60, 540, 220)).save(PHOTO, optimize=True)
    for name, array in vectors().items():
        buffer = io.BytesIO()
        if not name.endswith(".png"):
            np.save(buffer, array)
        elif array.dtype == np.bool_:
            mask_picture(array).save(buffer, "PNG", optimize=True)
        else:
            Image.fromarray(array).save(buffer, "PNG", optimize=True)
        (HERE / name).write_bytes(buffer.getvalue())
    prompts = {
        case: {
            "points": prompt.points.tolist(),
            "labels": prompt.labels.tolist(),
            "box": prompt.box and astuple(prompt.box),
        }
        for case, prompt in PROMPTS.items()
    }
    (HERE / "prompts.json").write_text(json.dumps(prompts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
