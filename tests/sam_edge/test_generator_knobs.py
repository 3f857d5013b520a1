"""Knobs of the automatic generator that cannot be meant, and photos thinner than its crops."""

import numpy as np
import pytest

import sam_edge
from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.masks.boxes import crop_boxes
from tests.sam_edge.known import model_of


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    """Draw a disc around each point."""
    middle = feeds["point_coords"][:, 0]
    y, x = np.mgrid[:64, :64] * 4 + 2
    distance = np.hypot(y - middle[:, 1, None, None, None], x - middle[:, 0, None, None, None])
    masks = np.repeat(((30 - distance) * 20).astype(np.float32), 4, axis=1)
    scores = np.full((len(middle), 4), 0.95, np.float32)
    return {"low_res_masks": masks, "iou_predictions": scores}


@pytest.fixture
def model():
    return model_of(encode, decode)


NO_NUMBERS = [np.nan, np.inf, -np.inf, -1, -0.5, "1", 1j, [1], True, -(10**400)]
REAL = ["pred_iou_thresh", "stability_score_thresh", "stability_score_offset"]
SHARES = ["box_nms_thresh", "crop_nms_thresh", "crop_overlap_ratio"]
WHOLE = ["points_per_side", "points_per_batch", "crop_n_layers", "crop_n_points_downscale_factor"]
WHOLE_OR_BYTES = [*WHOLE, "memory_ceiling_bytes"]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in [*REAL, *SHARES, "min_mask_region_area"] for value in NO_NUMBERS]
    + [(name, value) for name in WHOLE_OR_BYTES for value in [*NO_NUMBERS, 1.5, 10**400]]
    + [(name, 1.01) for name in SHARES]
    + [("crop_n_layers", 20), ("points_per_side", 10**6), ("points_per_batch", 10**6)]
    + [("crop_n_layers", None), ("box_nms_thresh", None), ("output_mode", ["coco_rle"])],
    ids=lambda value: str(value)[:12] if not isinstance(value, int) else hex(value)[:8],
)
def test_a_knob_out_of_its_range_is_named(model, name, value):
    with pytest.raises(sam_edge.SamEdgeError, match=name) as caught:
        SamAutomaticMaskGenerator(model, **{name: value})
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "grids",
    [
        5,
        [5],
        ["ab"],
        [None],
        [np.zeros(4)],
        [np.zeros((4, 3))],
        [np.zeros((4, 2, 1))],
        [np.full((4, 2), np.nan)],
        [np.full((4, 2), 1.5)],
        [np.full((4, 2), -0.1)],
        [[[0.5, 10**400]]],
        [[[0.5, 0.5], [0.5]]],
    ],
    ids=lambda grids: str(grids)[:20],
)
def test_point_grids_that_are_no_points_in_the_unit_square_are_refused(model, grids):
    with pytest.raises(sam_edge.SamEdgeError, match=r"point.grid") as caught:
        SamAutomaticMaskGenerator(model, points_per_side=None, point_grids=grids)
    assert isinstance(caught.value, ValueError)


def test_a_crop_layer_without_points_is_refused(model):
    with pytest.raises(sam_edge.SamEdgeError, match="crop layer 2 would have no points"):
        SamAutomaticMaskGenerator(
            model, points_per_side=3, crop_n_layers=2, crop_n_points_downscale_factor=2
        )


def test_knobs_may_be_numpy_numbers_and_grids_lists(model):
    generator = SamAutomaticMaskGenerator(
        model, points_per_side=np.int64(3), pred_iou_thresh=np.float32(0.5), crop_nms_thresh=1
    )
    assert generator.generate(np.zeros((40, 40, 3), np.uint8))
    generator = SamAutomaticMaskGenerator(model, None, point_grids=[[[0.5, 0.5], [0, 1]]])
    assert generator.generate(np.zeros((40, 40, 3), np.uint8))


@pytest.mark.parametrize("photo", [(1, 3000), (3000, 1), (1, 1), (3, 200), (7, 7)])
@pytest.mark.parametrize("overlap", [0, 512 / 1500, 1])
def test_a_photo_thinner_than_its_crops_has_those_that_hold_pixels(model, photo, overlap):
    crops = crop_boxes(photo, 3, overlap)
    seen = np.zeros(photo, bool)
    for (x0, y0, x1, y1), layer in crops:
        assert x0 < x1
        assert y0 < y1
        if layer == 3:
            seen[y0:y1, x0:x1] = True
    assert seen.all()
    generator = SamAutomaticMaskGenerator(
        model, points_per_side=2, crop_n_layers=3, crop_overlap_ratio=overlap
    )
    assert isinstance(generator.generate(np.zeros((*photo, 3), np.uint8)), list)


def test_logits_that_are_nan_are_not_a_photo_without_masks(model):
    def broken(feeds):
        answer = decode(feeds)
        answer["low_res_masks"][:] = np.nan
        return answer

    damaged = model_of(encode, broken)
    with pytest.raises(sam_edge.SamEdgeError, match="NaN"):
        SamAutomaticMaskGenerator(damaged, points_per_side=2).generate(
            np.zeros((40, 40, 3), np.uint8)
        )
