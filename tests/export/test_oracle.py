"""A bundle gives PyTorch's masks, on photos of every shape.

Once the official code's, at ViT-B's full size; once those of our own modules, which need no package
but torch: that proof is there where the official code is not installed. The decoder is a trained
one in both.
"""

import numpy as np
import pytest

import sam_edge
from sam_edge.bundle import read_spec
from sam_edge.fidelity import relative_l2
from sam_edge_export.load import load_checkpoint
from sam_edge_export.reference import reference_model
from tests.sam_edge.known import NANO_CHECKPOINT

ENGINES = ("onnxruntime", "openvino")
SHAPES = ("landscape", "portrait", "square", "panorama", "one pixel thin", "tiny", "6000 pixels")


def opened(bundle):
    return {engine: sam_edge.load_model(bundle, runtime=engine) for engine in ENGINES}


def own_reference(bundle, checkpoint):
    """A predictor around our torch modules, holding a checkpoint's weights."""
    spec = read_spec(bundle)
    sam, _ = load_checkpoint(checkpoint, spec.variant, spec.image_size)
    return sam_edge.SamPredictor(reference_model(sam, spec))


@pytest.fixture(scope="module")
def vit_b(vit_b_bundle):
    return opened(vit_b_bundle)


@pytest.fixture(scope="module")
def nano(trained_nano_bundle):
    return opened(trained_nano_bundle)


@pytest.fixture(scope="module")
def own_nano(trained_nano_bundle):
    return own_reference(trained_nano_bundle, NANO_CHECKPOINT)


def answers_of(predictor, height, width):
    """Every kind of prompt the official predictor takes, and what it says."""
    point = np.array([[0.4 * width, 0.6 * height]])
    points = np.array([[0.4 * width, 0.6 * height], [0.8 * width, 0.2 * height]])
    box = np.array([0.1 * width, 0.1 * height, 0.7 * width, 0.9 * height])
    prompts = [
        {"point_coords": point, "point_labels": np.array([1])},
        {"point_coords": points, "point_labels": np.array([1, 0]), "multimask_output": False},
        {"box": box, "multimask_output": False},
        {"box": box, "point_coords": points[1:], "point_labels": np.array([0])},
    ]
    answers = [(prompt, predictor.predict(**prompt)) for prompt in prompts]
    refined = {**prompts[1], "mask_input": answers[0][1][2][:1]}
    return [*answers, (refined, predictor.predict(**refined))]


def check_faithful(models, photo, truth):
    """Compare every engine's embedding and answers with those of a predictor in PyTorch."""
    truth.set_image(photo)
    answers = answers_of(truth, *photo.shape[:2])
    embedding = np.asarray(truth.get_image_embedding())
    for engine, model in models.items():
        predictor = sam_edge.SamPredictor(model)
        predictor.set_image(photo)
        assert relative_l2(predictor.get_image_embedding(), embedding) <= 1e-5, engine
        equal = total = inside = 0
        for prompt, (masks, scores, logits) in answers:
            ours, our_scores, our_logits = predictor.predict(**prompt)
            assert ours.shape == masks.shape
            assert np.abs(our_scores - scores).max() <= 1e-3, engine
            assert relative_l2(our_logits, logits) <= 1e-4, engine
            equal += np.count_nonzero(ours == masks)
            inside += np.count_nonzero(masks)
            total += masks.size
        assert equal >= 0.9999 * total, engine
        assert 0 < inside < total  # masks that are all or nothing would agree by themselves


FULL_SIZE = [
    # ten seconds each; those of our modules, below, are compared in every shape
    pytest.param(shape, marks=[] if shape == "landscape" else pytest.mark.slow)
    for shape in SHAPES
]


@pytest.mark.parametrize("shape", FULL_SIZE)
def test_masks_are_the_official_predictors(official_vit_b, vit_b, photos, shape):
    check_faithful(vit_b, photos[shape], official_vit_b)


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_are_those_of_our_modules(own_nano, nano, photos, shape):
    check_faithful(nano, photos[shape], own_nano)


@pytest.mark.slow
def test_full_size_masks_are_those_of_our_modules(vit_b_bundle, vit_b_checkpoint, vit_b, photos):
    check_faithful(vit_b, photos["portrait"], own_reference(vit_b_bundle, vit_b_checkpoint))
