"""The bundle in the box is the exporter's, of the checkpoint beside it."""

from pathlib import Path

import onnx
import pytest
from box import BOX, CHECKPOINT, MOST_ERROR, Weight, chosen

from sam_edge.bundle import read_spec
from sam_edge.checkpoints import source_sha256
from sam_edge_export import trace
from sam_edge_export.pipeline import export_bundle


def in_8_bits(path: Path) -> list[str]:
    tensors = onnx.load(path).graph.initializer
    return [tensor.name.removesuffix("_s8") for tensor in tensors if tensor.name.endswith("_s8")]


def test_the_box_is_what_the_exporter_makes_of_its_checkpoint(tmp_path):
    spec = read_spec(BOX)
    assert spec.source.sha256 == source_sha256(CHECKPOINT)
    if any(spec.exporter[name] != version for name, version in trace.tool_versions().items()):
        pytest.skip("it was made by other versions")
    names = {graph.role: in_8_bits(BOX / graph.file) for graph in spec.graphs}
    words = {"precision": "int8-weights", "rounded": names, "verify": False}
    export_bundle(CHECKPOINT, tmp_path / "again", **words)
    for graph in spec.graphs:
        again = (tmp_path / "again" / graph.file).read_bytes()
        assert again == (BOX / graph.file).read_bytes(), graph.file


def test_the_cheapest_per_byte_go_into_8_bits_until_the_masks_move():
    dear, large = MOST_ERROR * 0.9, MOST_ERROR * 0.8
    weights = [
        Weight("image_encoder", "dear", 100, dear),
        Weight("image_encoder", "free", 10, 0.0),
        Weight("image_encoder", "large", 1000, large),
        Weight("decoder", "dearest", 100, MOST_ERROR),
    ]
    assert chosen(weights) == {"image_encoder": ["free", "large"], "decoder": []}
