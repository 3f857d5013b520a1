"""The page's mask code against this package's own, and against plain numpy."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_edge.image import input_shape
from sam_edge.masks import Mask, decode_rle, encode_rle, to_coco_rle
from sam_edge.masks.upsample import upsample_masks
from sam_edge.prompts import mask_logits
from sam_edge.spec import ImageSpec


@pytest.fixture(scope="module")
def ask(page_code: Callable[..., Path]) -> Iterator[Callable[..., Any]]:
    """Call the page's mask code; masks are numpy arrays on this side."""
    bundle = page_code(
        "mask/region",
        "mask/pieces",
        "mask/rle",
        "mask/upsample",
        "engine/encoder_input",
        "engine/resize",
        "engine/mask_input",
    )
    process = subprocess.Popen(
        ["node", Path(__file__).with_name("masks.mjs"), bundle],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def mask(counts: Any, size: tuple[int, int]) -> Any:
        if isinstance(counts, str):
            return counts
        if isinstance(counts, dict):
            return np.frombuffer(base64.b64decode(counts["data"]), counts["dtype"])
        if counts and isinstance(counts[0], list):
            return [mask(its, size) for its in counts]
        return decode_rle({"size": list(size), "counts": counts})

    def call(name: str, size: tuple[int, int], **given: Any) -> Any:
        plain = {
            key: encode_rle(value)
            if isinstance(value, np.ndarray) and value.dtype == np.bool_
            else value
            for key, value in given.items()
        }
        process.stdin.write(json.dumps({"call": name, "size": size, **plain}) + "\n")
        process.stdin.flush()
        return mask(json.loads(process.stdout.readline()), size)

    yield call
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def blobs(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A few smooth shapes with holes and specks."""
    noise = rng.normal(size=(height, width))
    for axis in (0, 1):
        noise = sum(np.roll(noise, step, axis) for step in range(-3, 4))
    return noise > noise.mean() + rng.normal() * 2


@pytest.mark.parametrize(
    ("input_size", "size"),
    [
        ((96, 72), (700, 525)),
        ((256, 384), (1365, 2048)),
        ((384, 384), (384, 384)),
        ((200, 384), (50, 96)),
        ((384, 13), (3000, 100)),
        ((384, 1), (384, 1)),
    ],
)
def test_upsampling_is_the_packages_own(ask, input_size, size):
    rng = np.random.default_rng(3)
    for seed in range(4):
        coarse = rng.normal(size=(12, 12)).astype(np.float32) * 4
        logits = np.kron(coarse, np.ones((8, 8), np.float32))
        logits += rng.normal(size=(96, 96)).astype(np.float32)
        threshold = 0.0 if seed % 2 else 1.5
        (expected,) = upsample_masks(
            logits[None],
            input_size=input_size,
            image_size=384,
            original_size=size,
            threshold=threshold,
        )
        found = ask(
            "upsample",
            size,
            logits=logits.ravel().tolist(),
            side=96,
            imageSize=384,
            inputSize=input_size,
            threshold=threshold,
        )
        # Products are added in another order: a pixel on the threshold may fall on its other side.
        assert np.count_nonzero(found != expected) <= 1e-5 * expected.size


def test_a_mask_with_no_pixel_is_empty(ask):
    found = ask(
        "upsample", (9, 7), logits=[-1.0] * 96**2, side=96, imageSize=384, inputSize=(384, 300),
        threshold=0.0,
    )  # fmt: skip
    assert not found.any()


def test_run_lengths_are_cocos(ask):
    rng = np.random.default_rng(1)
    for height, width in [(1, 1), (1, 9), (9, 1), (13, 17), (120, 90)]:
        for mask in (
            blobs(rng, height, width),
            np.ones((height, width), np.bool_),
            np.zeros((height, width), np.bool_),
            rng.random((height, width)) > 0.5,
        ):
            assert ask("cocoText", mask.shape, a=mask) == to_coco_rle(encode_rle(mask))["counts"]
            assert np.array_equal(ask("coco", mask.shape, a=mask), mask)


def test_masks_are_joined_and_taken_away_as_sets(ask):
    rng = np.random.default_rng(2)
    for _ in range(8):
        a, b = blobs(rng, 40, 60), blobs(rng, 40, 60)
        for operation, expected in (
            ("union", a | b),
            ("difference", a & ~b),
            ("intersection", a & b),
        ):
            assert np.array_equal(ask("combine", a.shape, a=a, b=b, operation=operation), expected)


def test_a_brush_paints_what_is_near_its_line(ask):
    rng = np.random.default_rng(4)
    ys, xs = np.mgrid[:60, :80] + 0.5
    for _ in range(20):
        (x0, x1), (y0, y1) = rng.uniform(-5, 85, 2), rng.uniform(-5, 65, 2)
        radius = rng.uniform(0.6, 12)
        along = ((xs - x0) * (x1 - x0) + (ys - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
        along = np.clip(along, 0, 1)
        distance = np.hypot(xs - x0 - along * (x1 - x0), ys - y0 - along * (y1 - y0))
        painted = ask(
            "capsule",
            (60, 80),
            **{"from": {"x": x0, "y": y0}, "to": {"x": x1, "y": y1}, "radius": radius},
        )
        assert np.array_equal(painted, distance <= radius)


def flooded(mask: Mask) -> list[Mask]:
    """Connected pieces, corners joining, by growing each from a seed."""
    left, pieces = mask.copy(), []
    while left.any():
        piece = np.zeros_like(mask)
        piece[np.unravel_index(np.argmax(left), mask.shape)] = True
        while True:
            wide = np.pad(piece, 1)
            grown = np.zeros_like(mask)
            for dy in range(3):
                for dx in range(3):
                    grown |= wide[dy : dy + mask.shape[0], dx : dx + mask.shape[1]]
            grown &= mask
            if np.array_equal(grown, piece):
                break
            piece = grown
        pieces.append(piece)
        left &= ~piece
    return pieces


def test_pieces_are_what_hangs_together(ask):
    rng = np.random.default_rng(5)
    for mask in (blobs(rng, 40, 50), rng.random((20, 30)) > 0.6):
        found = ask("components", mask.shape, a=mask)
        assert {piece.tobytes() for piece in found} == {piece.tobytes() for piece in flooded(mask)}
        sizes = [piece.sum() for piece in found]
        assert sizes == sorted(sizes, reverse=True)


def test_tidying_drops_specks_and_fills_holes_only(ask):
    mask = np.zeros((40, 40), np.bool_)
    mask[5:30, 5:30] = True
    mask[10:12, 10:12] = False
    mask[20:26, 20:26] = False
    mask[35:37, 35:37] = True
    expected = mask.copy()
    expected[10:12, 10:12] = True
    expected[35:37, 35:37] = False
    assert np.array_equal(ask("tidied", mask.shape, a=mask, smallest=9), expected)


def test_a_cut_shares_out_every_pixel(ask):
    mask = np.zeros((40, 60), np.bool_)
    mask[10:30, 5:55] = True
    line = [{"x": 30, "y": 0}, {"x": 25, "y": 40}]
    pieces = ask("cut", mask.shape, a=mask, line=line)
    assert len(pieces) == 2
    assert np.array_equal(pieces[0] | pieces[1], mask)
    assert not (pieces[0] & pieces[1]).any()
    assert (
        ask("cut", mask.shape, a=mask, line=[{"x": 0, "y": 0}, {"x": 9, "y": 9}])[0].sum() == 1000
    )


@pytest.mark.parametrize(
    ("size", "part", "wanted"),
    [
        ((300, 451), None, (255, 384)),
        ((900, 701), None, (384, 299)),
        ((50, 40), None, (384, 307)),
        ((384, 384), None, (384, 384)),
        ((600, 384), None, (384, 246)),
        ((700, 500), (31, 300, 450, 699), (366, 384)),
        ((1, 700), None, (1, 384)),
    ],
)
def test_photos_are_resized_as_pillow_does_to_the_bit(ask, size, part, wanted):
    rng = np.random.default_rng(sum(size))
    pixels = rng.integers(0, 256, (*size, 3), np.uint8)
    x0, y0, x1, y1 = part or (0, 0, size[1], size[0])
    expected = np.asarray(
        Image.fromarray(pixels[y0:y1, x0:x1]).resize(wanted[::-1], Image.Resampling.BILINEAR)
    )
    data = base64.b64encode(pixels.tobytes()).decode()
    found = ask("resized", size, pixels=data, part=[x0, y0, x1, y1], wanted=wanted)
    assert np.array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("resize", ["longest_side", "stretch"])
def test_photos_get_the_sides_that_the_encoder_expects(ask, resize):
    spec = ImageSpec(1024, (0, 0, 0), (1, 1, 1), resize=resize)
    for height, width in [(1365, 2048), (1, 3000), (3000, 1), (1024, 1023), (333, 1000)]:
        wanted = {"size": spec.size, "resize": resize}
        found = ask("inputShape", (height, width), spec=wanted)
        assert found.tolist() == list(input_shape(height, width, spec))


@pytest.mark.parametrize(
    ("size", "part"),
    [((300, 451), None), ((900, 701), None), ((60, 90), None), ((500, 700), (100, 31, 411, 400))],
)
def test_a_mask_to_start_from_is_given_as_the_package_gives_it(ask, size, part):
    rng = np.random.default_rng(6)
    mask = blobs(rng, *size)
    x0, y0, x1, y1 = part or (0, 0, size[1], size[0])
    inside = (y1 - y0, x1 - x0)
    spec = ImageSpec(384, (0, 0, 0), (1, 1, 1))
    input_size = input_shape(*inside, spec)
    expected = mask_logits(mask[y0:y1, x0:x1], inside, input_size, 384)
    to = {"id": str(size), "part": [x0, y0, x1, y1], "size": inside}
    to |= {"input_size": input_size, "image_size": 384}
    found = ask("maskInput", size, a=mask, to=to, side=96)
    assert np.abs(found.reshape(96, 96) - expected).max() < 1e-4
