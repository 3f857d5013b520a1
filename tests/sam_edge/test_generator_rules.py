"""The generator's own rules, each on masks that are drawn so that the rule alone decides."""

import numpy as np
import pytest

from sam_edge.automatic import SamAutomaticMaskGenerator
from tests.sam_edge.known import IMAGE_SIZE, model_of

PHOTO = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)  # its pixels are the encoder's
GRID = np.arange(0, IMAGE_SIZE, 4) + 2  # the middles of the decoder's cells, in pixels


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def generator(answer, **knobs):
    """A generator whose masks and scores are a function of the point, and the points it asks."""
    asked = []

    def decode(feeds):
        points = feeds["point_coords"][:, 0]
        asked.extend(points.tolist())
        answers = [answer(x, y) for x, y in points]
        masks = np.array([[mask] * 4 for mask, _ in answers], np.float32)
        scores = np.array([[score] * 4 for _, score in answers], np.float32)
        return {"low_res_masks": masks, "iou_predictions": scores}

    return SamAutomaticMaskGenerator(model_of(encode, decode), **knobs), asked


def rectangle(x0, y0, x1, y1):
    """Logits whose foreground is these columns and rows, ends left out."""
    across = np.minimum(GRID - x0, x1 - GRID)
    down = np.minimum(GRID - y0, y1 - GRID)
    inside = np.minimum(down[:, None], across[None])
    return np.clip(inside, -32, 32) * np.float32(20)


@pytest.mark.parametrize(
    ("rows", "asked"), [(48, 256 - 3 * 16 + 1), (64, 256 - 4 * 16 + 1), (68, 256)]
)
def test_coarse_first_skips_what_a_mask_up_to_a_quarter_of_the_photo_covers(rows, asked):
    """Each point of the grid gives the photo's topmost rows; the first that does settles them."""
    mask = rectangle(-99, -99, 999, rows)
    coarse, points = generator(
        lambda x, y: (mask, 0.95), points_per_side=16, points_per_batch=1, coarse_first=True
    )
    coarse.generate(PHOTO)
    assert len(points) == asked


def test_coarse_first_looks_at_every_fourth_point_then_at_every_second_then_at_all():
    nothing = np.full((64, 64), -20, np.float32)
    coarse, points = generator(lambda x, y: (nothing, 0.5), points_per_side=8, coarse_first=True)
    coarse.generate(PHOTO)
    places = [((x - 16) / 32, (y - 16) / 32) for x, y in points]
    assert places[:4] == [(2, 2), (6, 2), (2, 6), (6, 6)]
    assert places[4:20] == [(x, y) for y in (1, 3, 5, 7) for x in (1, 3, 5, 7)]
    assert sorted(places) == [(x, y) for x in range(8) for y in range(8)]


TWO_POINTS = {"points_per_side": None, "point_grids": [np.array([[0.25, 0.5], [0.75, 0.5]])]}


def test_of_two_masks_that_repair_makes_alike_the_one_that_needed_none_wins():
    """Though the other one is better scored: officially so, as its outline was never touched."""
    whole = rectangle(80, 80, 160, 160)
    speckled = np.maximum(whole, rectangle(200, 80, 208, 88))
    knobs = TWO_POINTS | {"min_mask_region_area": 200}
    found = generator(lambda x, y: (speckled, 0.99) if x < 128 else (whole, 0.9), **knobs)[0]
    (record,) = found.generate(PHOTO)
    assert record["predicted_iou"] == pytest.approx(0.9)
    assert record["bbox"] == [80, 80, 79, 79]
    # Without repair both stay, the better one first: the speck makes its box another one.
    both = generator(lambda x, y: (speckled, 0.99) if x < 128 else (whole, 0.9), **TWO_POINTS)[0]
    assert [mask["predicted_iou"] for mask in both.generate(PHOTO)] == pytest.approx([0.99, 0.9])


def test_after_repair_the_higher_of_both_thresholds_suppresses():
    """Boxes of 80 x 80 and 80 x 64: their IoU is 0.8, in the middle of the two."""
    large, small = rectangle(80, 80, 160, 160), rectangle(80, 80, 160, 144)
    speckled = np.maximum(small, rectangle(200, 80, 208, 88))  # 0.49 with the large one
    for thresholds, count in (((0.6, 0.9), 2), ((0.6, 0.7), 1)):
        found, _ = generator(
            lambda x, y: (speckled, 0.99) if x < 128 else (large, 0.9),
            box_nms_thresh=thresholds[0],
            crop_nms_thresh=thresholds[1],
            min_mask_region_area=200,
            **TWO_POINTS,
        )
        assert len(found.generate(PHOTO)) == count


