"""The official notebooks' calls, as they stand but for torch's tensors, on the model in the box.

``predictor_example.ipynb``, ``automatic_mask_generator_example.ipynb`` and
``onnx_model_example.ipynb`` of ``facebookresearch/segment-anything``. tests/export compares the
answers with the official code's.
"""

import json
import pickle
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from sam_edge.checkpoints import CheckpointError
from sam_edge.errors import (
    ArgumentError,
    ImageNotSetError,
    ModelNotFoundError,
    PromptError,
    SamEdgeError,
    TorchNeededError,
)
from sam_edge.registry import Sam
from sam_edge.spec import PROMPT_ENCODER_MASK_DECODER
from sam_edge.transform import PromptTransform
from sam_edge_runtimes.graph_file import sha256_file
from tests.sam_edge.known import NANO_CHECKPOINT

BOX = Path(str(files("sam_edge") / "assets" / "nano"))
INPUT_BOXES = [
    [75, 275, 1725, 850],
    [425, 600, 700, 875],
    [1375, 550, 1650, 800],
    [1240, 675, 1400, 750],
]


@pytest.fixture(scope="module")
def image():
    """A photo of the size that the notebooks' truck has, as their coordinates are for it."""
    photo = Image.open(files("sam_edge") / "assets" / "photos" / "chelsea.jpg")
    return np.asarray(photo.resize((1800, 1200)))


@pytest.fixture(scope="module")
def sam():
    sam_checkpoint = BOX
    model_type = "nano"
    device = "cpu"

    sam = sam_model_registry[model_type](checkpoint=sam_checkpoint)
    sam.to(device=device)
    return sam


@pytest.fixture(scope="module")
def predictor(sam, image):
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    return predictor


def test_the_predictor_notebook(predictor):
    input_point = np.array([[500, 375]])
    input_label = np.array([1])
    masks, scores, logits = predictor.predict(
        point_coords=input_point,
        point_labels=input_label,
        multimask_output=True,
    )
    assert (masks.shape, masks.dtype) == ((3, 1200, 1800), np.bool_)
    assert masks[np.argmax(scores)][375, 500]

    input_point = np.array([[500, 375], [1125, 625]])
    input_label = np.array([1, 1])
    mask_input = logits[np.argmax(scores), :, :]
    masks, _, _ = predictor.predict(
        point_coords=input_point,
        point_labels=input_label,
        mask_input=mask_input[None, :, :],
        multimask_output=False,
    )
    assert masks.shape == (1, 1200, 1800)

    input_label = np.array([1, 0])
    masks, _, _ = predictor.predict(
        point_coords=input_point,
        point_labels=input_label,
        mask_input=mask_input[None, :, :],
        multimask_output=False,
    )
    assert masks.shape == (1, 1200, 1800)

    input_box = np.array([425, 600, 700, 875])
    masks, _, _ = predictor.predict(
        point_coords=None,
        point_labels=None,
        box=input_box[None, :],
        multimask_output=False,
    )
    assert masks.shape == (1, 1200, 1800)

    input_point = np.array([[575, 750]])
    input_label = np.array([0])
    masks, _, _ = predictor.predict(
        point_coords=input_point,
        point_labels=input_label,
        box=input_box,
        multimask_output=False,
    )
    assert masks.shape == (1, 1200, 1800)


def test_many_boxes_are_one_call_and_each_answers_as_it_does_alone(predictor):
    input_boxes = np.array(INPUT_BOXES)
    masks, scores, logits = predictor.predict_batch(
        point_coords=None,
        point_labels=None,
        boxes=input_boxes,
        multimask_output=False,
    )
    assert (masks.shape, masks.dtype) == ((4, 1, 1200, 1800), np.bool_)
    assert (scores.shape, logits.shape) == ((4, 1), (4, 1, 96, 96))
    for row, box in enumerate(input_boxes):
        mask, score, low_res = predictor.predict(box=box, multimask_output=False)
        assert np.count_nonzero(masks[row] != mask) <= 1e-4 * mask.size
        np.testing.assert_allclose(scores[row], score, atol=1e-4)
        np.testing.assert_allclose(logits[row], low_res, atol=1e-2)
    assert len({mask.tobytes() for mask in masks}) == 4


