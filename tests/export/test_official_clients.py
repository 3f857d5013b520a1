"""The official notebook's and web demo's feeds run on ``--decoder official`` unchanged."""

import numpy as np
import pytest
import torch

from sam_edge.bundle import read_spec
from sam_edge.fidelity import relative_l2
from sam_edge.spec import PROMPT_ENCODER_MASK_DECODER
from sam_edge_export.load import load_checkpoint
from sam_edge_export.pipeline import export_bundle
from sam_edge_runtimes import open_session

ENGINES = ("onnxruntime", "openvino")
INPUTS = (
    "image_embeddings",
    "point_coords",
    "point_labels",
    "mask_input",
    "has_mask_input",
    "orig_im_size",
)
OUTPUTS = ("masks", "iou_predictions", "low_res_masks")


@pytest.fixture(scope="module", params=["official", "official-multi"])
def case(request, nano_checkpoint, tmp_path_factory):
    """A bundle's decoder file, and the official ONNX model in PyTorch with the same weights."""
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )
    from segment_anything.utils.onnx import SamOnnxModel

    bundle = tmp_path_factory.mktemp("official") / request.param
    export_bundle(nano_checkpoint, bundle, image_size=256, decoder=request.param)
    spec = read_spec(bundle)
    assert spec.decoder == request.param
    (graph,) = (graph for graph in spec.graphs if graph.role == PROMPT_ENCODER_MASK_DECODER)
    assert tuple(tensor.name for tensor in graph.inputs) == INPUTS
    assert tuple(tensor.name for tensor in graph.outputs) == OUTPUTS
    ours, _ = load_checkpoint(nano_checkpoint, image_size=256)
    prompt_encoder = PromptEncoder(256, (16, 16), (256, 256), 16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer)
    prompt_encoder.load_state_dict(ours.prompt_encoder.state_dict())
    mask_decoder.load_state_dict(ours.mask_decoder.state_dict())
    encoder = ImageEncoderViT(img_size=256, embed_dim=8, depth=1, num_heads=1)
    whole = Sam(encoder, prompt_encoder, mask_decoder).eval()
    truth = SamOnnxModel(whole, return_single_mask=request.param == "official")
    return bundle / graph.file, truth


def notebook_feeds(points, size, *, mask, box):
    """What ``notebooks/onnx_model_example.ipynb`` sends, for a frame of 256 pixels."""
    rng = np.random.default_rng(points)
    coords = rng.uniform(0, 255, (points, 2))
    labels = rng.integers(0, 2, points)
    corners = [[20, 30], [200, 220]] if box else [[0, 0]]
    return {
        "image_embeddings": rng.standard_normal((1, 256, 16, 16)).astype(np.float32),
        "point_coords": np.concatenate([coords, corners])[None].astype(np.float32),
        "point_labels": np.concatenate([labels, [2, 3] if box else [-1]])[None].astype(np.float32),
        "mask_input": (rng.standard_normal((1, 1, 64, 64)) * mask).astype(np.float32),
        "has_mask_input": np.array([mask], np.float32),
        "orig_im_size": np.array(size, np.float32),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_the_notebooks_feeds_give_the_notebooks_masks(case, engine):
    path, truth = case
    session = open_session(engine, path, threads=2)
    # Landscape, portrait, square and panorama: none is the traced picture's shape.
    sizes = [(120, 180), (200, 90), (64, 64), (30, 301), (256, 256), (1, 70)]
    for points, size in enumerate(sizes, start=1):
        feeds = notebook_feeds(points, size, mask=points % 2, box=points % 3 == 0)
        with torch.inference_mode():
            expected = truth(*(torch.from_numpy(feeds[name]) for name in INPUTS))
        answer = session.run(feeds)
        for name, wanted in zip(OUTPUTS, expected, strict=True):
            assert answer[name].shape == wanted.shape
            assert relative_l2(answer[name], wanted.numpy()) < 1e-5, (name, points, size)
