"""The lowest versions that pyproject.toml promises are those that are tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNTIME = ("cpu", "openvino", "serve", "text", "geo")


def release(version):
    """``2.0`` and ``2.0.0`` are the same version."""
    return re.sub(r"(\.0)+$", "", version)


def versions(lines, sign):
    found = [re.fullmatch(rf"([\w-]+){sign}([\d.]+)(?: .*)?", line.strip()) for line in lines]
    return {match[1]: release(match[2]) for match in found if match}


def pins(name):
    lines = (ROOT / "tests" / name).read_text(encoding="utf-8").splitlines()
    return versions(lines, "==")


@pytest.mark.parametrize(
    ("file", "promised"),
    [
        (
            "requirements-floors.txt",
            [
                *PROJECT["dependencies"],
                *(line for extra in RUNTIME for line in EXTRAS[extra]),
            ],
        ),
        ("requirements-floors-export.txt", EXTRAS["export"]),
    ],
)
def test_every_promised_floor_is_pinned_where_floors_are_tried(file, promised):
    floors = versions(promised, ">=")
    assert len(floors) == len(promised), "a dependency has no floor, or more than one"
    assert pins(file) == floors