def test_a_batch_takes_points_boxes_and_masks_together(predictor):
    points = np.array([[[575, 750], [600, 700]], [[1500, 700], [1400, 600]]])
    labels = np.array([[1, 0], [1, 1]])
    boxes = np.array(INPUT_BOXES[1:3])
    _, _, logits = predictor.predict_batch(points, labels, multimask_output=False)
    values, scores, _ = predictor.predict_batch(points, labels, boxes, logits, return_logits=True)
    assert (values.shape, values.dtype, scores.shape) == ((2, 3, 1200, 1800), np.float32, (2, 3))
    for row in range(2):
        alone, score, _ = predictor.predict(
            points[row], labels[row], boxes[row], logits[row], return_logits=True
        )
        np.testing.assert_allclose(values[row], alone, atol=2e-2)
        np.testing.assert_allclose(scores[row], score, atol=1e-4)


def test_a_detector_that_finds_nothing_gets_no_masks(predictor):
    masks, scores, logits = predictor.predict_batch(boxes=np.zeros((0, 4)))
    assert (masks.shape, scores.shape, logits.shape) == ((0, 3, 1200, 1800), (0, 3), (0, 3, 96, 96))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array"),
        ({"boxes": np.array([1, 2, 3, 4])}, r"boxes has shape \(B, 4\), .* got \(4,\)"),
        ({"boxes": [[1, 2, 3, 4], [1, 2]]}, "boxes must be numbers"),
        ({"point_coords": np.ones((1, 1, 2))}, "point_labels must be supplied"),
        (
            {"point_coords": np.ones((1, 2)), "point_labels": np.ones((1, 1))},
            r"point_coords has shape \(B, N, 2\)",
        ),
        (
            {
                "point_coords": np.ones((3, 1, 2)),
                "point_labels": np.ones((3, 1)),
                "boxes": np.array(INPUT_BOXES),
            },
            "got 3 point_coords, 3 point_labels, 4 boxes",
        ),
        ({"boxes": np.array([[1, 2, 30, 40], [5000, 1, 6000, 2]])}, "outside the photo"),
        ({"mask_input": np.ones((1, 96, 96))}, r"mask_input has shape \(B, 1, S/4, S/4\)"),
        ({"mask_input": np.ones((1, 1, 64, 64))}, r"shape \(96, 96\) here, got \(64, 64\)"),
    ],
)
def test_a_batch_that_cannot_be_meant_is_one_line(predictor, arrays, message):
    with pytest.raises(PromptError, match=message):
        predictor.predict_batch(**arrays)


def test_one_objects_predict_names_the_call_for_many(predictor):
    with pytest.raises(PromptError, match=r"box has 4 rows; predict_batch\(boxes=\.\.\.\)"):
        predictor.predict(box=np.array(INPUT_BOXES))


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32])
def test_logits_of_any_numbers_are_taken_as_officially(predictor, kind):
    logits = np.rint(predictor.predict(box=np.array(INPUT_BOXES[1]))[2][:1])
    expected, _, _ = predictor.predict(mask_input=logits, multimask_output=False)
    actual, _, _ = predictor.predict(mask_input=logits.astype(kind), multimask_output=False)
    assert np.array_equal(actual, expected)


def test_the_predictor_knows_its_photo(sam, image):
    predictor = SamPredictor(sam)
    assert not predictor.is_image_set
    assert predictor.features is None
    for name in ("original_size", "input_size"):
        with pytest.raises(ImageNotSetError, match="call set_image"):
            getattr(predictor, name)
    predictor.set_image(image[..., ::-1], image_format="BGR")
    assert predictor.is_image_set
    assert (predictor.original_size, predictor.input_size) == ((1200, 1800), (256, 384))
    assert predictor.get_image_embedding().shape == (1, 256, 24, 24)
    assert np.array_equal(predictor.features, predictor.get_image_embedding())
    rgb = SamPredictor(sam)
    rgb.set_image(image, image_format="RGB")
    assert np.array_equal(rgb.features, predictor.features)
    predictor.reset_image()
    assert not predictor.is_image_set
    assert predictor.features is None


def test_the_generator_notebook(sam, image):
    image = image[::4, ::4]
    mask_generator = SamAutomaticMaskGenerator(sam, points_per_side=16)  # test_nano has all 32
    masks = mask_generator.generate(image)
    assert len(masks) > 5
    assert masks[0].keys() == {
        "segmentation",
        "area",
        "bbox",
        "predicted_iou",
        "point_coords",
        "stability_score",
        "crop_box",
    }

    mask_generator_2 = SamAutomaticMaskGenerator(
        model=sam,
        points_per_side=8,  # there 32
        pred_iou_thresh=0.3,  # there 0.86 and 0.92: nano scores its masks lower
        stability_score_thresh=0.15,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=100,
    )
    masks2 = mask_generator_2.generate(image)
    assert len(masks2) > 5
    assert {tuple(mask["crop_box"]) for mask in masks2} > {(0, 0, 450, 300)}


