"""``models pull --export`` from the network to masks, on a small checkpoint and a real server."""

import json

import pytest

from sam_edge import load_model
from sam_edge.checkpoints import source_sha256
from sam_edge.cli import main
from sam_edge.zoo.table import TABLE, named_models
from tests.sam_edge.known import NANO_CHECKPOINT
from tests.sam_edge.zoo.server import Behaviour, serving


@pytest.fixture
def table(tmp_path, monkeypatch):
    rows = json.loads(TABLE.read_bytes())
    row = {
        **rows["nano"],
        "title": "nano by another name",
        "licence": "Apache-2.0",
        "url": "http://127.0.0.1:9/nano.safetensors",
        "size": NANO_CHECKPOINT.stat().st_size,
        "sha256": source_sha256(NANO_CHECKPOINT),
    }
    path = tmp_path / "models.json"
    path.write_text(json.dumps(rows | {"remote": row}))
    monkeypatch.setattr("sam_edge.zoo.table.TABLE", path)
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    named_models.cache_clear()
    yield
    named_models.cache_clear()


def test_pull_and_export_make_a_name_that_segments(table, monkeypatch, photos, capsys):
    behaviour = Behaviour(NANO_CHECKPOINT.read_bytes(), cut_after=5_000_000)
    with serving(behaviour) as address:
        monkeypatch.setenv("SAM_EDGE_MIRROR", address)
        assert main(["models", "pull", "remote", "--export", "int8-weights"]) == 0
    assert len(behaviour.requests) == 3
    model = load_model("remote")
    photo = photos["landscape"]
    embedding = model.encode_image(photo)
    reference = load_model()
    expected = reference.decode(reference.encode_image(photo), points=[(200, 150)])
    found = model.decode(embedding, points=[(200, 150)])
    # The box has other weights in 8 bits.
    assert (found.masks == expected.masks).mean() > 0.999
    # Offline from here on, and nothing is made twice
    monkeypatch.setenv("SAM_EDGE_MIRROR", "http://127.0.0.1:9")
    capsys.readouterr()
    assert main(["models", "pull", "remote", "--export", "int8-weights"]) == 0
    assert capsys.readouterr().out.strip().endswith("remote-int8-weights")


@pytest.mark.slow
def test_pull_and_export_int8_on_trained_weights(table, monkeypatch, photos):
    # no speed in tests
    monkeypatch.setattr("sam_edge_export.quantize.gate.speedup", lambda *_: 1.5)
    with serving(Behaviour(NANO_CHECKPOINT.read_bytes())) as address:
        monkeypatch.setenv("SAM_EDGE_MIRROR", address)
        assert main(["models", "pull", "remote", "--export", "int8"]) == 0
    model = load_model("remote-int8", runtime="onnxruntime")
    # the gate itself, on photos, unmocked
    for measured in (entry for entry in model.spec.fidelity if not entry["compute"]):
        assert measured["mask_iou_mean"] >= 0.98
        assert measured["mask_iou_p05"] >= 0.90
    assert model.decode(model.encode_image(photos["landscape"]), [(200, 150)]).masks.any()
