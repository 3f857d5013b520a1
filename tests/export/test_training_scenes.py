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
        loss, _ = train.step_loss(model, train_batch, False, 20, np.random.default_rng(0))
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
    """Every mask is held against every target."""
    import model

    targets = torch.zeros(2, 8, 8)
    targets[0, 2:6, 2:6] = 1
    targets[1, :, :4] = 1
    right = 10 * (2 * targets - 1)
    masks = torch.cat([right, -right[:1]])
    cost, iou = model.mask_loss(masks, targets, 20), model.mask_iou(masks, targets)
    assert cost.shape == iou.shape == (3, 2)
    assert cost.diagonal().max() < 0.01
    assert cost[2, 0] > 1
    assert iou.diagonal().tolist() == [1, 1]
    assert iou[2, 0] == 0
    assert iou[0, 1] == pytest.approx(8 / (16 + 32 - 8))


@pytest.mark.parametrize("weight", [3, 20])
def test_focal_loss_is_sams_where_targets_are_sharp(training_importable, weight):
    """Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5."""
    import model

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 8, 8, generator=generator)
    target = (torch.rand(1, 8, 8, generator=generator) > 0.5).float()
    p = logits.sigmoid()
    right = torch.where(target > 0, p, 1 - p)
    alpha = torch.where(target > 0, 0.25, 0.75)
    focal = -(alpha * (1 - right) ** 2 * right.log()).mean((-2, -1))
    overlap, union = (p * target).sum((-2, -1)), (p + target - p * target).sum((-2, -1))
    expected = weight * focal + 1 - (overlap + 1) / (union + 1)
    torch.testing.assert_close(model.mask_loss(logits, target, weight)[:, 0], expected)


def test_pictures_are_decoded_alone_as_they_are_together(prompts):
    import train

    torch.manual_seed(0)
    model = train.NanoModel().eval()
    batch = train.as_tensors(prompts.draw_batch(np.random.default_rng(4), 64, 3, 4, 2))
    embeddings = torch.randn(3, 256, 4, 4)
    previous, given = torch.randn(3, 4, 16, 16), torch.tensor([[True, False] * 2] * 3)
    for extra in ((None, None), (previous, given)):
        with torch.inference_mode():
            alone = model.decode(embeddings, batch[2], batch[3], *extra)
            together = model._decode(embeddings, batch[2], batch[3], *extra)
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_blocks_that_smaller_weights_lack_begin_as_almost_nothing(training_importable):
    import train

    torch.manual_seed(0)
    added = ("refine.", "from4.", "stride32.4.", "stride16.3.")
    state = train.NanoModel().state_dict()
    smaller = {k: v for k, v in state.items() if not any(a in k for a in added)}
    grown, drawn, silent = (train.NanoModel().eval() for _ in range(3))
    train.grow(grown, smaller)
    for model in (drawn, silent):
        model.load_state_dict(smaller, strict=False)
    with torch.no_grad():
        for name, value in silent.named_parameters():
            last = ".proj." in name or ".reduce." in name or ".place." in name or "1.weight" in name
            if last and any(a in name for a in added):
                value.zero_()
    image = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        near, far, wanted = (m.image_encoder(image) for m in (grown, drawn, silent))
    assert (near - wanted).norm() < 0.2 * (far - wanted).norm()


def test_every_process_draws_pictures_of_one_size_and_other_scenes(training_importable):
    import train

    late = torch.ones(1)
    ranks = [train.Scenes(3, rank, 1, late) for rank in (0, 1)]
    for index in range(3):
        one, other = (scenes[index][0] for scenes in ranks)
        assert one.shape == other.shape
        assert not torch.equal(one, other)


def test_what_is_drawn_smaller_and_scaled_up_keeps_its_answers(prompts):
    """A box scaled with its picture is still the box of its target."""
    batch = prompts.draw_batch(np.random.default_rng(5), 512, 2, 4, 4)
    for points, targets in zip(batch.points, batch.targets, strict=True):
        for (x0, y0), (x1, y1), target in zip(
            points[:, 0], points[:, 1], targets[:, 0], strict=True
        ):
            rows, columns = np.nonzero(target > 127)
            box = 4 * np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            reach = max(x1 - x0, y1 - y0)
            assert np.abs(box - (x0, y0, x1, y1)).max() < 0.3 * reach + 8


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
    single = torch.ones(1)
    low, _ = train.answer_loss(logits, honest, targets, belief, 20, 1.0, single)
    high, _ = train.answer_loss(logits, dishonest, targets, belief, 20, 1.0, single)
    assert low < high


def test_a_wrong_single_mask_costs_what_its_prompt_weighs(training_importable):
    import train

    targets = torch.zeros(1, 2, 1, 8, 8)
    targets[..., 2:6, 2:6] = 1
    right = 10 * (2 * targets - 1).expand(1, 2, 4, 8, 8)
    wrong = right.clone()
    wrong[:, 1, 0] *= -1  # the second prompt's
    scores, belief = torch.ones(1, 2, 4), torch.ones(1, 2, 1)

    def cost(logits, second):
        single = torch.tensor([1.0, second])
        return float(train.answer_loss(logits, scores, targets, belief, 3, 1.0, single)[0])

    extra = {second: cost(wrong, second) - cost(right, second) for second in (0.0, 1.0, 2.0)}
    assert extra[2.0] - extra[1.0] == pytest.approx(extra[1.0] - extra[0.0], rel=1e-4)
    assert extra[1.0] - extra[0.0] > 0.5
