"""Whole runs: what a plan becomes, and what stays when one is stopped."""

import argparse
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from sam_edge_benchmarks import subjects
from sam_edge_benchmarks.cli import add_bench_commands, make_plan
from sam_edge_benchmarks.models import Model
from sam_edge_benchmarks.record import read_record
from sam_edge_benchmarks.run import Plan, mask_ious, run
from sam_edge_benchmarks.subjects import Choice, Kind

from .conftest import FEW, HERE

FIRST = Choice("first", "cpu", "eager", "fp32")
SECOND = Choice("second", "cpu", "eager", "fp32")


@pytest.fixture
def plan(monkeypatch, photo, test_subject, tmp_path):
    kind = Kind(test_subject, "bundle", ("cpu",), ("eager",), ("fp32",))
    monkeypatch.setitem(subjects.SUBJECTS, "first", kind)
    monkeypatch.setitem(subjects.SUBJECTS, "second", kind)
    monkeypatch.setattr("sam_edge_benchmarks.run.describe_files", lambda path, choice: {})

    def make(variant, **changes):
        values = {
            "models": [Model(variant, variant, 64, "seeded:0", bundle=tmp_path)],
            "choices": [FIRST, SECOND],
            "threads": (None,),
            "prompts": (1,),
            "photo": photo,
            "points_per_side": 4,
            "settings": FEW,
            "cache": tmp_path / "cache",
            "reference": False,
        }
        return Plan(**{**values, **changes})

    return make


def quiet(line):
    pass


def test_a_run_writes_what_it_measured(plan, tmp_path):
    output = tmp_path / "record.json"
    record = run(plan("plain"), output, quiet)
    assert read_record(output) == record
    assert [result.subject for result in record.results] == [str(FIRST), str(SECOND)]
    assert record.results[0].status == "done"
    assert record.results[0].load_before is not None
    assert record.machine["cpu_model"]


def test_a_missing_dependency_is_a_line_and_the_rest_goes_on(plan, tmp_path):
    record = run(plan("missing"), tmp_path / "record.json", quiet)
    assert [result.status for result in record.results] == ["missing", "missing"]
    assert "absent_engine" in record.results[0].reason


def test_threads_are_swept(plan, tmp_path):
    record = run(plan("plain", threads=(1, 2), choices=[FIRST]), tmp_path / "record.json", quiet)
    assert [result.threads for result in record.results] == [1, 2]


def test_two_subjects_are_measured_in_turn(plan, tmp_path):
    record = run(plan("slow", versus=(FIRST, SECOND)), tmp_path / "record.json", quiet)
    encode, decode = record.versus
    assert (encode.phase, decode.phase, decode.prompts) == ("encode", "decode", 1)
    assert len(encode.pairs_seconds) == FEW.repeats
    assert min(map(min, encode.pairs_seconds)) >= 0.2
    assert read_record(tmp_path / "record.json") == record


def test_cold_starts_are_samples_of_fresh_processes(plan, tmp_path):
    settings = replace(FEW, cold_starts=3)
    record = run(plan("plain", settings=settings, choices=[FIRST]), tmp_path / "record.json", quiet)
    result = record.results[0]
    assert [len(result.phase(name).samples_seconds) for name in ("import", "load")] == [3, 3]
    assert len(result.phase("encode").samples_seconds) == FEW.repeats


def test_masks_are_compared_pixel_by_pixel():
    mine = np.packbits(np.array([[[1, 1, 0, 0, 0, 0, 0, 0]]]), axis=-1)
    theirs = np.packbits(np.array([[[1, 1, 1, 1, 0, 0, 0, 0]]]), axis=-1)
    assert mask_ious(theirs, mine) == [0.5]
    assert mask_ious(mine * 0, mine * 0) == [1.0]


SLOW_RUN = """
import sys
folder, photo, output = sys.argv[1:]
sys.path.insert(0, folder)
from pathlib import Path
import sam_edge_benchmarks.cli as cli
import sam_edge_benchmarks.run as module
from sam_edge_benchmarks.cli import add_bench_commands, make_plan
from sam_edge_benchmarks.models import Model
from sam_edge_benchmarks.subjects import SUBJECTS, Choice, Kind
from sam_edge_benchmarks.work import QUICK
from dataclasses import replace

SUBJECTS["slow"] = Kind("subject_for_tests", "bundle", ("cpu",), ("eager",), ("fp32",))
module.describe_files = lambda path, choice: {}
cli.make_plan = lambda arguments: module.Plan(
    models=[Model("slow", "slow", 64, "seeded:0", bundle=Path("."))],
    choices=[Choice("slow", "cpu", "eager", "fp32")] * 50,
    threads=(None,), prompts=(1,), photo=Path(photo), points_per_side=4,
    settings=replace(QUICK, repeats=4), cache=Path("."), reference=False,
)
sys.argv = ["bench", "run", "-o", output]
import sam_edge_benchmarks.__main__ as program
sys.exit(program.main())
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_keeps_what_was_measured(photo, tmp_path, number):
    output = tmp_path / "record.json"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, str(HERE), str(photo), str(output)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        # A shell's background jobs ignore SIGINT, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            seen = []
            while not any("encode" in line for line in seen):  # the first subject is half measured
                line = process.stderr.readline()
                assert line, seen
                seen.append(line)
            process.send_signal(number)
            rest = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 1
    assert "what was measured is in" in rest
    assert "Traceback" not in rest
    first = read_record(output).results[0]
    assert first.status == "interrupted"
    assert first.phase("encode") is not None


def test_full_measures_whatever_quick_measures():
    parser = argparse.ArgumentParser()
    add_bench_commands(parser.add_subparsers())
    quick, full = (
        {str(choice) for choice in make_plan(parser.parse_args(["run", pace])).choices}
        for pace in ("--quick", "--full")
    )
    assert quick
    assert quick < full
