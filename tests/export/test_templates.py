"""Templates are the exporter's own graphs: rebuilt here, and compared by their bytes."""

import json

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from sam_edge.checkpoints import open_checkpoint, weights_of
from sam_edge.checkpoints.resample import resampled
from sam_edge.filling import template as filling
from sam_edge.filling.arithmetic import equalizing_factors, folded_norm
from sam_edge.filling.bundle import fill_bundle
from sam_edge.filling.graph import metadata_field
from sam_edge.filling.template import templates, weights_needed
from sam_edge_export import template, trace
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.probe import Probe, as_strides
from sam_edge_export.seeded import seeded_checkpoint, seeded_state


def same_tools():
    recorded = json.loads(template.RECORD.read_text())["tools"]
    return recorded == trace.tool_versions()


def test_templates_were_made_by_these_sources():
    recorded = json.loads(template.RECORD.read_text())["sources"]
    assert recorded == template.sources(), "the exporter changed; run: make templates"


@pytest.mark.skipif(not same_tools(), reason="the templates were made by other versions")
@pytest.mark.parametrize("name", ["decoder", "nano", "mobile_sam"])
def test_the_exporter_makes_the_templates_that_are_shipped(name, tmp_path):
    if name == "decoder":
        made, file = template.decoders(tmp_path), filling.DECODER_FILE
    else:
        size = template.SIZES[name][0]
        made, file = template.encoders(name, size, tmp_path), filling.encoder_file(name, size)
    shipped = filling.unpacked((filling.FOLDER / file).read_bytes())
    # Packed again, because lzma's own version is no matter of ours.
    assert filling.packed(made) == filling.packed(shipped)


@pytest.mark.skipif(not same_tools(), reason="the templates were made by other versions")
@pytest.mark.parametrize(
    ("variant", "size", "precision"),
    [
        ("nano", 384, "fp32"),
        ("nano", 384, "fp16"),
        ("nano", 384, "int8-weights"),
        ("mobile_sam", 512, "fp32"),
    ],
)
def test_filled_is_exported(variant, size, precision, tmp_path):
    """Through both front doors, other weights than the templates were made with."""
    path = seeded_checkpoint(variant, size, 7, tmp_path / "x.pth")
    words = {"image_size": size, "precision": precision, "verify": False}
    export_bundle(path, tmp_path / "exported", **words)
    fill_bundle(path, tmp_path / "filled", **words)
    for file in sorted((tmp_path / "exported").glob("*.onnx")):
        assert file.read_bytes() == (tmp_path / "filled" / file.name).read_bytes(), file.name


@pytest.mark.slow
@pytest.mark.skipif(not same_tools(), reason="the templates were made by other versions")
@pytest.mark.parametrize("variant", ["vit_b", "vit_h"])
def test_large_ones_too(variant, tmp_path):
    path = seeded_checkpoint(variant, 1024, 7, tmp_path / "x.pth")
    export_bundle(path, tmp_path / "exported", verify=False)
    fill_bundle(path, tmp_path / "filled")
    files = [file for file in (tmp_path / "exported").iterdir() if file.suffix != ".json"]
    assert len(files) == (3 if variant == "vit_h" else 2)
    for file in files:
        theirs = np.memmap(file, np.uint8, "r")
        assert np.array_equal(theirs, np.memmap(tmp_path / "filled" / file.name, np.uint8, "r"))


def test_a_computation_that_no_recipe_knows_fails_with_the_tensors_name(monkeypatch, tmp_path):
    def doubled(graph, rounded):
        for tensor in graph.graph.initializer:
            if len(tensor.dims) == 4:
                values = 2 * numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    monkeypatch.setitem(trace.STORED, "fp32", doubled)
    with pytest.raises(ValueError, match=r"\.weight of the image_encoder is made in a way that no"):
        template.encoders("nano", 384, tmp_path)


def test_every_template_needs_what_the_model_has():
    for variant in filling.sizes():
        size = filling.sizes()[variant][-1]
        if variant in ("vit_l", "vit_h"):
            continue  # gigabytes
        state = seeded_state(variant, size, 0)
        shapes = {
            name: tuple(tensor.shape)
            for name, tensor in state.items()
            if not name.endswith("num_batches_tracked")
        }
        assert weights_needed(templates(variant, size)) == shapes


