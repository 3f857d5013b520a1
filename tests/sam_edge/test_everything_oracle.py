"""The whole of `everything` against the official generator: nano in torch, nano in a bundle."""

from importlib.resources import files

import numpy as np
import pytest

import sam_edge
from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.image import read_image
from sam_edge.masks.quality import iou
from tests.sam_edge.known import NANO_CHECKPOINT

torch = pytest.importorskip("torch")
FEWEST_COMPARED = 20

# nano scores its masks lower than the large models do: the official defaults would leave none.
KNOBS = {"points_per_side": 8, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.15}


@pytest.fixture(scope="module")
def checkpoint():
    if not NANO_CHECKPOINT.is_file():
        pytest.skip("nano's training weights are not here")
    return NANO_CHECKPOINT


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory):
    from sam_edge_export.pipeline import export_bundle

    bundle = tmp_path_factory.mktemp("nano") / "bundle"
    export_bundle(checkpoint, bundle, verify=False)
    return sam_edge.load_model(bundle, runtime="onnxruntime", threads=2)


@pytest.fixture(scope="module")
def official(checkpoint):
    """The official generator around nano's encoder and the official decoder."""
    from sam_edge_benchmarks.subjects.official import official_nano

    sam = official_nano(checkpoint)
    from segment_anything import SamAutomaticMaskGenerator as Official

    return Official(sam, points_per_batch=25, **KNOBS)


def photos():
    folder = files("sam_edge") / "assets" / "photos"
    names = ("astronaut", "chelsea", "coffee", "rocket")
    read = {name: read_image(str(folder / f"{name}.jpg")) for name in names}
    read["coffee"] = np.ascontiguousarray(read["coffee"][::2, ::2])
    read["rocket"] = np.ascontiguousarray(read["rocket"][:, 200:440])
    return read


def test_a_bundle_finds_the_masks_that_the_official_generator_finds(model, official):
    ours = SamAutomaticMaskGenerator(model, **KNOBS)
    compared = 0
    for name, photo in photos().items():
        expected, actual = official.generate(photo), ours.generate(photo)
        allowed = max(1, 0.02 * len(expected))
        assert abs(len(actual) - len(expected)) <= allowed, name
        best = [
            max(iou(theirs["segmentation"], mine["segmentation"]) for mine in actual)
            for theirs in expected
        ]
        matched = sum(overlap >= 0.99 for overlap in best)
        assert len(expected) - matched <= allowed, name
        compared += matched
    assert compared >= FEWEST_COMPARED
