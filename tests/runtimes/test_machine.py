"""What the machine tells: memory, instruction sets, and an engine's last word."""

import sys
from pathlib import Path

import numpy as np
import pytest

from sam_edge_runtimes import cpu, memory
from sam_edge_runtimes.cpu import cpu_features, features_here, saturates, saturates_here

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
STATUS = "Name:\tpython\nVmPeak:\t  300 kB\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\nThreads:\t3\n"


@pytest.fixture
def proc(monkeypatch):
    """Returns what sets the text of every file that is read."""

    def says(text):
        def read_text(path, encoding, errors="strict"):
            if text is None:
                raise FileNotFoundError(path)
            return text.encode().decode(encoding)

        monkeypatch.setattr(Path, "read_text", read_text)

    return says


def test_sizes_are_bytes(proc):
    proc(STATUS)
    sizes = memory.resident_sizes()
    assert sizes == {"VmPeak": 300 * 1024, "VmHWM": 200 * 1024, "VmRSS": 100 * 1024}
    assert memory.peak_rss() == 200 * 1024


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_without_proc_the_peak_is_what_the_system_counted(proc, monkeypatch, platform, unit):
    resource = pytest.importorskip("resource")
    proc(None)
    assert memory.resident_sizes() == {}
    monkeypatch.setattr(sys, "platform", platform)
    usage = type("Usage", (), {"ru_maxrss": 5000})
    monkeypatch.setattr(
        resource, "getrusage", lambda who: usage if who == resource.RUSAGE_SELF else None
    )
    assert memory.peak_rss() == 5000 * unit


@LINUX
def test_the_peak_is_no_less_than_what_the_process_has_now():
    array = np.ones(4 << 20)
    sizes = memory.resident_sizes()
    assert sizes["VmRSS"] > array.nbytes
    assert memory.peak_rss() >= sizes["VmRSS"]


@LINUX
def test_freed_memory_goes_back():
    memory.give_back_freed()
    before = memory.resident_sizes()["VmRSS"]
    blocks = [bytearray(100_000) for _ in range(800)]  # below the size that is mapped by itself
    held = memory.resident_sizes()["VmRSS"]
    assert held - before > 60 << 20
    keeps_the_top = bytearray(100_000)
    del blocks
    memory.give_back_freed()
    assert memory.resident_sizes()["VmRSS"] - before < 40 << 20
    assert keeps_the_top is not None


def test_where_the_library_cannot_give_back_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.give_back_freed()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    memory.give_back_freed()


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\nflags\t: sve", ["AVX2", "AVX-VNNI"]),
        ("Features\t: fp asimd asimddp asimdhp", ["NEON", "NEON-DOTPROD", "NEON-FP16"]),
        ("flags\t: amx_int8 amx_bf16 avx512_bf16 i8mm bf16 sve", None),
        ("features : avx2\nvmx flags : avx2", []),
        ("flags\t: fpu sse sse2 sse4_2 popcnt", ["SSE2"]),  # a Celeron J4125
        ("", []),
    ],
)
def test_instruction_sets_are_read_from_either_kind_of_processor(proc, text, features):
    if features is None:
        features = ["AVX512-BF16", "AMX-INT8", "AMX-BF16", "I8MM", "BF16", "SVE"]
    assert cpu_features(text) == features
    proc(text)
    assert features_here() == features


def test_a_system_that_does_not_tell_has_no_features(proc):
    proc(None)
    assert features_here() == []


@pytest.mark.parametrize(
    ("machine", "features", "answer"),
    [
        ("x86_64", ["AVX2"], True),
        ("AMD64", ["AVX2", "AVX512"], True),
        ("x86_64", ["SSE2"], True),
        ("x86_64", ["AVX2", "AVX-VNNI"], False),
        ("x86_64", ["AVX512-VNNI"], False),
        ("x86_64", ["AMX-INT8"], False),
        ("x86_64", [], False),
        ("aarch64", ["NEON"], False),
    ],
)
def test_only_old_x86_saturates(monkeypatch, machine, features, answer):
    assert saturates(machine, features) is answer
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu, "features_here", lambda: features)
    assert saturates_here() is answer


@pytest.mark.parametrize(
    ("message", "told"),
    [("at a.cpp:1\n\n  it broke  \n\n", "it broke"), ("it broke", "it broke"), ("", "ValueError")],
)
def test_of_openvinos_messages_the_last_line_is_told(message, told):
    openvino = pytest.importorskip("sam_edge_runtimes.openvino")
    assert openvino._last_line(ValueError(message)) == told