@pytest.mark.parametrize(("old", "new"), [(64, 32), (64, 48), (24, 64), (64, 20), (64, 60)])
def test_position_tables_are_resampled_as_torch_does(old, new):
    rng = np.random.default_rng(old + new)
    table = rng.standard_normal((1, old, old, 16), np.float32)
    theirs = F.interpolate(
        torch.from_numpy(table).permute(0, 3, 1, 2), (new, new), mode="bicubic", antialias=True
    )
    difference = resampled(table, (1, new, new, 16)) - theirs.permute(0, 2, 3, 1).numpy()
    assert np.abs(difference).max() <= 1e-6 * np.abs(table).max()
    table = rng.standard_normal((2 * old - 1, 16), np.float32)
    theirs = F.interpolate(torch.from_numpy(table).T[None], 2 * new - 1, mode="linear")[0].T
    difference = resampled(table, (2 * new - 1, 16)) - theirs.numpy()
    assert np.abs(difference).max() <= 1e-6 * np.abs(table).max()


def test_a_norm_is_folded_as_torch_computes_it():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(5, 7, 3, bias=False), nn.BatchNorm2d(7).eval()
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.normal_()
    norm.running_var.uniform_(0.1, 3)
    state = (conv.weight.data, norm.weight.data, norm.bias.data, norm.running_mean)
    weight, bias = folded_norm(*(tensor.numpy() for tensor in (*state, norm.running_var)))
    image = torch.randn(2, 5, 9, 9)
    with torch.no_grad():
        expected = norm(conv(image))
        found = F.conv2d(image, torch.from_numpy(weight), torch.from_numpy(bias))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_equalizing_factors_are_powers_of_two_around_one():
    rng = np.random.default_rng(0)
    gain, bias, peaks = rng.lognormal(size=(3, 500)).astype(np.float32)
    factors = equalizing_factors(gain, bias, peaks)
    mantissas, exponents = np.frexp(factors)
    assert (mantissas == 0.5).all()
    assert abs((exponents - 1).mean()) <= 0.5
    root = np.sqrt((3 * gain + bias) / peaks)
    spread = np.log2(factors / root)
    assert spread.max() - spread.min() <= 1.001  # the nearest power of two, all by one shift


def test_a_probe_reads_views_off_bits():
    layer, other = nn.Linear(6, 4), nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        probe = Probe({"a.": layer, "b.": other})
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    weights = {"a.weight": weight, "a.bias": bias, "b.weight": other.weight.detach().numpy()}
    for values in (
        weight,
        weight.T,
        weight[1:3, ::2],
        np.tile(bias, 3),
        weight.reshape(2, 2, 3, 2).transpose(3, 0, 2, 1).reshape(4, 6),
        np.concatenate([weight.reshape(-1), bias]),
        bias[[3, 0, 0, 2]],
    ):
        view = probe.view(np.ascontiguousarray(values))
        assert view.shape == values.shape
        assert np.array_equal(view.of(weights), values)
    assert probe.view(2 * weight) is None or not np.array_equal(
        probe.view(2 * weight).of(weights), 2 * weight
    )
    assert probe.view(np.float32([1.0])) is None
    assert probe.view(np.int64([1])) is None


def test_places_that_are_not_regular_have_no_strides():
    assert as_strides(np.array([0, 1, 3, 7])) is None
    assert as_strides(np.array([[0, 1], [5, 7]])) is None


def test_metadata_is_written_as_onnx_writes_it():
    model = helper.make_model(helper.make_graph([], "empty", [], []))
    before = model.SerializeToString()
    words = {"source": "x.pth", "long": "é" * 300, "": "empty"}
    helper.set_model_props(model, words)
    assert before + metadata_field(words) == model.SerializeToString()


def test_the_exporter_reads_a_checkpoint_as_filling_does(tmp_path):
    path = seeded_checkpoint("vit_b", 512, 0, tmp_path / "x.pth")
    weights = weights_of(open_checkpoint(path), weights_needed(templates("vit_b", 512)))
    state = torch.load(path, weights_only=True)
    assert set(weights) == set(state)
    for name in ("image_encoder.pos_embed", "mask_decoder.iou_token.weight"):
        assert np.array_equal(weights[name], state[name].numpy())
