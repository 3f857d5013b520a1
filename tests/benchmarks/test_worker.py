"""Worker processes, each a real one."""

import sys

import numpy as np
import pytest

from sam_edge_benchmarks.driver import Worker

LEAK_BYTES = 100 * 2**20


def measure(request):
    with Worker() as worker:
        return list(worker.measure(request))


def phases(answers):
    return {
        (answer["phase"]["name"], answer["phase"]["prompts"]): answer["phase"]
        for answer in answers
        if "phase" in answer
    }


def test_every_phase_is_measured_apart(make_request):
    found = phases(measure(make_request("plain")))
    assert list(found) == [
        ("import", None),
        ("load", None),
        ("first run", None),
        ("preprocess", None),
        ("encode", None),
        ("decode", 1),
        ("postprocess", 1),
        ("decode", 4),
        ("postprocess", 4),
    ]
    assert len(found["encode", None]["samples_seconds"]) == 3


def test_a_sleep_is_wall_time_and_no_processor_time(make_request):
    encode = phases(measure(make_request("slow")))["encode", None]
    assert min(encode["samples_seconds"]) >= 0.2
    assert encode["cpu_seconds"] < 0.1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's memory by phase")
def test_a_leak_of_100_mb_shows_in_the_memory_figures(make_request):
    leaky = phases(measure(make_request("leaky")))
    plain = phases(measure(make_request("plain")))
    # the leak happens in the first decode: in the first run, and it stays
    for figure in ("peak_rss_bytes", "anonymous_rss_bytes"):
        grown = leaky["decode", 1][figure] - plain["decode", 1][figure]
        assert grown == pytest.approx(LEAK_BYTES, rel=0.15), figure
        before = leaky["load", None][figure] - plain["load", None][figure]
        assert abs(before) < 0.15 * LEAK_BYTES, figure


def test_a_missing_package_is_named(make_request):
    answers = measure(make_request("missing"))
    assert answers[-1]["missing"] == "absent_engine"


def test_a_process_that_dies_says_how(make_request):
    answers = measure(make_request("dies"))
    assert answers[-1]["failed"] == "the worker process died: exit code 3"


def test_one_sample_at_a_time_for_pairs(make_request):
    with Worker() as worker:
        assert not any(
            "failed" in answer for answer in worker.measure(make_request("slow"), "open")
        )
        samples = [worker.sample("encode", None)["phase"]["samples_seconds"] for _ in range(2)]
    assert [len(sample) for sample in samples] == [1, 1]
    assert min(map(min, samples)) >= 0.2


def test_masks_are_written_as_bits(make_request, tmp_path):
    file = tmp_path / "masks.npy"
    measure(make_request("plain", masks_file=str(file)))
    masks = np.load(file)
    assert masks.shape == (12, 3, 40 * 60 // 8)
    assert np.bitwise_count(masks).sum() == 12 * 3 * 20 * 60
