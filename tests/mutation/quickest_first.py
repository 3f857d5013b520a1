"""The conftest of a run of mutants: a core each, the quickest tests first, slow ones not at all."""

import json
import os
from collections import Counter
from pathlib import Path

SECONDS = 2
"""Tests that took longer are left out: each mutant that lives would take as long."""


def pytest_collection_modifyitems(config, items):
    forget_names(items)
    if config.option.collectonly:  # the process that workers are forked from
        return
    if hasattr(os, "sched_setaffinity"):
        # Engines then have one thread: those of workers that share cores wait for each other.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    stats = Path("mutmut-stats.json")
    if not stats.exists():
        return
    seconds = json.loads(stats.read_text())["duration_by_test"]
    items[:] = [item for item in items if seconds.get(item.nodeid, 0) <= SECONDS]
    together = Counter()
    for item in items:
        together[item.path] += seconds.get(item.nodeid, 0)
    items.sort(
        key=lambda item: (together[item.path], item.path, seconds.get(item.nodeid, 0), item.nodeid)
    )


def forget_names(items):
    """Let a second collection in this process, a worker's, name parameters as the first one did.

    pytest (9.2) keeps the names that it made of parameters, and escapes them again where it meets
    them again: a name with a backslash in it would not be found.
    """
    for item in items:
        for mark in item.iter_markers("parametrize"):
            object.__setattr__(mark._param_ids_from or mark, "_param_ids_generated", None)
