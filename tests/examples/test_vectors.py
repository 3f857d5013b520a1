"""The vectors that other languages are checked against are what Python computes."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sam_edge

HERE = Path(__file__).parents[2] / "examples" / "vectors"


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("make_vectors", HERE / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.vectors()


def stored(name):
    if name.endswith(".npy"):
        return np.load(HERE / name)
    with Image.open(HERE / name) as picture:
        pixels = np.asarray(picture)
    return pixels > 0 if name.endswith(".mask.png") else pixels


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_every_file_is_made_and_they_are_small(made):
    files = {path.name for path in HERE.iterdir() if path.is_file()}
    assert files == {*made, "make.py", "photo.png", "prompts.json"}
    assert sum(path.stat().st_size for path in HERE.iterdir() if path.is_file()) < 1_000_000


def test_they_are_what_python_computes(made):
    for name, array in made.items():
        known = stored(name)
        assert known.dtype == array.dtype, name
        assert known.shape == array.shape, name
        if name.endswith(".mask.png"):
            assert iou(known, array) > 0.999, name
        elif "embeddings" in name or "low_res" in name or "iou" in name:
            assert np.allclose(known, array, rtol=1e-2, atol=2e-2), name  # engines differ a little
        else:
            assert np.array_equal(known, array), name


def test_stored_feeds_give_stored_answers():
    model = sam_edge.load_model()
    embedding = model.encode_image(HERE / "photo.png")
    features = stored("image_embeddings.npy").astype(np.float32)
    fed = np.asarray(embedding.features["image_embeddings"])
    assert np.abs(fed - features).max() < 1e-2
    first = stored("point.low_res_masks.npy")
    best = first[:, [1 + int(np.argmax(stored("point.iou_predictions.npy")[0, 1:]))]]
    for case in json.loads((HERE / "prompts.json").read_text()):
        feeds = (stored(f"{case}.point_coords.npy"), stored(f"{case}.point_labels.npy"))
        logits, scores = model.decode_tensors(embedding, *feeds, best if case == "again" else None)
        assert np.abs(scores - stored(f"{case}.iou_predictions.npy")).max() < 1e-2
        if case == "point":
            assert np.abs(logits - first).max() < 0.2
