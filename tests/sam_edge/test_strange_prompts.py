"""Prompts that cannot be meant: refused in one line, by whichever door they come."""

import numpy as np
import pytest

from sam_edge.errors import PromptError
from sam_edge.prompts import MAX_POINTS, Box, Prompt, sparse_prompts

HUGE = 10**400
LONGER_THAN_PYTHON_PRINTS = 10**5000


@pytest.mark.parametrize(
    "arguments",
    [
        {"points": [(HUGE, 1)]},
        {"points": [(LONGER_THAN_PYTHON_PRINTS, 1)]},
        {"points": [(1, 2)], "labels": [HUGE]},
        {"points": [(1, 2), (3,)]},
        {"points": [(1, 2)], "labels": [[1], [1, 0]]},
        {"points": np.array([[1j, 2]])},
        {"points": [("1", "2")]},
        {"points": np.ma.masked_array([[1.0, 2.0]], [[True, False]])},
        {"points": 5},
        {"points": "ab"},
        {"points": [(None, 2)]},
        {"points": [(1, 2)], "labels": [float("nan")]},
        {"points": [(1, 2)], "labels": 1},
        {"box": (0, 0, HUGE, 1)},
        {"box": (0, 0, LONGER_THAN_PYTHON_PRINTS, 1)},
        {"box": [[1, 2], [3]]},
        {"box": "1234"},
        {"box": 7},
        {"box": range(10_000)},
        {"mask": [[True], [True, False]]},
        {"mask": np.zeros((4, 4), bool)},
        {"mask": np.zeros((0, 4), bool)},
        {"mask": np.zeros((4, 4), object)},
    ],
)
def test_what_is_no_prompt_is_one_short_line(arguments):
    with pytest.raises(PromptError) as caught:
        Prompt.of(**arguments)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("points", "labels", "box", "mask"),
    [
        (np.array([[1.0, 2.0]]), np.array([7]), None, None),
        (np.array([[1.0, 2.0]]), np.array([1, 1]), None, None),
        (np.array([1.0, 2.0]), np.array([1]), None, None),
        (np.array([[np.inf, 2.0]]), np.array([1]), None, None),
        (np.ones((MAX_POINTS + 1, 2)), np.ones(MAX_POINTS + 1), None, None),
        (np.zeros((0, 2)), np.zeros(0), (1, 2, 3), None),
        (np.zeros((0, 2)), np.zeros(0), None, np.zeros((4, 4), bool)),
        (np.zeros((0, 2)), np.zeros(0), None, np.zeros((4, 4))),
    ],
)
def test_the_constructor_checks_what_of_checks(points, labels, box, mask):
    with pytest.raises(PromptError):
        Prompt(points, labels, box, mask)


def test_a_box_holds_four_finite_numbers_however_it_is_made():
    for corners in ((0, 0, HUGE, 1), (0, 0, "a", 1), (0, 0, None, 1), (0, 0, [1], 1)):
        with pytest.raises(PromptError):
            Box(*corners)
    assert Box(np.float32(1), 2, 3, np.int64(4)) == Box(1.0, 2.0, 3.0, 4.0)
    assert all(type(value) is float for value in (Box(1, 2, 3, 4).x0, Box(1, 2, 3, 4).y1))


def test_more_points_than_memory_is_good_for_are_refused_and_counted():
    Prompt.of(np.ones((MAX_POINTS, 2)))
    with pytest.raises(PromptError, match=f"takes {MAX_POINTS} points at most, got 20000"):
        Prompt.of(np.ones((20_000, 2)))


def test_numbers_beyond_float32_lie_outside_the_photo_or_are_clipped():
    size = (100, 200)
    with pytest.raises(PromptError, match=r"1e\+39,1 lies outside"):
        sparse_prompts(Prompt.of([(1e39, 1)]), size, size)
    coords, _ = sparse_prompts(Prompt.of(box=(-1e39, -1e300, 1e39, 1e300)), size, size)
    assert coords.tolist() == [[0, 0], [200, 100]]


def test_a_prompt_does_not_change_with_the_array_it_was_made_of():
    points = np.array([[1.0, 2.0]])
    prompt = Prompt.of(points)
    points[0, 0] = np.nan
    assert prompt.points.tolist() == [[1.0, 2.0]]


def test_boxes_and_points_may_come_from_any_iterable():
    prompt = Prompt.of((point for point in [(1, 2)]), (1 for _ in "a"), map(float, (1, 2, 3, 4)))
    assert prompt.points.tolist() == [[1.0, 2.0]]
    assert prompt.labels.tolist() == [1]
    assert prompt.box == Box(1, 2, 3, 4)


def test_a_full_mask_may_be_meant():
    assert Prompt.of(mask=np.ones((4, 4), bool)).mask.all()
