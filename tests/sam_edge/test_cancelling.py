"""``encode_image`` says what it does and stops when it is asked, on real sessions."""

import threading
import time

import numpy as np
import pytest

import sam_edge
from sam_edge.errors import ArgumentError, RunStoppedError
from sam_edge.filling.bundle import fill_bundle
from sam_edge.filling.template import templates, weights_needed
from sam_edge_runtimes.stopping import Stop, current_stop
from tests.runtimes.engines import ENGINES
from tests.sam_edge.checkpoints.writers import seeded_weights, write_pth

PHOTO = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
STAGES = ["reading", "preparing", "encoding"]


@pytest.fixture(params=ENGINES, scope="module")
def model(request):
    return sam_edge.load_model(runtime=request.param)


def test_each_stage_is_told_as_it_begins_and_the_answer_is_the_same(model):
    told = []
    embedding = model.encode_image(PHOTO, progress=told.append, cancel=Stop())
    assert told == STAGES
    expected = model.encode_image(PHOTO).features["image_embeddings"]
    np.testing.assert_array_equal(embedding.features["image_embeddings"], expected)
    assert current_stop() is None


@pytest.mark.parametrize("stage", STAGES)
def test_a_cancel_in_any_stage_stops_it_there(model, stage):
    stop, told = Stop(), []

    def progress(begun):
        told.append(begun)
        if begun == stage:
            stop.ask()

    with pytest.raises(RunStoppedError):
        model.encode_image(PHOTO, progress, stop)
    assert told == STAGES[: STAGES.index(stage) + 1]
    assert model.encode_image(PHOTO).original_size == (300, 400)


def test_what_was_cancelled_before_does_not_begin(model):
    stop, told = Stop(), []
    stop.ask()
    with pytest.raises(RunStoppedError):
        model.encode_image("no such file.jpg", told.append, stop)
    assert told == []


def test_an_event_is_refused_with_the_way_to_stop(model):
    with pytest.raises(ArgumentError, match=r"stopping\.Stop.*got Event"):
        model.encode_image(PHOTO, cancel=threading.Event())


@pytest.fixture(scope="module")
def slow_bundle(tmp_path_factory):
    """ViT-B, whose encode takes seconds."""
    folder = tmp_path_factory.mktemp("slow")
    weights = seeded_weights(weights_needed(templates("vit_b", 512)), 0)
    checkpoint = write_pth(folder / "vit_b.pth", weights)
    fill_bundle(checkpoint, folder / "vit_b", image_size=512, random_weights=True)
    return folder / "vit_b"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_cancel_in_the_middle_saves_most_of_a_long_encode(slow_bundle, engine):
    model = sam_edge.load_model(slow_bundle, engine)
    expected = model.encode_image(PHOTO).features["image_embeddings"]
    start = time.perf_counter()
    model.encode_image(PHOTO)
    whole = time.perf_counter() - start
    waits = []
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        stop, asked = Stop(), []

        def ask(stop=stop, asked=asked):
            asked.append(time.perf_counter())
            stop.ask()

        timer = threading.Timer(share * whole, ask)
        timer.start()
        with pytest.raises(RunStoppedError):
            model.encode_image(PHOTO, cancel=stop)
        waits.append(time.perf_counter() - asked[0])
        timer.join()
    # An operator is a small part of the graph, however busy the machine is: the median wait was a
    # hundredth of the encode on either engine, the longest a twentieth.
    assert np.median(waits) < whole / 4
    np.testing.assert_array_equal(model.encode_image(PHOTO).features["image_embeddings"], expected)