@pytest.mark.parametrize(("threshold", "crops"), [(0.2, [128]), (0.3, [128, 256])])
def test_between_crops_the_smaller_crop_wins(threshold, crops):
    """A disc of one size in every frame is half as wide in a crop half as wide: an IoU of 0.25."""
    grids = [np.array([[0.25, 0.25]]), np.array([[0.5, 0.5], [0.99, 0.99]])]

    def answer(x, y):
        if x > 250:
            return np.full((64, 64), -20, np.float32), 0.1
        return rectangle(x - 20, y - 20, x + 20, y + 20), 0.95

    found, _ = generator(
        answer,
        points_per_side=None,
        point_grids=grids,
        crop_n_layers=1,
        crop_overlap_ratio=0,
        crop_nms_thresh=threshold,
    )
    records = found.generate(PHOTO)
    corner = [record for record in records if record["crop_box"][:2] == [0, 0]]
    assert [record["crop_box"][2] for record in corner] == crops
    assert len(records) == 3 + len(corner)
    assert corner[0]["bbox"] == [54, 54, 19, 19]
    assert corner[0]["point_coords"] == [[64, 64]]
    centres = sorted(tuple(record["point_coords"][0]) for record in records)[-3:]
    assert centres == [(64, 192), (192, 64), (192, 192)]


@pytest.mark.parametrize(("last", "stays"), [(107, True), (108, False), (127, False)])
def test_a_mask_that_comes_within_20_pixels_of_its_crops_inner_edge_is_left_to_others(last, stays):
    """It begins at the photo's own edges, where nothing is cut off."""
    grids = [np.array([[0.99, 0.99]]), np.array([[0.5, 0.5]])]
    side = 2 * (last + 1)  # the crop is half the photo, and fills the same frame
    found, _ = generator(
        lambda x, y: (rectangle(-99, -99, side, side), 0.95),
        points_per_side=None,
        point_grids=grids,
        crop_n_layers=1,
        crop_overlap_ratio=0,
        crop_nms_thresh=1,
    )
    boxes = [
        record["bbox"] for record in found.generate(PHOTO) if record["crop_box"] == [0, 0, 128, 128]
    ]
    assert boxes == [[0, 0, last, last]] * stays


def test_a_record_says_what_was_found_where():
    found, _ = generator(
        lambda x, y: (rectangle(40, 80, 120, 200), 0.95),
        points_per_side=None,
        point_grids=[np.array([[0.25, 0.5]])],
        output_mode="uncompressed_rle",
    )
    (record,) = found.generate(PHOTO)
    assert record["bbox"] == [40, 80, 79, 119]
    assert record["point_coords"] == [[64, 128]]
    assert record["crop_box"] == [0, 0, 256, 256]
    assert record["stability_score"] > 0.98
    counts = record["segmentation"]["counts"]
    assert sum(counts) == 256 * 256
    assert record["area"] == sum(counts[1::2]) == pytest.approx(80 * 120, abs=4)
    assert counts[3:6] == [120, 136, 120]  # columns of it, with what is below and above


@pytest.mark.parametrize(("offset", "half_widths"), [(1.0, (38, 42)), (4.0, (32, 48))])
def test_the_stability_is_the_share_that_stays_when_the_threshold_moves(offset, half_widths):
    """A square of 80 pixels whose logits fall by a half a pixel."""
    soft = rectangle(88, 88, 168, 168) / 40
    found, _ = generator(
        lambda x, y: (soft, 0.95),
        points_per_side=1,
        stability_score_offset=offset,
        stability_score_thresh=0.1,
    )
    (record,) = found.generate(PHOTO)
    small, large = half_widths
    assert record["stability_score"] == pytest.approx((small / large) ** 2, abs=0.02)
    assert record["area"] == pytest.approx(80 * 80, rel=0.01)


@pytest.mark.parametrize(("knob", "kept"), [(0.5, 3), (0.89, 3), (0.91, 0), (0, 3)])
def test_masks_whose_predicted_iou_is_not_above_the_threshold_are_dropped(knob, kept):
    found, _ = generator(
        lambda x, y: (rectangle(40, 80, 120, 200), 0.9),
        points_per_side=1,
        pred_iou_thresh=knob,
        box_nms_thresh=1,
    )
    assert len(found.generate(PHOTO)) == kept


def test_a_score_equal_to_the_threshold_is_dropped_and_a_stability_equal_to_it_is_kept():
    """As officially: ``>`` for the predicted IoU, ``>=`` for the stability."""
    mask = rectangle(40, 80, 120, 200)
    for knobs, count in (
        ({"pred_iou_thresh": 0.875, "stability_score_thresh": 0.5}, 0),
        ({"pred_iou_thresh": 0.8749, "stability_score_thresh": 0.5}, 1),
    ):
        found, _ = generator(lambda x, y: (mask, 0.875), points_per_side=1, **knobs)
        assert len(found.generate(PHOTO)) == count
    found, _ = generator(lambda x, y: (mask, 0.9), points_per_side=1, stability_score_thresh=0)
    stability = found.generate(PHOTO)[0]["stability_score"]
    for threshold, count in (
        (stability, 1),
        (np.nextafter(np.float32(stability), np.float32(2)), 0),
    ):
        found, _ = generator(
            lambda x, y: (mask, 0.9), points_per_side=1, stability_score_thresh=threshold
        )
        assert len(found.generate(PHOTO)) == count
