"""The official predictor and ours: the same signatures, the same answers to many objects."""

import inspect

import numpy as np
import pytest
import torch

import sam_edge
from sam_edge import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from sam_edge.fidelity import relative_l2
from tests.sam_edge.known import NANO_CHECKPOINT

ENGINES = ("onnxruntime", "openvino")
SHAPES = ("landscape", "portrait", "square", "panorama")


@pytest.fixture(scope="module")
def official():
    """The official predictor around nano: its encoder's modules, the official decoder."""
    from sam_edge_benchmarks.subjects.official import official_nano

    sam = official_nano(NANO_CHECKPOINT)
    from segment_anything import SamPredictor as Official

    return Official(sam)


@pytest.fixture(scope="module", params=ENGINES)
def predictor(request, trained_nano_bundle):
    model = sam_edge.load_model(trained_nano_bundle, runtime=request.param)
    assert model.engine == request.param
    return SamPredictor(model)


def parameters(function):
    """Names and kinds of what may be given, in order, but for what only we take."""
    found = inspect.signature(function).parameters.values()
    return [(item.name, item.kind) for item in found if item.kind is not item.KEYWORD_ONLY]


def test_signatures_are_the_official_ones(official):
    import segment_anything

    for name in ("__init__", "set_image", "predict", "get_image_embedding", "reset_image"):
        theirs = getattr(segment_anything.SamPredictor, name)
        assert parameters(getattr(SamPredictor, name)) == parameters(theirs), name
    assert parameters(SamPredictor.predict_batch) == parameters(type(official).predict_torch)
    theirs = segment_anything.SamAutomaticMaskGenerator
    assert parameters(SamAutomaticMaskGenerator.__init__) == parameters(theirs.__init__)
    assert (
        next(iter(parameters(SamAutomaticMaskGenerator.generate)[1:]))
        == (parameters(theirs.generate)[1])
    )
    builder = segment_anything.sam_model_registry["vit_b"]
    assert parameters(sam_model_registry["vit_b"]) == parameters(builder)
    assert set(segment_anything.sam_model_registry) <= set(sam_model_registry)


def test_every_public_name_of_the_official_classes_is_here_or_says_what_to_do(
    official, predictor, photos
):
    official.set_image(photos["tiny"])
    predictor.set_image(photos["tiny"])
    sam = sam_model_registry["nano"]()
    pairs = (
        (official, predictor),
        (official.transform, predictor.transform),
        (official.model, sam),
    )
    for theirs, ours in pairs:
        names = {name for name in vars(type(theirs)) | vars(theirs) if not name.startswith("_")}
        # Set and never read; and a helper of the others, which sam_edge.image has.
        names -= {"orig_h", "orig_w", "input_h", "input_w", "training", "get_preprocess_shape"}
        missing = {name for name in names if not hasattr(ours, name)}
        assert missing <= set(ours.instead), type(theirs).__name__


def batches(height, width):
    """Prompts of three objects in the photo's pixels, in every combination that makes sense."""
    rng = np.random.default_rng(7)
    points = rng.uniform(0.1, 0.9, (3, 2, 2)) * (width, height)
    labels = np.array([[1, 0], [1, 1], [1, 0]])
    boxes = np.array([[0.1, 0.1, 0.6, 0.7], [0.3, 0.2, 0.9, 0.9], [0.5, 0.5, 0.7, 0.8]])
    boxes = boxes * (width, height, width, height)
    return {
        "boxes": {"boxes": boxes, "multimask_output": False},
        "one box": {"boxes": boxes[:1]},
        "points": {"point_coords": points, "point_labels": labels},
        "points and boxes": {"point_coords": points, "point_labels": labels, "boxes": boxes},
    }


def official_answer(official, point_coords=None, point_labels=None, boxes=None, **rest):
    """Ask ``predict_torch``, whose prompts go through the transform first."""
    size = official.original_size
    if point_coords is not None:
        point_coords = official.transform.apply_coords_torch(torch.tensor(point_coords), size)
        point_labels = torch.tensor(point_labels)
    if boxes is not None:
        boxes = official.transform.apply_boxes_torch(torch.tensor(boxes), size)
    if "mask_input" in rest:
        rest["mask_input"] = torch.tensor(rest["mask_input"])
    answer = official.predict_torch(point_coords, point_labels, boxes, **rest)
    return [tensor.numpy() for tensor in answer]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_gives_what_predict_torch_gives(official, predictor, photos, shape):
    photo = photos[shape]
    official.set_image(photo)
    predictor.set_image(photo)
    kinds = batches(*photo.shape[:2])
    first = official_answer(official, **kinds["boxes"])[2]
    kinds["boxes and masks"] = kinds["boxes"] | {"mask_input": first}
    kinds["masks"] = {"mask_input": first}
    for kind, prompts in kinds.items():
        expected = official_answer(official, **prompts)
        actual = predictor.predict_batch(**prompts)
        for ours, theirs in zip(actual, expected, strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), kind
        masks, scores, logits = actual
        assert np.count_nonzero(masks == expected[0]) >= 0.9999 * masks.size, kind
        assert np.abs(scores - expected[1]).max() <= 1e-3, kind
        assert relative_l2(logits, expected[2]) <= 1e-4, kind
        assert 0 < np.count_nonzero(masks) < masks.size
    values = predictor.predict_batch(**kinds["boxes"], return_logits=True)[0]
    theirs = official_answer(official, **kinds["boxes"], return_logits=True)[0]
    assert relative_l2(values, theirs) <= 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_predictor_knows_of_its_photo_is_the_official_predictors(
    official, predictor, photos, shape
):
    photo = photos[shape]
    official.set_image(photo[..., ::-1], image_format="BGR")
    predictor.set_image(photo[..., ::-1], image_format="BGR")
    assert predictor.is_image_set is official.is_image_set is True
    assert predictor.original_size == official.original_size
    assert predictor.input_size == official.input_size
    assert predictor.device == str(official.device)
    assert relative_l2(predictor.features, official.features.detach().numpy()) <= 1e-5
    assert predictor.model.spec.masks.threshold == official.model.mask_threshold
    height, width = photo.shape[:2]
    boxes = np.random.default_rng(0).uniform(0, 1, (5, 4)) * (width, height, width, height)
    for name, prompts in (("apply_boxes", boxes), ("apply_coords", boxes.reshape(1, 10, 2))):
        ours = getattr(predictor.transform, name)(prompts, photo.shape[:2])
        theirs = getattr(official.transform, name)(prompts, photo.shape[:2])
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert predictor.transform.target_length == official.transform.target_length
    official.reset_image()
    predictor.reset_image()
    assert predictor.is_image_set is official.is_image_set is False
    assert predictor.features is official.features is None


def test_a_tensor_that_numpy_can_read_is_an_array_and_no_other(predictor, photos):
    predictor.set_image(photos["square"])
    boxes = torch.tensor([[50.0, 50, 300, 300], [10, 10, 80, 400]])
    masks, _, logits = predictor.predict_batch(boxes=boxes)
    assert np.array_equal(masks, predictor.predict_batch(boxes=boxes.numpy())[0])
    again = predictor.predict(mask_input=torch.tensor(logits[0, :1]))[0]
    assert np.array_equal(again, predictor.predict(mask_input=logits[0, :1])[0])
    with pytest.raises(sam_edge.SamEdgeError, match="requires grad"):
        predictor.predict_batch(boxes=boxes.requires_grad_())
