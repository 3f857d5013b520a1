"""The first inputs of every fuzz target; ``make fuzz`` takes a minute of each, and others."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fuzz.doors import DOORS, NEEDS

AMOUNT = os.environ.get("SAM_EDGE_FUZZ", "300")
"""As many inputs, the same on every machine; or so many seconds, as in ``60s``."""

FIRST = int(os.environ.get("SAM_EDGE_FUZZ_SEED", "0"))


@pytest.mark.parametrize("door", DOORS)
def test_no_input_gets_more_than_one_line(door):
    if door in NEEDS and find_spec(NEEDS[door]) is None:
        pytest.skip(f"{NEEDS[door]} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", door, AMOUNT, str(FIRST)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
