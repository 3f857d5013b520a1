"""The generator around a stand-in for a trained model, also against the official one around it.

The stand-in segments by colour: real photos give it hundreds of masks of every size, with holes
and islands, and it costs milliseconds. Only the generators differ between the two sides. The
official one is asked where torch and its package are; all else needs neither.
"""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from pycocotools import mask as coco

from sam_edge.automatic import CancelledError, SamAutomaticMaskGenerator
from sam_edge.image import read_image
from sam_edge.masks import decode_rle, from_coco_rle
from tests.sam_edge.known import SPEC, model_of

FEWEST_COMPARED = 20


def photo_of(name):
    return read_image(str(files("sam_edge") / "assets" / "photos" / f"{name}.jpg"))


CAT = photo_of("chelsea")
PHOTOS = {
    "cat": CAT,
    "cup": np.ascontiguousarray(photo_of("coffee")[::2, ::2]),
    "portrait": np.ascontiguousarray(photo_of("astronaut")[:, 100:400]),
}


def encode(image):
    """Average each 4 x 4 block: ``(1, 3, S, S)`` to ``(1, 3, S/4, S/4)``."""
    side = image.shape[-1] // 4
    return image.reshape(1, 3, side, 4, side, 4).mean(axis=(3, 5))


def decode(features, points):
    """Return ``(B, 4, s, s)`` logits of what is near each point and like it, and their scores."""
    side = features.shape[-1]
    column, row = np.clip((points / 4).astype(int), 0, side - 1).T
    colours = features[0, :, row, column][:, :, None, None]
    unlike = np.linalg.norm(features - colours, axis=1, keepdims=True)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    away = np.hypot(y - row[:, None, None, None], x - column[:, None, None, None])
    reach = np.array([6, 8, 16, 24], np.float32)[:, None, None]
    logits = (15 * (1 - unlike - away / reach)).astype(np.float32)
    certain = 1 - 4 * (np.abs(logits) < 1.5).mean(axis=(-2, -1), dtype=np.float32)
    return logits, certain