@pytest.mark.parametrize("box", [False, True])
def test_the_onnx_notebook(predictor, image, box):
    ort_session = predictor.model.sessions[PROMPT_ENCODER_MASK_DECODER]
    image_embedding = predictor.get_image_embedding()
    input_point = np.array([[575, 750]])
    input_label = np.array([0 if box else 1])
    input_box = np.array([425, 600, 700, 875])
    if box:
        onnx_box_coords = input_box.reshape(2, 2)
        onnx_box_labels = np.array([2, 3])
        onnx_coord = np.concatenate([input_point, onnx_box_coords], axis=0)[None, :, :]
        onnx_label = np.concatenate([input_label, onnx_box_labels], axis=0)[None, :]
    else:
        onnx_coord = np.concatenate([input_point, np.array([[0.0, 0.0]])], axis=0)[None, :, :]
        onnx_label = np.concatenate([input_label, np.array([-1])], axis=0)[None, :]
    onnx_coord = predictor.transform.apply_coords(onnx_coord, image.shape[:2]).astype(np.float32)
    ort_inputs = {
        "image_embeddings": image_embedding,
        "point_coords": onnx_coord,
        "point_labels": onnx_label.astype(np.float32),
        "mask_input": np.zeros((1, 1, 96, 96), dtype=np.float32),
        "has_mask_input": np.zeros(1, dtype=np.float32),
    }
    low_res = ort_session.run(ort_inputs)["low_res_masks"]
    masks, _, logits = predictor.predict(
        input_point, input_label, input_box if box else None, multimask_output=False
    )
    np.testing.assert_allclose(low_res[0, :1], logits, atol=1e-4)
    values, _, _ = predictor.predict(
        input_point,
        input_label,
        input_box if box else None,
        multimask_output=False,
        return_logits=True,
    )
    assert np.mean((values > predictor.model.mask_threshold) == masks) >= 0.9999


def test_boxes_go_to_the_frame_corner_by_corner(predictor, image):
    boxes = np.array(INPUT_BOXES)
    mapped = predictor.transform.apply_boxes(boxes, image.shape[:2])
    scale = 384 / 1800
    np.testing.assert_allclose(mapped, boxes * scale, atol=1e-4)
    assert predictor.transform.apply_boxes(boxes[0], image.shape[:2]).shape == (1, 4)
    assert predictor.transform.target_length == 384
    for call in (predictor.transform.apply_boxes, predictor.transform.apply_coords):
        with pytest.raises(PromptError, match="have shape"):
            call(np.zeros((2, 3)), image.shape[:2])


def instead(kind):
    """The names of an official class that need torch."""
    return [pytest.param(kind, name, id=f"{kind.__name__}.{name}") for name in kind.instead]


@pytest.mark.parametrize(
    ("kind", "name"), [*instead(SamPredictor), *instead(Sam), *instead(PromptTransform)]
)
def test_what_needs_torch_says_what_to_do_instead(predictor, kind, name):
    stand_ins = {Sam: predictor.model, PromptTransform: predictor.transform}
    stand_in = stand_ins.get(kind, predictor)
    assert isinstance(stand_in, kind)
    assert not hasattr(stand_in, name)
    with pytest.raises(
        TorchNeededError, match=rf"^{kind.__name__}\.{name} needs torch; here \S.+$"
    ):
        getattr(stand_in, name)


def test_a_misspelt_name_is_pythons_own_error(predictor):
    with pytest.raises(
        AttributeError, match="'SamPredictor' object has no attribute 'predit'"
    ) as e:
        _ = predictor.predit
    assert not isinstance(e.value, SamEdgeError)


def test_a_model_is_on_the_cpu(sam, predictor):
    assert sam.device == predictor.device == "cpu"
    assert sam.to("cpu") is sam.to(device="cpu:0") is sam.eval() is sam
    assert sam.image_format == "RGB"
    with pytest.raises(ArgumentError, match="runs on the CPU, not on 'cuda'; pass 'cpu'"):
        sam.to(device="cuda")
    with pytest.raises(TorchNeededError, match="photo by photo"):
        sam([{"image": None}], multimask_output=False)


