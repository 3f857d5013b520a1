"""A new family is a row and a few lines: this one is made, exported and asked within this file."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from sam_edge import load_model
from sam_edge.zoo.table import TABLE, named_models
from sam_edge_export.families import FAMILIES, Family
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.seeded import seeded_state

from .conftest import textured


class ToyEncoder(nn.Module):
    """One convolution with a stride of 16."""

    def __init__(self):
        super().__init__()
        self.toy = nn.Conv2d(3, 256, 16, 16)

    def forward(self, image):
        return self.toy(image)


ROW = {
    "title": "a toy",
    "licence": "MIT",
    "image_size": 256,
    "encoder": {"tensor": "image_encoder.toy.weight"},
    "mean": [127, 127, 127],
    "thresholds": {"pred_iou_thresh": 0.1, "stability_score_thresh": 0.2},
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    rows = json.loads(TABLE.read_bytes()) | {"toy": ROW}
    (tmp_path / "models.json").write_text(json.dumps(rows))
    monkeypatch.setattr("sam_edge.zoo.table.TABLE", tmp_path / "models.json")
    monkeypatch.setitem(FAMILIES, "toy", Family(lambda image_size: ToyEncoder()))
    named_models.cache_clear()
    yield
    named_models.cache_clear()


def test_a_family_is_a_row_and_a_module(toy, tmp_path):
    torch.save(seeded_state("toy", 256, 0), tmp_path / "toy.pth")
    (fidelity, *_) = export_bundle(tmp_path / "toy.pth", tmp_path / "toy")
    model = load_model(tmp_path / "toy")
    assert model.spec.variant == "toy"
    assert (model.spec.image_size, model.spec.image.mean) == (256, (127, 127, 127))
    assert (model.spec.everything.pred_iou_thresh, model.spec.source.licence) == (0.1, "MIT")
    embedding = model.encode_image(textured(200, 300))
    answer = model.decode(embedding, [(150, 100)])
    assert answer.masks.shape == (3, 200, 300)
    assert fidelity.equal_pixels > 0.9999
    assert np.isfinite(answer.scores).all()


def test_every_row_has_its_module_and_every_module_its_row():
    assert list(FAMILIES) == list(named_models())
