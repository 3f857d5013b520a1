import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam_edge_benchmarks.record import Phase, Record, Result
from sam_edge_benchmarks.work import Request, Settings, Work

HERE = Path(__file__).parent
FEW = Settings(
    warmup=1,
    repeats=3,
    min_repeats=2,
    budget_seconds=5.0,
    everything_repeats=0,
    cold_starts=1,
)
WORK = Work("vit_b", 1024, "seeded:0", "ab" * 32, 400, 600, 16)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def test_subject(monkeypatch):
    """Make ``subject_for_tests`` importable, here and in workers."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    return "subject_for_tests"


@pytest.fixture
def make_request(photo, test_subject):
    def make(variant, **changes):
        values = {
            "module": test_subject,
            "backend": "cpu",
            "mode": "eager",
            "precision": "fp32",
            "variant": variant,
            "image_size": 64,
            "model": "",
            "photo": str(photo),
            "threads": None,
            "prompts": (1, 4),
            "points_per_side": 4,
            "settings": FEW,
        }
        return Request(**{**values, **changes})

    return make


def phase(name, samples, prompts=None, **changes):
    values = {
        "name": name,
        "prompts": prompts,
        "warmup": 1,
        "samples_seconds": tuple(samples),
        "cpu_seconds": sum(samples),
        "peak_rss_bytes": 10**9,
        "peak_is_of_phase": True,
        "anonymous_rss_bytes": 10**8,
        "cuda_peak_bytes": None,
    }
    return Phase(**{**values, **changes})


WARM = (("preprocess", None), ("encode", None), ("decode", 1), ("postprocess", 1))


def result(subject="bundle/onnxruntime/fp32", seconds=1.0, work=WORK, **changes):
    phases = [phase(name, [seconds, seconds * 1.1, seconds * 1.2], n) for name, n in WARM]
    return Result(subject, "vit_b", 2, work, phases=phases, **changes)


def record(*results, **changes):
    values = {
        "created": "2026-01-02T03:04:05Z",
        "settings": {},
        "machine": {"cpu_model": "A processor", "usable_cores": 4},
        "software": {"python": "3.11.7"},
        "git": None,
    }
    return Record(**{**values, **changes}, results=list(results))
