import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

TRAINING = Path(__file__).parents[2] / "export" / "training"


@pytest.fixture(scope="module", autouse=True)
def training_importable():
    """The training scripts are a folder, not a package: they import each other by name."""
    cv2.setNumThreads(1)
    sys.path.insert(0, str(TRAINING))
    yield
    sys.path.remove(str(TRAINING))


@pytest.fixture(scope="module")
def scenes(training_importable):
    import scenes

    return scenes


@pytest.fixture(scope="module")
def prompts(training_importable):
    import prompts

    return prompts


def scene(scenes, seed, height=128, width=128):
    return scenes.draw_scene(np.random.default_rng(seed), height, width)


def test_a_seed_draws_the_same_scene_again(scenes):
    first, second = scene(scenes, 3), scene(scenes, 3)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.leaves, second.leaves)
    assert first.parents == second.parents


def test_another_seed_draws_another_scene(scenes):
    assert not np.array_equal(scene(scenes, 3).image, scene(scenes, 4).image)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 200), (333, 128)])
def test_scenes_have_the_size_asked_for(scenes, height, width):
    drawn = scene(scenes, 5, height, width)
    assert drawn.image.shape == (height, width, 3)
    assert drawn.image.dtype == np.uint8
    assert drawn.leaves.shape == (height, width)


def test_every_pixel_belongs_to_a_known_leaf(scenes):
    for seed in range(10):
        drawn = scene(scenes, seed)
        assert drawn.leaves.min() >= 0
        assert drawn.leaves.max() < len(drawn.parents) == len(drawn.prominent)


def test_parents_come_before_their_children(scenes):
    for seed in range(10):
        assert all(parent < node for node, parent in enumerate(scene(scenes, seed).parents))


def test_a_parent_covers_its_children(scenes):
    for seed in range(10):
        drawn = scene(scenes, seed)
        for node, parent in enumerate(drawn.parents):
            if parent >= 0:
                assert np.all(drawn.mask(parent) >= drawn.mask(node))


def test_roots_share_out_the_picture(scenes):
    drawn = scene(scenes, 6)
    roots = [node for node, parent in enumerate(drawn.parents) if parent < 0]
    covered = sum((drawn.mask(node) > 0).astype(int) for node in roots)
    assert np.all(covered == 1)


def test_innermost_pixel_is_farthest_from_every_border(prompts):
    mask = np.zeros((40, 60), np.uint8)
    mask[5:36, 10:51] = 255
    x, y = prompts.innermost(mask)
    assert y == 20
    assert 25 <= x <= 35


def test_a_region_that_fills_the_picture_is_clicked_in_the_middle(prompts):
    assert prompts.innermost(np.full((21, 21), 255, np.uint8)) == (10, 10)


def test_clicks_lie_on_every_mask_that_answers_them(scenes, prompts):
    rng = np.random.default_rng(0)
    for seed in range(5):
        for question in prompts.ask(rng, scene(scenes, seed), 6, 2):
            assert sum(question.belief) == pytest.approx(1)
            if question.labels == (1, -1):
                x, y = question.points[0].astype(int)
                assert all(mask[y, x] == 255 for mask in question.masks)


def test_boxes_lie_in_the_picture(scenes, prompts):
    rng = np.random.default_rng(0)
    for question in prompts.ask(rng, scene(scenes, 1, 96, 128), 8, 8):
        assert question.labels == (2, 3)
        assert np.all(question.points >= 0)
        assert np.all(question.points <= [128, 96])


def test_a_part_offers_the_whole_object_first(scenes, prompts):
    rng = np.random.default_rng(2)
    several = []
    for seed in range(12):
        drawn = scene(scenes, seed)
        several += [q for q in prompts.ask(rng, drawn, 8, 0) if len(q.masks) > 1]
    assert several
    for question in several:
        main, *others = question.belief
        assert main + sum(others) == pytest.approx(1)
        for belief in others:  # a part's or a group's, exactly
            weights = [prompts.PART_WEIGHT, prompts.GROUP_WEIGHT]
            assert min(abs(belief / main - weight) for weight in weights) < 1e-9


def test_a_batch_is_padded_bottom_and_right(prompts):
    batch = prompts.draw_batch(np.random.default_rng(9), 64, 6, 3, 1)
    assert batch.images.shape == (6, 64, 64, 3)
    assert batch.targets.shape == (6, 3, 3, 16, 16)
    for image, target, (rows, columns) in zip(
        batch.images, batch.targets, batch.sizes, strict=True
    ):
        assert not image[rows:].any()
        assert not image[:, columns:].any()
        assert not target[..., rows // 4 :, :].any()


def test_training_lowers_the_loss_of_a_batch(prompts):
    import train

    torch.manual_seed(0)
    train_batch = train.as_tensors(
        prompts.draw_batch(np.random.default_rng(1), 64, 2, train.PROMPTS, train.BOXES)
    )
    model = train.NanoModel()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        loss, _ = train.step_loss(model, train_batch, False, np.random.default_rng(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_schedule_ends_where_the_minutes_end(training_importable):
    import train

    assert train.rate(0.0) < 0.05
    assert train.rate(0.02) > 0.95
    assert train.rate(1.0) == pytest.approx(0.01)


def test_a_mask_that_matches_costs_less(training_importable):
    import model

    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    right, wrong = 10 * (2 * target - 1), -10 * (2 * target - 1)
    assert model.focal_and_dice(right, target) < 0.01
    assert model.focal_and_dice(wrong, target) > 1
    assert model.mask_iou(right, target) == 1
    assert model.mask_iou(wrong, target) == 0


def test_iou_of_scores_follows_belief(training_importable):
    """A mask of the whole is expected to be right as often as the whole is meant."""
    import train

    whole = torch.ones(1, 1, 1, 8, 8)
    part = whole.clone()
    part[..., 4:, :] = 0
    targets = torch.cat([whole, part], 2)
    logits = 10 * (2 * whole - 1).expand(1, 1, 4, 8, 8)
    belief = torch.tensor([[[0.7, 0.3]]])
    honest = torch.full((1, 1, 4), 0.7 + 0.3 * 0.5)
    dishonest = torch.ones(1, 1, 4)
    low, _ = train.answer_loss(logits, honest, targets, belief, False)
    high, _ = train.answer_loss(logits, dishonest, targets, belief, False)
    assert low < high
