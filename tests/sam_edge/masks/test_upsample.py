"""Upsampling against two plain resizes, as the official predictor makes them; those against it."""

from functools import partial

import numpy as np
import pytest

from sam_edge.image import resized_shape
from sam_edge.masks.boxes import mask_to_box
from sam_edge.masks.upsample import tiled, upsample_logits, upsample_masks

PHOTOS = [(1800, 1200), (1200, 1800), (333, 500), (1024, 1024), (100, 75), (1, 700), (2500, 40)]


def smooth_logits(masks, side, seed=0):
    """Return blob-like logits, as a decoder's: smooth, with steep outlines."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    centres = rng.random((masks, 3, 2))
    radii = rng.uniform(0.05, 0.4, (masks, 3))
    distance = np.hypot(y - centres[..., 0, None, None], x - centres[..., 1, None, None])
    logits = (radii[..., None, None] - distance).max(axis=1) * 60
    return (logits + rng.normal(0, 0.3, logits.shape)).astype(np.float32)


def resized(values, size):
    """Resize ``(M, h, w)`` bilinearly, pixels being areas: ``align_corners=False`` in torch."""
    for axis, side in zip((1, 2), size, strict=True):
        last = values.shape[axis] - 1
        place = np.maximum((np.arange(side) + 0.5) * ((last + 1) / side) - 0.5, 0)
        low = place.astype(int)
        share = np.expand_dims(place - low, 2 - axis)[None]
        below, above = (values.take(np.minimum(low + step, last), axis) for step in (0, 1))
        values = below * (1 - share) + above * share
    return values


def two_resizes(logits, input_size, image_size, original_size):
    """Do plainly what ``Sam.postprocess_masks`` does: to the frame, crop, to the photo."""
    frame = resized(logits.astype(np.float64), (image_size, image_size))
    return resized(frame[:, : input_size[0], : input_size[1]], original_size)


def sizes(photo, image_size):
    return {
        "input_size": resized_shape(*photo, image_size),
        "image_size": image_size,
        "original_size": photo,
    }


@pytest.mark.parametrize("image_size", [1024, 256])
@pytest.mark.parametrize("photo", PHOTOS)
def test_the_plain_resizes_are_the_official_ones(photo, image_size):
    torch = pytest.importorskip("torch")
    logits = smooth_logits(2, image_size // 4)
    resize = partial(torch.nn.functional.interpolate, mode="bilinear", align_corners=False)
    height, width = resized_shape(*photo, image_size)
    frame = resize(torch.from_numpy(logits)[None], (image_size, image_size))
    expected = resize(frame[..., :height, :width], photo)[0].numpy()
    actual = two_resizes(logits, **sizes(photo, image_size))
    np.testing.assert_allclose(actual, expected, atol=2e-4)


@pytest.mark.parametrize("image_size", [1024, 256])
@pytest.mark.parametrize("photo", PHOTOS)
def test_logits_are_the_official_two_resizes(photo, image_size):
    logits = smooth_logits(2, image_size // 4)
    expected = two_resizes(logits, **sizes(photo, image_size))
    actual = upsample_logits(logits, **sizes(photo, image_size))
    np.testing.assert_allclose(actual, expected, atol=2e-4)


@pytest.mark.parametrize("image_size", [1024, 256])
@pytest.mark.parametrize("photo", PHOTOS)
@pytest.mark.parametrize("threshold", [0.0, -3.5])
def test_masks_are_the_official_logits_cut(photo, image_size, threshold):
    logits = smooth_logits(5, image_size // 4)
    expected = two_resizes(logits, **sizes(photo, image_size))
    actual = upsample_masks(logits, threshold=threshold, **sizes(photo, image_size))
    differ = actual != (expected > threshold)
    assert np.abs(expected[differ] - threshold).max(initial=0) < 2e-4
    assert actual.any()


def test_noise_has_no_tile_to_skip_and_is_still_right():
    logits = np.random.default_rng(1).normal(0, 5, (1, 64, 64)).astype(np.float32)
    expected = two_resizes(logits, **sizes((300, 200), 256))
    actual = upsample_masks(logits, **sizes((300, 200), 256))
    assert np.abs(expected[actual != (expected > 0)]).max(initial=0) < 1e-4


@pytest.mark.parametrize("value", [-7.0, 0.0, 7.0])
def test_a_constant_mask_is_decided_without_computing(value):
    logits = np.full((1, 256, 256), value, np.float32)
    (tiles,) = tiled(logits, lowest=-1, highest=1, **sizes((300, 200), 1024))
    assert len(tiles.logits) == (tiles.inside.size if value == 0 else 0)
    assert tiles.areas(0.0).tolist() == [300 * 200 if value > 0 else 0]


@pytest.mark.parametrize("photo", PHOTOS)
def test_areas_and_windows_agree_with_the_whole_mask(photo):
    logits = smooth_logits(4, 256)
    seen = 0
    for tiles in tiled(logits, lowest=-1, highest=1, **sizes(photo, 1024)):
        for index, (lower, higher) in enumerate(zip(tiles.areas(-1), tiles.areas(1), strict=True)):
            one = logits[seen : seen + 1]
            seen += 1
            (low,) = upsample_masks(one, threshold=-1, **sizes(photo, 1024))
            (high,) = upsample_masks(one, threshold=1, **sizes(photo, 1024))
            assert (low.sum(), high.sum()) == (lower, higher)
            window = tiles.window(index, threshold=1)
            whole = np.zeros(photo, bool)
            height, width = window.pixels.shape
            rows = slice(window.top, window.top + height)
            columns = slice(window.left, window.left + width)
            whole[rows, columns] = window.pixels
            assert np.array_equal(whole, high)
            assert window.box() == mask_to_box(high)
    assert seen == len(logits)
