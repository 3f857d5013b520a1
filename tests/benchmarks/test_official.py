"""The official code, as the harness runs it, against our modules with the same weights."""

import importlib
from importlib.util import find_spec

import numpy as np
import pytest

from sam_edge_benchmarks.models import prepare
from sam_edge_benchmarks.subjects import SUBJECTS

from .test_subjects import ious, masks_of, pixels  # noqa: F401 - a fixture

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.slow,
    # find_spec, because importing it without torchvision takes the harness's stand-ins
    pytest.mark.skipif(find_spec("segment_anything") is None, reason="needs the official code"),
]


# the official TinyViT knows 1024 px only
@pytest.mark.parametrize(("variant", "size"), [("vit_b", 256), ("mobile_sam", 1024)])
def test_official_and_ours_answer_the_same_prompts(variant, size, make_request, tmp_path, pixels):  # noqa: F811
    arguments = {
        "checkpoint": None,
        "seed": 0,
        "decoder_weights": None,
        "variant": variant,
        "image_size": size,
        "output": str(tmp_path / "weights.pth"),
    }
    checkpoint = prepare(SUBJECTS["ours-torch"].module, arguments)
    masks = []
    for name in ("official-torch", "ours-torch"):
        module = importlib.import_module(SUBJECTS[name].module)
        request = make_request(variant, image_size=size, model=str(checkpoint))
        masks.append(masks_of(module.load(request), pixels))
    assert np.mean(ious(*masks)) > 0.999