@pytest.fixture(scope="module")
def official():
    """The official generator, around the stand-in as torch's modules."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the stand-in's tensors are too small for more
    from tests.export import standins

    standins.install()
    official_package = pytest.importorskip("segment_anything")
    from segment_anything.modeling import Sam

    class Encoder(torch.nn.Module):
        img_size = SPEC.image_size

        def forward(self, image):
            return torch.from_numpy(encode(image.numpy()))

    class Prompts(torch.nn.Module):
        def forward(self, points, boxes, masks):
            return points[0][:, 0], None

        def get_dense_pe(self):
            return None

    class Decoder(torch.nn.Module):
        def forward(self, *, image_embeddings, sparse_prompt_embeddings, multimask_output, **_):
            assert multimask_output
            answer = decode(image_embeddings.numpy(), sparse_prompt_embeddings.numpy())
            return tuple(torch.from_numpy(array[:, 1:]) for array in answer)

    sam = Sam(Encoder(), Prompts(), Decoder(), SPEC.image.mean, SPEC.image.std)

    def generate(photo, **knobs):
        return official_package.SamAutomaticMaskGenerator(sam, **knobs).generate(photo)

    yield generate
    torch.set_num_threads(threads)


def decode_feeds(feeds):
    assert feeds["point_labels"][:, 1].tolist() == [-1] * len(feeds["point_labels"])
    logits, scores = decode(feeds["image_embeddings"], feeds["point_coords"][:, 0])
    return {"low_res_masks": logits, "iou_predictions": scores}


def encode_feeds(feeds):
    return {"image_embeddings": encode(feeds["image"])}


@pytest.fixture
def model():
    return model_of(encode_feeds, decode_feeds)


KNOBS = {
    "defaults": {"points_per_side": 12, "pred_iou_thresh": 0.8, "stability_score_thresh": 0.8},
    "no filters": {
        "points_per_side": 5,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 0.9,
    },
    "crops": {
        "points_per_side": 8,
        "pred_iou_thresh": 0.8,
        "stability_score_thresh": 0.7,
        "crop_n_layers": 1,
        "crop_n_points_downscale_factor": 2,
    },
    "small regions": {
        "points_per_side": 10,
        "pred_iou_thresh": 0.8,
        "stability_score_thresh": 0.7,
        "min_mask_region_area": 200,
        "stability_score_offset": 0.7,
    },
    "own points": {
        "points_per_side": None,
        "point_grids": [np.random.default_rng(0).random((50, 2))],
        "pred_iou_thresh": 0.75,
        "stability_score_thresh": 0.7,
    },
}


def iou(one, other):
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS.keys())
def test_the_official_generator_finds_the_same_masks(official, model, knobs):
    if "min_mask_region_area" in knobs:
        pytest.importorskip("cv2", reason="the official code removes regions with it")
    compared = 0
    for name, photo in PHOTOS.items():
        expected = official(photo, **knobs)
        actual = SamAutomaticMaskGenerator(model, **knobs).generate(photo)
        assert abs(len(actual) - len(expected)) <= max(1, 0.02 * len(expected)), name
        missing = 0
        for theirs in expected:
            same_point = [
                record for record in actual if record["point_coords"] == theirs["point_coords"]
            ]
            ours = max(
                same_point,
                key=lambda record: iou(record["segmentation"], theirs["segmentation"]),
                default=None,
            )
            if ours is None or iou(ours["segmentation"], theirs["segmentation"]) < 0.99:
                missing += 1
                continue
            compared += 1
            assert ours.keys() == theirs.keys()
            assert ours["bbox"] == pytest.approx(theirs["bbox"], abs=1)
            assert ours["crop_box"] == theirs["crop_box"]
            assert ours["area"] == pytest.approx(theirs["area"], abs=3)
            assert ours["predicted_iou"] == pytest.approx(theirs["predicted_iou"], abs=1e-4)
            assert ours["stability_score"] == pytest.approx(theirs["stability_score"], abs=1e-3)
        assert missing <= max(1, 0.02 * len(expected)), name
    assert compared >= FEWEST_COMPARED


def test_every_output_mode_is_the_same_mask(model):
    knobs = KNOBS["defaults"]
    binary, plain, string = (
        SamAutomaticMaskGenerator(model, output_mode=mode, **knobs).generate(CAT)
        for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
    )
    assert len(binary) == len(plain) == len(string) > 5
    for one, other, third in zip(binary, plain, string, strict=True):
        assert np.array_equal(one["segmentation"], decode_rle(other["segmentation"]))
        assert from_coco_rle(third["segmentation"]) == other["segmentation"]
        assert coco.area(third["segmentation"]) == one["area"]


def test_batches_do_not_change_the_answer(model):
    knobs = KNOBS["defaults"] | {"output_mode": "coco_rle"}
    one, other = (
        SamAutomaticMaskGenerator(model, points_per_batch=size, **knobs).generate(CAT)
        for size in (1, 50)
    )
    assert one == other


def test_the_memory_ceiling_sets_the_batch():
    wide = replace(SPEC, image=replace(SPEC.image, size=1024))
    model = model_of(encode_feeds, decode_feeds, wide)
    batches = [
        SamAutomaticMaskGenerator(model, memory_ceiling_bytes=ceiling).points_per_batch
        for ceiling in (1, 512 * 2**20, 2**40)
    ]
    assert batches == [1, 8, 64]


def test_coarse_first_asks_less_and_finds_most(model):
    knobs = KNOBS["defaults"] | {"points_per_side": 32, "points_per_batch": 16}
    asked = []

    def counted(feeds):
        asked.append(len(feeds["point_labels"]))
        return decode_feeds(feeds)

    counting = model_of(encode_feeds, counted)
    full = SamAutomaticMaskGenerator(counting, **knobs).generate(CAT)
    points, asked[:] = sum(asked), []
    coarse = SamAutomaticMaskGenerator(counting, coarse_first=True, **knobs).generate(CAT)
    assert points == 1024
    assert sum(asked) < points / 2
    masks = [record["segmentation"] for record in coarse]
    found = [max(iou(record["segmentation"], mask) for mask in masks) > 0.5 for record in full]
    assert np.mean(found) > 0.7


def test_progress_counts_every_point(model):
    seen = []
    SamAutomaticMaskGenerator(
        model, points_per_side=8, points_per_batch=10, crop_n_layers=1, coarse_first=True
    ).generate(CAT, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (5 * 64, 5 * 64)


def test_a_cancelled_run_stops_between_two_batches(model):
    calls = []

    def cancelled():
        calls.append(None)
        return len(calls) > 3

    generator = SamAutomaticMaskGenerator(model, points_per_side=8, points_per_batch=8)
    with pytest.raises(CancelledError, match=r"stopped after (8|16) of 64 points"):
        generator.generate(CAT, cancelled=cancelled)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"points_per_side": None}, "either points_per_side or point_grids"),
        ({"point_grids": [np.zeros((1, 2))]}, "either points_per_side or point_grids"),
        ({"points_per_side": 0}, "at least 1, got 0"),
        ({"output_mode": "png"}, "'png'"),
        (
            {"points_per_side": None, "point_grids": [np.zeros((1, 2))], "crop_n_layers": 1},
            "need 2 point grids",
        ),
        (
            {"points_per_side": None, "point_grids": [np.zeros((1, 2))], "coarse_first": True},
            "coarse_first",
        ),
        ({"points_per_batch": 0}, "points_per_batch"),
        ({"stability_score_offset": -1.0}, "-1.0"),
    ],
)
def test_knobs_that_cannot_be_meant_are_refused(model, knobs, message):
    with pytest.raises(ValueError, match=message):
        SamAutomaticMaskGenerator(model, **knobs)


def test_a_photo_without_masks_gives_none(model):
    generator = SamAutomaticMaskGenerator(
        model, points_per_side=4, pred_iou_thresh=2.0, crop_n_layers=1, min_mask_region_area=5
    )
    assert generator.generate(np.zeros((30, 40, 3), np.uint8)) == []
