"""Bundles and their oracles, made once a session."""

import numpy as np
import pytest
import standins
import torch
from PIL import Image
from safetensors.torch import load_file

from sam_edge_export.pipeline import export_bundle
from sam_edge_export.seeded import seeded_checkpoint, seeded_state
from tests.sam_edge.known import NANO_CHECKPOINT

standins.install()


@pytest.fixture(scope="session")
def vit_b_checkpoint(tmp_path_factory):
    """A full-size ViT-B: seeded encoder, trained decoder: nano's, as it is in the repository."""
    state = seeded_state("vit_b", 1024, 0)
    trained = load_file(NANO_CHECKPOINT)
    state |= {
        name: tensor.float()
        for name, tensor in trained.items()
        if name.startswith(("prompt_encoder.", "mask_decoder."))
    }
    path = tmp_path_factory.mktemp("checkpoints") / "seeded_vit_b.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def vit_b_bundle(vit_b_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("bundles") / "vit_b"
    export_bundle(vit_b_checkpoint, output, verify=False)
    return output


@pytest.fixture(scope="session")
def official_vit_b(vit_b_checkpoint):
    """The official predictor, holding the same weights."""
    from segment_anything import SamPredictor, sam_model_registry

    sam = sam_model_registry["vit_b"]()
    sam.load_state_dict(torch.load(vit_b_checkpoint, weights_only=True), strict=False)
    return SamPredictor(sam.eval())


@pytest.fixture(scope="session")
def nano_checkpoint(tmp_path_factory):
    """The smallest whole model there is: seeded, exported in seconds."""
    path = tmp_path_factory.mktemp("checkpoints") / "seeded_nano.pth"
    return seeded_checkpoint("nano", 256, 0, path)


@pytest.fixture(scope="session")
def nano_bundle(nano_checkpoint, tmp_path_factory):
    output = tmp_path_factory.mktemp("bundles") / "nano"
    export_bundle(nano_checkpoint, output, image_size=256, verify=False, random_weights=True)
    return output


@pytest.fixture(scope="session")
def trained_nano_bundle(tmp_path_factory):
    """nano in float32, from the weights in the repository: trained, and quick to run."""
    output = tmp_path_factory.mktemp("bundles") / "trained_nano"
    export_bundle(NANO_CHECKPOINT, output, verify=False)
    return output


def textured(height, width, seed=0):
    """A smooth random picture: structure at every scale, as in photographs."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cells in (2, 5, 11, 23):
        grid = rng.integers(0, 256, (min(cells, height), min(cells, width), 3), dtype=np.uint8)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        picture += np.asarray(layer, np.float32) / 4
    return picture.round().astype(np.uint8)


@pytest.fixture(scope="session")
def photos():
    """One photo of every awkward shape, by name."""
    shapes = {
        "landscape": (427, 640),
        "portrait": (700, 500),
        "square": (512, 512),
        "panorama": (300, 2000),
        "one pixel thin": (1, 1500),
        "tiny": (5, 7),
        "6000 pixels": (1500, 6000),
    }
    return {name: textured(*shape) for name, shape in shapes.items()}
