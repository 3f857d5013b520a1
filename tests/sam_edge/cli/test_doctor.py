"""``sam-edge doctor`` tells what is so, names nobody, and survives a broken engine."""

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from sam_edge.cli import doctor
from sam_edge.cli.doctor import examine, report, try_engine
from sam_edge_runtimes import ENGINES

WORKS = {"seconds": 0.5, "error": None}
MISSING = {"seconds": None, "error": "not installed; run: pip install 'sam-edge[cpu]'"}
BROKEN = {"seconds": None, "error": "crashed (SIGILL): it uses instructions that ..."}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")


def run(*words):
    parser = argparse.ArgumentParser()
    doctor.add_commands(parser.add_subparsers())
    arguments = parser.parse_args(["doctor", *words])
    return arguments.run(arguments)


@pytest.fixture
def engines(monkeypatch):
    """Returns what says how engines do."""

    def are(**states):
        monkeypatch.setattr(doctor, "try_engine", lambda engine: states.get(engine, MISSING))

    return are


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """Returns what puts a shell's line in the place of Python."""

    def says(line):
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        monkeypatch.setattr(doctor, "find_spec", lambda name: object())

    return says


@pytest.mark.parametrize("engine", ENGINES)
def test_an_installed_engine_really_segments(engine):
    if find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    answer = try_engine(engine)
    assert answer["error"] is None
    assert answer["seconds"] > 0


def test_an_engine_that_is_not_there_says_what_installs_it(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert try_engine("openvino")["error"].endswith("pip install 'sam-edge[openvino]'")


@POSIX
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("kill -ILL $$", "instructions that this processor lacks"),
        ("kill -SEGV $$", "SIGSEGV"),
        ("kill -ABRT $$", "SIGABRT"),
        ("kill -KILL $$", "out of memory"),
        ("kill -TERM $$", "signal 15"),
        ("echo Traceback >&2; echo 'ImportError: libgone.so' >&2; exit 1", "ImportError: libgone"),
        ("exit 3", "without a word"),
        ("exec sleep 60", "no answer within 0.5 s"),
    ],
)
def test_an_engine_that_dies_is_reported_with_what_it_died_of(interpreter, line, told):
    interpreter(line)
    answer = try_engine("onnxruntime", seconds=0.5 if "sleep" in line else 30)
    assert told in answer["error"]
    assert answer["seconds"] is None


