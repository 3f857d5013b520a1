"""The fingerprint says what a timing depends on."""

import json

import pytest

from sam_edge_benchmarks import machine
from sam_edge_benchmarks.machine import container_limits, fingerprint, software


@pytest.mark.parametrize("limit", [None, 1])
def test_the_fingerprint_says_how_many_threads_no_wish_means(monkeypatch, limit):
    monkeypatch.setattr(machine, "thread_limit", lambda: limit)
    assert fingerprint()["thread_limit"] == limit


def test_a_containers_limits_are_processors_and_bytes(monkeypatch):
    monkeypatch.setattr(machine, "cgroup_quota", lambda: 1.5)
    monkeypatch.setattr(machine, "memory_limit", lambda: 2**29)
    assert container_limits() == {"processors": 1.5, "memory_bytes": 2**29}


def test_a_fingerprint_can_be_written_as_a_record():
    assert json.loads(json.dumps(fingerprint())) == fingerprint()
    assert {"python", "numpy", "sam-edge"} <= software().keys()
