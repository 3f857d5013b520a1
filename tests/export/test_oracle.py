"""A full-size ViT-B bundle gives the official predictor's masks, on photos of every shape."""

import numpy as np
import pytest

import sam_edge
from sam_edge.fidelity import relative_l2

ENGINES = ("onnxruntime", "openvino")
SHAPES = ("landscape", "portrait", "square", "panorama", "one pixel thin", "tiny", "6000 pixels")


@pytest.fixture(scope="module")
def models(vit_b_bundle):
    return {engine: sam_edge.load_model(vit_b_bundle, runtime=engine) for engine in ENGINES}


def official_answers(predictor, height, width):
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


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_are_the_official_predictors(official_vit_b, models, photos, shape):
    photo = photos[shape]
    official_vit_b.set_image(photo)
    answers = official_answers(official_vit_b, *photo.shape[:2])
    truth = official_vit_b.get_image_embedding().numpy()
    for engine, model in models.items():
        predictor = sam_edge.SamPredictor(model)
        predictor.set_image(photo)
        assert relative_l2(predictor.get_image_embedding(), truth) <= 1e-5, engine
        equal = total = 0
        for prompt, (masks, scores, logits) in answers:
            ours, our_scores, our_logits = predictor.predict(**prompt)
            assert ours.shape == masks.shape
            assert np.abs(our_scores - scores).max() <= 1e-3, engine
            assert relative_l2(our_logits, logits) <= 1e-4, engine
            equal += np.count_nonzero(ours == masks)
            total += masks.size
        assert equal >= 0.9999 * total, engine