class Tensor:
    """What a tensor of torch does that is on a GPU, or has a gradient."""

    dtype = "torch.float32"
    ndim = 2

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()"),
        RuntimeError("Can't call numpy() on Tensor that requires grad."),
    ],
)
def test_tensors_that_are_no_arrays_are_refused_in_one_line(predictor, error):
    tensor = Tensor(error)
    for call in (
        lambda: predictor.predict(tensor, np.array([1])),
        lambda: predictor.predict(box=tensor),
        lambda: predictor.predict(mask_input=tensor),
        lambda: predictor.predict_batch(boxes=tensor),
        lambda: predictor.predict_batch(mask_input=tensor),
        lambda: predictor.model.decode(predictor.embedding, mask=tensor),
        lambda: predictor.transform.apply_boxes(tensor, (10, 10)),
        lambda: predictor.set_image(tensor),
    ):
        with pytest.raises(SamEdgeError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_registry_has_the_official_keys_and_every_name():
    assert {"default", "vit_h", "vit_l", "vit_b", "vit_t", "mobile_sam", "nano"} <= set(
        sam_model_registry
    )
    by_name = sam_model_registry["nano"]()
    copy = pickle.loads(pickle.dumps(by_name))
    assert isinstance(copy, Sam)
    assert copy.spec == by_name.spec == sam_edge.load_model().spec


@pytest.fixture
def exported(tmp_path, monkeypatch):
    """A checkpoint's file, and an export of it where ``models pull`` leaves it."""
    checkpoint = tmp_path / "sam_vit_b_01ec64.pth"
    checkpoint.write_bytes(b"weights")
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    bundle = tmp_path / "cache" / "bundles" / "vit_b-fp16"
    shutil.copytree(BOX, bundle)
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["variant"] = "vit_b"
    manifest["source"]["sha256"] = sha256_file(checkpoint)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return checkpoint


def test_a_checkpoints_file_opens_the_export_that_was_made_of_it(exported):
    sam = sam_model_registry["vit_b"](checkpoint=str(exported))
    assert sam.spec.source.sha256 == sha256_file(exported)
    assert SamPredictor(sam).model.spec.variant == "vit_b"


def test_a_checkpoint_of_other_bytes_opens_no_bundle(exported):
    exported.write_bytes(b"fine-tuned")
    with pytest.raises(CheckpointError, match=r"01ec64\.pth is truncated or damaged"):
        sam_model_registry["vit_b"](checkpoint=exported)


def test_a_damaged_bundle_is_not_opened_for_a_checkpoint(exported, tmp_path):
    (tmp_path / "cache" / "bundles" / "vit_b-fp16" / "manifest.json").write_text("{", "utf-8")
    with pytest.raises(CheckpointError, match="is truncated or damaged"):
        sam_model_registry["vit_b"](checkpoint=exported)


@pytest.mark.skipif(not NANO_CHECKPOINT.is_file(), reason="needs a checkout")
def test_a_checkpoint_becomes_a_bundle_the_first_time(tmp_path, monkeypatch, image):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    sam = sam_model_registry["nano"](checkpoint=str(NANO_CHECKPOINT))
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    masks, _, _ = predictor.predict(np.array([[500, 375]]), np.array([1]))
    assert masks.shape == (3, *image.shape[:2])
    (bundle,) = (tmp_path / "cache" / "bundles").iterdir()
    made = (bundle / "manifest.json").stat().st_mtime_ns
    again = sam_model_registry["nano"](checkpoint=NANO_CHECKPOINT)
    assert again.spec == sam.spec
    assert (bundle / "manifest.json").stat().st_mtime_ns == made


def test_a_model_that_is_not_here_says_how_to_get_it():
    with pytest.raises(ModelNotFoundError, match=r"sam-edge models pull vit_h$"):
        sam_model_registry["default"]()
    with pytest.raises(ModelNotFoundError, match="sam-edge export CHECKPOINT -o BUNDLE"):
        sam_model_registry["vit_h"](checkpoint="sam_vit_h_4b8939.pth")


def test_a_bundle_of_another_variant_is_not_taken_for_the_one_asked():
    with pytest.raises(ArgumentError, match=r"holds nano, not vit_b; .*\['nano'\]"):
        sam_model_registry["vit_b"](checkpoint=BOX)
