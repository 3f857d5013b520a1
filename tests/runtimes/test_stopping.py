"""A run that nobody waits for stops, and the session runs on as before."""

import threading
import time

import numpy as np
import pytest

import sam_edge
from sam_edge.errors import EngineError, RunStoppedError
from sam_edge_runtimes.stopping import Stop, current_stop, stoppable_by
from tests.runtimes.engines import ENGINES


@pytest.fixture(params=ENGINES, scope="module")
def encoder(request):
    model = sam_edge.load_model(runtime=request.param)
    return model.sessions["image_encoder"]


FEEDS = {"image": np.zeros((1, 3, 384, 384), np.float32)}


def test_a_run_that_was_stopped_before_does_not_begin(encoder):
    stop = Stop()
    stop.ask()
    with stoppable_by(stop), pytest.raises(RunStoppedError):
        encoder.run(FEEDS)
    assert current_stop() is None
    encoder.run(FEEDS)


def test_a_run_stops_in_the_middle_and_the_next_one_is_whole(encoder):
    expected = encoder.run(FEEDS)["image_embeddings"]
    start = time.perf_counter()
    encoder.run(FEEDS)
    whole = time.perf_counter() - start
    stopped = 0
    for share in np.linspace(0.05, 0.6, 12):
        stop = Stop()
        timer = threading.Timer(share * whole, stop.ask)
        timer.start()
        try:
            with stoppable_by(stop):
                answer = encoder.run(FEEDS)["image_embeddings"]
            np.testing.assert_array_equal(answer, expected)
        except RunStoppedError:
            stopped += 1
        timer.join()
    assert stopped
    for _ in range(3):
        np.testing.assert_array_equal(encoder.run(FEEDS)["image_embeddings"], expected)


def test_a_stop_that_nobody_asked_for_changes_nothing(encoder):
    expected = encoder.run(FEEDS)["image_embeddings"]
    with stoppable_by(Stop()):
        answer = encoder.run(FEEDS)["image_embeddings"]
        with pytest.raises(EngineError):
            encoder.run({"image": np.zeros((1, 3, 10, 10), np.float32)})
    np.testing.assert_array_equal(answer, expected)


def test_threads_have_stops_of_their_own():
    seen = []
    with stoppable_by(Stop()):
        thread = threading.Thread(target=lambda: seen.append(current_stop()))
        thread.start()
        thread.join()
    assert seen == [None]
