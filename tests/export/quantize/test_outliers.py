"""The outlier family: a ViT-B whose LayerNorm channels are as uneven as trained ViTs' are.

Gains of some channels go up, the weights that follow go down: the same function in float32. What
peers ship breaks on it, ours does not.
"""

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from sam_edge.fidelity import relative_l2
from sam_edge.image import preprocess, read_image
from sam_edge.photos import photos_in
from sam_edge_export import trace
from sam_edge_export.load import load_checkpoint
from sam_edge_export.manifest import blank
from sam_edge_export.quantize.calibrate import calibration_photos
from sam_edge_export.quantize.encoder import recipe_for, source, write_encoder
from sam_edge_export.quantize.recipes import quantize
from sam_edge_export.seeded import seeded_checkpoint
from sam_edge_runtimes import ENGINES, formats_of, open_session

SIZE = 256
CHANNELS = 6


def inject_outliers(sam, seed):
    """Make six channels of every block's norms some hundred times larger, in place."""
    rng = np.random.default_rng(seed)
    for block in sam.image_encoder.blocks:
        for norm, after in ((block.norm1, block.attn.qkv), (block.norm2, block.mlp.lin1)):
            channels = rng.choice(norm.weight.numel(), CHANNELS, replace=False).tolist()
            factors = rng.uniform(80, 160, CHANNELS)
            for channel, factor in zip(channels, factors.tolist(), strict=True):
                norm.weight.data[channel] *= factor
                norm.bias.data[channel] *= factor
                after.weight.data[:, channel] /= factor


def embedding(path, image, engine, compute="float32"):
    axes = ("batch", *image.shape[1:])
    session = open_session(
        engine, path, compute=compute, input_shapes={"image": axes}, fixed={"batch": 1}
    )
    return session.run({"image": image})["image_embeddings"]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The float graph as traced, what ours is made from, a photo that nothing is calibrated on."""
    work = tmp_path_factory.mktemp("outliers")
    checkpoint = seeded_checkpoint("vit_b", SIZE, 0, work / "seeded.pth")
    sam, _ = load_checkpoint(checkpoint, "vit_b", SIZE)
    spec = blank(sam, checkpoint, "int8", "native")
    image = preprocess(read_image(photos_in(None)[0]), spec)
    plain = trace.traced(trace.encoder(sam), work)
    onnx.save(plain, work / "plain.onnx")
    inject_outliers(sam, 0)
    graph = trace.traced(trace.encoder(sam), work)
    onnx.save(graph, work / "uneven.onnx")
    truth = embedding(work / "plain.onnx", image, "onnxruntime")
    assert relative_l2(embedding(work / "uneven.onnx", image, "onnxruntime"), truth) < 1e-4
    made_from = source(graph, spec, calibration_photos(None, []), "", "here", work, lambda _: None)
    return work, made_from, image, truth


def test_naive_recipes_break(family):
    work, made_from, image, truth = family
    errors = {}
    quantize_dynamic(work / "uneven.onnx", work / "naive.onnx", weight_type=QuantType.QInt8)
    errors["quantize_dynamic"] = relative_l2(
        embedding(work / "naive.onnx", image, "onnxruntime"), truth
    )
    for engine in ENGINES:  # our recipes without equalisation
        graph = onnx.load(work / "uneven.onnx")
        quantize(graph, recipe_for(engine, "linears"), ranges_unequalised(work, made_from))
        onnx.save(graph, work / "ours_naive.onnx")
        errors[engine] = relative_l2(embedding(work / "ours_naive.onnx", image, engine), truth)
    assert min(errors.values()) > 0.3, errors


def ranges_unequalised(work, made_from):
    from sam_edge_export.quantize.recipes import tensors_to_range

    graph = onnx.load(work / "uneven.onnx")
    names = tensors_to_range(graph)
    graph.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    onnx.save(graph, work / "watched_uneven.onnx")
    session = open_session("onnxruntime", work / "watched_uneven.onnx")
    values = session.run({"image": made_from.photo})
    return {name: (float(values[name].min()), float(values[name].max())) for name in names}


@pytest.mark.parametrize("engine", ENGINES)
def test_reduced_formats_hold_without_any_help(family, engine):
    work, _, image, truth = family
    if not formats_of(engine)[1:]:
        pytest.skip(f"{engine} computes in float32 alone on this CPU")
    for compute in formats_of(engine)[1:]:
        error = relative_l2(embedding(work / "uneven.onnx", image, engine, compute), truth)
        assert 0 < error <= 0.03


@pytest.mark.parametrize("engine", ENGINES)
def test_ours_holds(family, engine):
    work, made_from, image, truth = family
    path = work / f"{engine}.onnx"
    write_encoder(made_from, recipe_for(engine, None), (), path, {})
    assert relative_l2(embedding(path, image, engine), truth) <= 0.06
