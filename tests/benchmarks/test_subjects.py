"""The real subjects, on a small model: same photo, same prompts, same masks; and the GPU's path."""

import contextlib
import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from sam_edge_benchmarks.models import find_models, prepare
from sam_edge_benchmarks.prompts import clicks, fidelity_prompts
from sam_edge_benchmarks.run import mask_ious
from sam_edge_benchmarks.subjects import SUBJECTS, catalogue, choose
from sam_edge_benchmarks.work import UnavailableError

torch = pytest.importorskip("torch")
SIZE = 256


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    output = tmp_path_factory.mktemp("checkpoint") / "nano.pth"
    arguments = {
        "checkpoint": None,
        "seed": 0,
        "decoder_weights": None,
        "variant": "nano",
        "image_size": SIZE,
        "output": str(output),
    }
    return prepare(SUBJECTS["ours-torch"].module, arguments)


@pytest.fixture
def pixels():
    noise = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize((160, 100)))


def load(make_request, name, **changes):
    module = importlib.import_module(SUBJECTS[name].module)
    return module.load(make_request(module=SUBJECTS[name].module, image_size=SIZE, **changes))


@pytest.fixture
def make(make_request):
    return lambda **changes: make_request(changes.pop("variant", "nano"), **changes)


def masks_of(subject, pixels):
    embedding = subject.encode(subject.preprocess(pixels))
    return np.concatenate(
        [
            subject.postprocess(subject.decode(embedding, prompts))
            for prompts in fidelity_prompts(*pixels.shape[:2])
        ]
    )


def ious(one, other):
    flat = [np.packbits(masks.reshape(len(masks), 3, -1), axis=-1) for masks in (one, other)]
    return mask_ious(*flat)


def test_bfloat16_gives_nearly_the_same_masks(make, checkpoint, pixels):
    exact = masks_of(load(make, "ours-torch", model=str(checkpoint)), pixels)
    rough = masks_of(load(make, "ours-torch", model=str(checkpoint), precision="bf16"), pixels)
    assert exact.shape == (12, 3, 100, 160)
    # not 1.0: bfloat16 keeps 8 bits, which shows that the number format was really changed
    assert 0.8 < np.mean(ious(exact, rough)) < 1.0


def test_more_prompts_than_a_call_takes_are_all_answered(make, checkpoint, pixels):
    subject = load(make, "ours-torch", model=str(checkpoint))
    embedding = subject.encode(subject.preprocess(pixels))
    many = subject.postprocess(subject.decode(embedding, clicks(18, 100, 160)))
    few = subject.postprocess(subject.decode(embedding, clicks(2, 100, 160)))
    assert len(many) == 18
    assert np.mean(ious(many[:2], few)) > 0.999


def test_a_gpu_that_is_not_there_is_a_line(make, checkpoint):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UnavailableError, match="no CUDA device"):
        load(make, "ours-torch", model=str(checkpoint), backend="cuda")


def test_every_call_waits_for_the_gpu(make, checkpoint):
    from sam_edge_benchmarks.subjects.torch_device import TorchDevice

    with contextlib.ExitStack() as patches:
        for name, value in (
            ("torch.cuda.is_available", True),
            ("torch.cuda.get_device_capability", (9, 0)),
            ("torch.zeros", None),
        ):
            patches.enter_context(mock.patch(name, return_value=value))
        wait = patches.enter_context(mock.patch("torch.cuda.synchronize"))
        device = TorchDevice(make(backend="cuda", precision="tf32"))
        assert torch.backends.cuda.matmul.allow_tf32
        with device.computing():
            assert not wait.called
        wait.assert_called_once_with()
        TorchDevice(make(backend="cuda", precision="fp32"))
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_there_is_no_tf32_on_a_cpu():
    assert not [choice for choice in catalogue() if str(choice).endswith("cpu/eager/tf32")]


def test_patterns_choose_subjects():
    assert len(choose(["official-torch/cuda/*"])) == 8
    with pytest.raises(ValueError, match="no subject matches"):
        choose(["bundel/*"])


def test_variants_have_seeded_weights_and_sizes_to_sweep():
    models = find_models(["vit_b"], (512, 1024), None, 3, None)
    assert [(model.image_size, model.weights) for model in models] == [
        (512, "seeded:3"),
        (1024, "seeded:3"),
    ]


BARE_MACHINE = """
import importlib.util, sys
from pathlib import Path

ABSENT = {"onnx", "onnxslim", "onnxruntime", "openvino", "safetensors", "torchvision", "timm"}
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.split(".")[0] in ABSENT else find_spec(name, package)
)

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import sam_edge_benchmarks.cli, sam_edge_benchmarks.worker
assert "torch" not in sys.modules, "the parent is light"
from sam_edge_benchmarks.subjects import official, ours_torch

made = ours_torch.prepare({"checkpoint": None, "seed": 0, "decoder_weights": None,
                           "variant": "vit_b", "image_size": 256, "output": sys.argv[1]})
official.build("vit_b", 256, made)
"""


@pytest.mark.skipif(find_spec("segment_anything") is None, reason="needs the official code")
def test_a_bare_gpu_machine_has_enough(tmp_path):
    """Only torch, numpy and pillow beside the official code, from nothing to a loaded model."""
    subprocess.run(
        [sys.executable, "-c", BARE_MACHINE, str(tmp_path / "weights.pth")],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
