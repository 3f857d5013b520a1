"""The stopwatch is honest: known times come out exactly, warm-up stays out."""

import itertools

import pytest

from sam_edge_benchmarks.measure import Stopwatch
from sam_edge_benchmarks.work import Settings


class Machine:
    """A machine whose calls take the seconds they are told to, on a clock of its own."""

    def __init__(self, durations):
        self.now = 0.0
        self.durations = iter(durations)
        self.calls = 0

    def clock(self):
        return self.now

    def call(self):
        self.calls += 1
        self.now += next(self.durations)


def settings(**changes):
    values = {
        "warmup": 0,
        "repeats": 3,
        "min_repeats": 1,
        "budget_seconds": 1000.0,
        "everything_repeats": 0,
        "cold_starts": 1,
    }
    return Settings(**{**values, **changes})


def measured(durations, **changes):
    machine = Machine(durations)
    stopwatch = Stopwatch(clock=machine.clock, cpu_clock=machine.clock)
    return stopwatch.repeated("encode", machine.call, settings(**changes)), machine


def test_known_times_come_out_exactly():
    phase, _ = measured([0.5, 0.25, 2.0])
    assert phase["samples_seconds"] == [0.5, 0.25, 2.0]


def test_warmup_is_not_reported():
    phase, machine = measured([64.0, 64.0, 1.0, 1.0, 1.0], warmup=2)
    assert phase["samples_seconds"] == [1.0, 1.0, 1.0]
    assert phase["cpu_seconds"] == 3.0
    assert machine.calls == 5


def test_a_phase_ends_when_its_budget_is_spent():
    phase, _ = measured(itertools.repeat(1.0), repeats=100, budget_seconds=4.0)
    assert len(phase["samples_seconds"]) == 4


def test_a_slow_phase_still_gets_its_fewest_samples():
    phase, _ = measured(itertools.repeat(60.0), repeats=100, min_repeats=3, budget_seconds=4.0)
    assert len(phase["samples_seconds"]) == 3


def test_what_happens_once_is_timed_once():
    machine = Machine([3.0])
    stopwatch = Stopwatch(clock=machine.clock, cpu_clock=machine.clock)
    phase, answer = stopwatch.once("load", lambda: machine.call() or "loaded")
    assert phase["samples_seconds"] == [3.0]
    assert answer == "loaded"


@pytest.mark.parametrize("name", ["peak_rss_bytes", "anonymous_rss_bytes"])
def test_memory_is_told_in_bytes(name):
    phase, _ = measured([1.0, 1.0, 1.0])
    if phase[name] is not None:  # not every system tells it
        assert 10**6 < phase[name] < 10**12