@POSIX
def test_without_an_interpreter_it_says_so(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    assert try_engine("onnxruntime")["error"] == "cannot be tried: No such file or directory"


def test_a_file_in_the_current_folder_is_no_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("numpy", *ENGINES):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    installed = [engine for engine in ENGINES if find_spec(engine)]
    assert try_engine(installed[0])["error"] is None


@pytest.mark.parametrize(
    ("states", "code", "step"),
    [
        ({"onnxruntime": WORKS, "openvino": WORKS}, 0, None),
        ({"openvino": WORKS}, 0, None),
        ({"onnxruntime": BROKEN, "openvino": WORKS}, 0, None),
        ({}, 1, "pip install 'sam-edge[cpu]'"),
        ({"onnxruntime": BROKEN}, 1, "another version"),
    ],
)
def test_one_engine_that_works_is_enough_and_none_says_the_next_step(
    engines, capsys, states, code, step
):
    engines(**states)
    assert run() == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("next step" if step else "engine")
    assert step is None or step in last
    assert run("--json") == code
    assert (json.loads(capsys.readouterr().out)["next_step"] is None) == (code == 0)


GB = 10**9
PLENTY = {"total": 8 * GB, "available": 4 * GB, "limit": None}


@pytest.mark.parametrize(
    ("bits", "machine", "features", "memory", "told"),
    [
        ("64bit", "x86_64", ["AVX2", "AVX-VNNI"], PLENTY, []),  # an N100
        ("64bit", "x86_64", [], PLENTY, []),  # the system does not tell
        ("64bit", "AMD64", ["SSE2"], {"total": None, "available": None}, ["AVX2"]),
        ("64bit", "aarch64", ["NEON"], PLENTY, ["8-bit dot products"]),  # a Raspberry Pi 4
        ("64bit", "aarch64", ["NEON", "NEON-DOTPROD"], PLENTY, []),  # a Raspberry Pi 5
        ("32bit", "armv7l", [], PLENTY, ["a 64-bit system"]),
        (
            "64bit",
            "x86_64",
            ["AVX2"],
            PLENTY | {"available": GB // 2},
            ["memory for vit_b in int8"],
        ),
        ("64bit", "x86_64", ["AVX2"], PLENTY | {"limit": GB // 10}, ["memory for nano (0.2 GB), "]),
        (
            *("32bit", "aarch64", ["NEON"], PLENTY | {"available": GB * 3 // 4}),
            ["a 64-bit system", "8-bit dot products", "memory for vit_b (0.8 GB): 715.3 MiB are "],
        ),
    ],
)
def test_what_a_machine_lacks_is_named(bits, machine, features, memory, told):
    lacks = doctor.missing(bits, machine, features, memory)
    assert len(lacks) == len(told)
    assert all(lack.startswith(start) for lack, start in zip(lacks, told, strict=True))


def test_what_is_missing_is_reported_and_32_bits_are_the_next_step(engines, monkeypatch, capsys):
    engines()
    monkeypatch.setattr(doctor.platform, "architecture", lambda: ("32bit", ""))
    monkeypatch.setattr(doctor.platform, "machine", lambda: "armv7l")
    assert run() == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert any(line.startswith("missing") and "64-bit" in line for line in lines)
    assert last.startswith("next step")
    assert "install a 64-bit system" in last
    run("--json")
    assert json.loads(capsys.readouterr().out)["missing"]


def test_the_report_has_two_columns_and_every_fact(engines, monkeypatch):
    engines(onnxruntime=WORKS)
    monkeypatch.setenv("SAM_EDGE_ANYTHING", "yes")
    facts = examine()
    lines = report(facts).splitlines()
    column = lines[0].index(facts["sam_edge"])
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
    names = [line[:column].strip() for line in lines]
    for name in (
        *("sam-edge", "python", "platform", "processor", "features", "int8", "cores", "threads"),
        *("memory", "cache", "engine", "SAM_EDGE_ANYTHING", *facts["packages"]),
    ):
        assert name in names


def test_facts_that_a_system_does_not_tell_leave_a_report(engines, monkeypatch):
    engines()
    monkeypatch.setattr(doctor, "read_fact", lambda path: "")
    monkeypatch.setattr(doctor, "memory_info", lambda name: None)
    monkeypatch.setattr(doctor, "memory_limit", lambda: None)
    monkeypatch.setattr(doctor, "features_here", list)
    text = report(examine())
    assert "not known available of not known" in text
    assert "limited" not in text


def test_limits_are_told(engines, monkeypatch):
    engines(onnxruntime=WORKS)
    monkeypatch.setattr(doctor, "cgroup_quota", lambda: 1.5)
    monkeypatch.setattr(doctor, "thread_limit", lambda: 2)
    monkeypatch.setattr(doctor, "saturates_here", lambda: True)
    monkeypatch.setattr(doctor, "memory_limit", lambda: 2**29)
    text = report(examine())
    for words in ("quota is 1.5", "at most 2", "saturate", "limited to 512.0 MiB"):
        assert words in text


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"memory.max": "536870912"}, 2**29),
        ({"memory.max": "max"}, None),
        ({"memory/memory.limit_in_bytes": "536870912"}, 2**29),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({}, None),
    ],
)
def test_a_containers_memory_is_read_in_both_versions(tmp_path, files, limit):
    for name, text in files.items():
        path = tmp_path / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert doctor.memory_limit(tmp_path) == limit


def test_nobody_is_named_and_no_secret_is_told(engines, monkeypatch, tmp_path, capsys):
    home = tmp_path / "home" / "adalovelace"
    engines(onnxruntime={"seconds": None, "error": f"ImportError: {home}/lib/libgone.so"})
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setattr(doctor.getpass, "getuser", lambda: "adalovelace")
    monkeypatch.setenv("SAM_EDGE_CACHE", "/scratch/adalovelace/cache")
    monkeypatch.setenv("SAM_EDGE_MIRROR", "https://ada:word@mirror.example/sam?token=hush")
    for words in ((), ("--json",)):
        run(*words)
        text = capsys.readouterr().out
        assert "~/lib/libgone.so" in text
        assert "/scratch/USER/cache" in text
        for secret in ("adalovelace", "ada:", "word", "hush"):
            assert secret not in text


def test_the_cache_is_described_and_not_made(engines, monkeypatch, tmp_path):
    engines(onnxruntime=WORKS)
    folder = tmp_path / "cache"
    monkeypatch.setenv("SAM_EDGE_CACHE", str(folder))
    state = examine()["cache"]
    assert (state["writable"], state["bytes"]) == (True, 0)
    assert not folder.exists()
    for name in ("compiled/0123/graph.onnx", "compiled/4567/graph.onnx", "bundles/vit_b-fp32/x"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"12345")
    state = examine()["cache"]
    assert state["bytes"] == 15
    assert state["entries"] == {"checkpoints": 0, "bundles": 1, "compiled": 2}


@pytest.mark.parametrize("place", ["file", "file/cache"])
def test_a_cache_that_cannot_be_written_is_told(engines, monkeypatch, tmp_path, place):
    engines(onnxruntime=WORKS)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / place))
    facts = examine()
    assert not facts["cache"]["writable"]
    assert "NOT writable" in report(facts)


def test_a_user_without_a_home_gets_a_report(engines, monkeypatch):
    engines(onnxruntime=WORKS)

    def nowhere():
        raise doctor.CacheError("this user has no home to keep files in")

    monkeypatch.setattr(doctor, "cache_directory", nowhere)
    assert "no home" in report(examine())


def test_it_imports_no_engine_and_no_torch_itself():
    code = (
        "import sys\n"
        "from sam_edge.cli import doctor\n"
        "doctor.try_engine = lambda engine: {'seconds': 1.0, 'error': None}\n"
        "doctor.report(doctor.examine())\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ
    )
    assert {"onnxruntime", "openvino", "torch", "onnx"}.isdisjoint(done.stdout.split())


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    text = capsys.readouterr().out
    for words in ("sam-edge doctor --json", "exit codes", "SAM_EDGE_CACHE", "No user name"):
        assert words in text
