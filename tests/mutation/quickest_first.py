"""The conftest of a run of mutants: the quickest files first, as one failure is enough."""

import json
from collections import Counter
from pathlib import Path


def pytest_collection_modifyitems(items):
    stats = Path("mutmut-stats.json")
    if not stats.exists():
        return
    seconds = json.loads(stats.read_text())["duration_by_test"]
    together = Counter()
    for item in items:
        together[item.path] += seconds.get(item.nodeid, 0)
    items.sort(
        key=lambda item: (together[item.path], item.path, seconds.get(item.nodeid, 0), item.nodeid)
    )
