import numpy as np
import pytest

from sam_edge.errors import PromptError
from sam_edge.prompts import Box, PointLabel, Prompt, mask_logits, sparse_prompts

PHOTO, FRAME = (100, 200), (128, 256)


def test_a_point_alone_is_followed_by_a_padding_point():
    coords, labels = sparse_prompts(Prompt.of([(100, 50)]), PHOTO, FRAME)
    assert coords.tolist() == [[128, 64], [0, 0]]
    assert labels.tolist() == [PointLabel.FOREGROUND, PointLabel.PADDING]
    assert coords.dtype == labels.dtype == np.float32


def test_box_prompt_has_no_padding_point():
    coords, labels = sparse_prompts(Prompt.of(box=(10, 20, 30, 40)), PHOTO, FRAME)
    assert labels.tolist() == [PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT]
    assert np.allclose(coords, np.array([[10, 20], [30, 40]]) * 1.28)


def test_points_come_before_the_box():
    _, labels = sparse_prompts(Prompt.of([(1, 2)], [0], box=(10, 20, 30, 40)), PHOTO, FRAME)
    assert labels.tolist() == [0, 2, 3]


def test_a_mask_alone_has_no_points():
    coords, labels = sparse_prompts(Prompt.of(mask=np.ones(PHOTO, bool)), PHOTO, FRAME)
    assert coords.shape == (0, 2)
    assert labels.shape == (0,)


def test_points_may_lie_on_the_photos_far_edge_and_no_further():
    sparse_prompts(Prompt.of([(200, 100)]), PHOTO, FRAME)
    with pytest.raises(PromptError, match=r"200\.5,100 lies outside .* 200 x 100"):
        sparse_prompts(Prompt.of([(200.5, 100)]), PHOTO, FRAME)


def test_boxes_are_clipped_and_refused_only_when_nothing_remains():
    assert Box(-50, -50, 50, 50).clipped(100, 200) == Box(0, 0, 50, 50)
    with pytest.raises(PromptError, match="outside the photo, which is 200 x 100"):
        Box(200, 0, 300, 50).clipped(100, 200)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no prompt"),
        ({"points": []}, "no prompt"),
        ({"points": [(1, float("nan"))]}, "finite"),
        ({"points": [(1, 2)], "labels": [7]}, "got 7"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "one label a point"),
        ({"points": [(1, 2, 3)]}, r"shape \(N, 2\)"),
        ({"points": ["ab"]}, "must be numbers"),
        ({"box": (30, 40, 10, 20)}, "x0 < x1"),
        ({"box": (1, 2, 3)}, "four numbers"),
        ({"box": (0, 0, float("inf"), 1)}, "finite"),
        ({"mask": np.ones((4, 4))}, "float64"),
        ({"mask": np.full((4, 4), np.nan, np.float32)}, "finite"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, words):
    with pytest.raises(PromptError, match=words):
        Prompt.of(**arguments)


def test_a_bool_mask_becomes_logits_in_the_encoders_frame():
    mask = np.zeros(PHOTO, bool)
    mask[:, 100:] = True  # the right half
    logits = mask_logits(mask, PHOTO, FRAME, 256)
    assert logits.shape == (64, 64)
    assert (logits[:32, 32:] == 10).all()
    assert (logits[:32, :32] == -10).all()
    assert (logits[32:] == -10).all()  # the padding below the photo


def test_a_cell_half_covered_is_undecided():
    mask = np.zeros((256, 256), bool)
    mask[:, :2] = True
    assert mask_logits(mask, (256, 256), (256, 256), 256)[0, 0] == 0


def test_logits_pass_through_and_other_sizes_are_refused():
    logits = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    assert np.array_equal(mask_logits(logits, PHOTO, FRAME, 256), logits)
    with pytest.raises(PromptError, match=r"\(64, 64\)"):
        mask_logits(logits[:32], PHOTO, FRAME, 256)
    with pytest.raises(PromptError, match="photo has"):
        mask_logits(np.ones((5, 5), bool), PHOTO, FRAME, 256)
