"""A real mosaic through the model in the box, tile by tile."""

from importlib.resources import files

import numpy as np
import pytest
from PIL import Image, ImageDraw

import sam_edge
from sam_edge.automatic import CancelledError
from sam_edge.errors import ImageError
from sam_edge.formats import labelled
from sam_edge.masks.spans import mask_to_spans, shared_span_area, span_area
from sam_edge.tiling import ArrayWindows, segment_tiles
from sam_edge.tiling.overview import reduced

PHOTOS = files("sam_edge") / "assets" / "photos"
NAMES = ("chelsea.jpg", "coffee.jpg", "rocket.jpg", "astronaut.jpg")
CENTRE, RADIUS = (450, 450), 120


@pytest.fixture(scope="module")
def mosaic():
    """Nine photos side by side, and a disc where four tiles meet."""
    picture = Image.new("RGB", (960, 900))
    for place in range(9):
        with Image.open(str(PHOTOS / NAMES[place % 4])) as photo:
            small = photo.convert("RGB").resize((320, 300))
        picture.paste(small, (place % 3 * 320, place // 3 * 300))
    corners = [value + sign * RADIUS for sign in (-1, 1) for value in CENTRE]
    ImageDraw.Draw(picture).ellipse(corners, fill=(240, 200, 30))
    return np.asarray(picture)


@pytest.fixture(scope="module")
def generator():
    return sam_edge.SamAutomaticMaskGenerator(sam_edge.load_model(), points_per_side=8)


@pytest.fixture(scope="module")
def sparse(generator):
    return sam_edge.SamAutomaticMaskGenerator(generator.model, points_per_side=2)


@pytest.fixture(scope="module")
def found(mosaic, generator):
    return segment_tiles(ArrayWindows(mosaic), generator, 512, 64)


class Torn(ArrayWindows):
    """A picture of which one part cannot be read."""

    def read(self, box):
        if box[:2] == (448, 0):
            raise ImageError("a block is damaged")
        return super().read(box)


def test_an_object_across_four_tiles_is_one(mosaic, found):
    y, x = np.mgrid[: mosaic.shape[0], : mosaic.shape[1]]
    disc = mask_to_spans(np.hypot(y - CENTRE[1], x - CENTRE[0]) <= RADIUS)

    def iou(mask):
        shared = shared_span_area(mask.spans, disc)
        return shared / (mask.area + span_area(disc) - shared)

    scores = sorted(map(iou, found))
    assert scores[-1] > 0.95
    assert scores[-2] < 0.7  # nothing is left of it beside it
    best = max(found, key=iou)
    assert best.crop_box == [0, 0, 960, 900]
    assert len(best.points) >= 3


def test_what_no_edge_cuts_is_what_the_tile_alone_gives(mosaic, generator, found):
    alone = labelled(generator.generate(mosaic[:512, :512]))
    inside = [mask for mask in alone if mask.box[2] < 448 and mask.box[3] < 388]
    assert len(inside) > 5
    kept = {mask.spans.tobytes() for mask in found}
    assert all(mask.spans.tobytes() in kept for mask in inside)


def test_a_picture_of_one_tile_is_as_without_tiles(sparse):
    with Image.open(str(PHOTOS / "coffee.jpg")) as photo:
        pixels = np.asarray(photo.convert("RGB"))
    whole = labelled(sparse.generate(pixels))
    tiled = segment_tiles(ArrayWindows(pixels), sparse, 1024)
    size = pixels.shape[:2]
    again = [mask.labelled(size) for mask in tiled]
    known = {tuple(mask.rle["counts"]): mask for mask in whole}
    assert len(again) == len(whole)
    for mask in again:
        before = known[tuple(mask.rle["counts"])]
        assert mask.predicted_iou == pytest.approx(before.predicted_iou)
        assert mask.stability_score == pytest.approx(before.stability_score)
        assert mask.points == before.points


def test_a_tile_that_fails_is_reported_and_the_others_are_done(mosaic, sparse):
    reasons, steps = [], []
    partial = segment_tiles(
        Torn(mosaic),
        sparse,
        512,
        64,
        skip=reasons.append,
        progress=lambda *step: steps.append(step),
    )
    assert reasons == ["tile of 512 x 512 at 448,0: a block is damaged"]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert partial
    torn = [point for mask in partial for point in mask.points if point[1] < 388]
    assert all(x < 448 for x, _ in torn)
    with pytest.raises(ImageError, match="448,0"):
        segment_tiles(Torn(mosaic), sparse, 512, 64)


def test_a_picture_of_which_no_tile_can_be_read_is_an_error(generator):
    reasons = []
    picture = ArrayWindows(np.zeros((100, 100, 3), np.float32))
    with pytest.raises(ImageError, match="uint8"):
        segment_tiles(picture, generator, 512, 64, skip=reasons.append)
    assert reasons == []


def test_it_stops_when_it_is_told_to(mosaic, generator):
    with pytest.raises(CancelledError):
        segment_tiles(ArrayWindows(mosaic), generator, 512, 64, cancelled=lambda: True)


def test_an_overview_shows_the_picture_and_its_masks(mosaic, found):
    small, masks = reduced(ArrayWindows(mosaic), found, longest_side=320)
    assert small.shape == (300, 320, 3)
    assert len(masks) == len(found)
    assert np.abs(small.astype(int) - mosaic[1::3, 1::3]).mean() < 12
    for mask, whole in zip(masks, found, strict=True):
        assert mask.size == (300, 320)
        if whole.area > 9000:
            assert mask.area == pytest.approx(whole.area / 9, rel=0.1)
