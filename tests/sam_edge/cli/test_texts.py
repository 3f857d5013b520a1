"""What commands tell: that every fact is in it, whatever the words around it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam_edge import loading
from sam_edge.bundle import read_spec
from sam_edge.cli import console, doctor, evaluate, main
from sam_edge.cli.console import TransferBar, progress_bar
from sam_edge.cli.info import describe
from sam_edge.evaluation.scores import ObjectScore
from sam_edge.loading import load_model
from sam_edge.zoo import resolve
from tests.sam_edge.known import INSTALLED, SPEC

# --- info ---


def test_info_tells_what_the_manifest_holds(capsys):
    folder = resolve(None)
    spec = read_spec(folder)
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0] == str(folder)
    model, source = lines[1].split(), lines[2].split()
    for fact in ("nano,", "384", spec.precision + ",", "square", "native", "17"):
        assert fact in model
    assert spec.source.file + "," in source
    assert f"{spec.source.sha256[:12]}...," in source
    assert lines[2].endswith(spec.source.licence)
    for graph in spec.graphs:
        (line,) = (line for line in lines if graph.file in line)
        assert f" {graph.size_bytes / 1e6:.1f} MB" in line
        assert line.endswith(", ".join(graph.engines) or "any engine")
        for arrow, tensors in (("<-", graph.inputs), ("->", graph.outputs)):
            for tensor in tensors:
                shape = ", ".join(map(str, tensor.shape))
                assert f"{arrow} {tensor.name} [{shape}] {tensor.dtype}" in text
    for name, value in spec.exporter.items():
        assert f"{name} {value}" in text
    assert text.count("  fidelity  ") == len(spec.fidelity) > 0
    assert "random weights" not in text
    assert "sam-edge verify" not in text


def test_info_checks_files_and_says_so_to_people_alone(capsys):
    assert main(["info", "--check"]) == 0
    told = capsys.readouterr().out
    assert main(["info"]) == 0
    plain = capsys.readouterr().out
    assert told.startswith(plain)
    assert "sha256" in told.removeprefix(plain)
    assert main(["info", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["variant"] == "nano"


def test_info_tells_what_is_particular():
    recipe = {
        "engines": {
            "openvino": {
                "speedup_over_fp32": 1.75,
                "float": ["a", "b"],
                "recipe": "u8s8",
                "products": 48,
            },
            "onnxruntime": {
                "speedup_over_fp32": None,
                "float": [],
                "recipe": "u8s7",
                "products": 50,
            },
        },
        "made_on": "a board",
        "calibration": {"count": 12, "photos": "street"},
        "weight_bits": 7,
        "min_iou": 0.985,
    }
    spec = replace(
        SPEC,
        source=replace(SPEC.source, random=True),
        notes=("resampled",),
        quantization=recipe,
        fidelity=({"engine": "openvino", "iou": 0.987654321, "photos": 3},),
    )
    text = describe(Path("here"), spec)
    fast, slow, weights = (line for line in text.splitlines() if line.startswith("  int8  "))
    for fact in ("openvino", "u8s8", "48 ", "2 more kept float", "1.75 times", "a board"):
        assert fact in fast
    for fact in ("onnxruntime", "u8s7", "50 ", "none kept float", "speed not measured"):
        assert fact in slow
    for fact in ("7-bit", "12 photos (street)", "0.985"):
        assert fact in weights
    assert "random weights" in text
    assert "note       resampled" in text
    assert "engine openvino, iou 0.987654, photos 3" in text
    unmeasured = describe(Path("here"), replace(spec, fidelity=(), quantization=None))
    assert "sam-edge verify" in unmeasured
    assert "int8" not in unmeasured
    at_run_time = describe(Path("here"), replace(spec, quantization=recipe | {"calibration": None}))
    assert "at run time" in at_run_time
    assert "photos (" not in at_run_time


# --- models ---


def test_a_transfer_shows_its_share_its_rate_and_what_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    bar = TransferBar()
    assert bar.text(0, 60_000_000, 101.0) == f"{'░' * 30} 0/60 MB"
    assert bar.text(20_000_000, 60_000_000, 104.0) == (
        f"{'█' * 10}{'░' * 20} 20/60 MB  5.0 MB/s  8 s left"
    )
    assert bar.text(60_000_000, 60_000_000, 106.0) == f"{'█' * 30} 60/60 MB  10.0 MB/s"
    assert bar.text(0, 0, 106.0) == f"{'░' * 30} 0/0 MB"


def test_a_transfer_is_drawn_ten_times_a_second_and_does_not_count_what_was_there(
    monkeypatch, capsys
):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    bar = TransferBar()
    for moment, done in ((101.0, 30), (101.05, 31), (101.09, 32), (101.2, 40), (101.25, 60)):
        now[0] = moment
        bar(done * 10**6, 60 * 10**6)
    lines = capsys.readouterr().err.split("\r\033[K")[1:]
    assert [line.split()[1] for line in lines] == ["30/60", "40/60", "60/60"]
    assert "MB/s" not in lines[0]
    assert "  8.3 MB/s" in lines[1]  # 10 MB in 1.2 s
    assert lines[-1].endswith("\n")
    assert lines[1][-1] != "\n"


# --- evaluate ---


def test_means_are_over_objects_and_photos_are_counted_once():
    scores = [
        ObjectScore("a.jpg", 10, 0.5, 0.25, 0.75),
        ObjectScore("a.jpg", 10, 0.75, 0.5, 0.75),
        ObjectScore("b.jpg", 10, 1.0, 0.0, 0.0),
    ]
    lines = evaluate.summary(scores).splitlines()
    assert lines[0].startswith("3 objects on 2 photos")
    assert [float(line.split()[-1]) for line in lines[1:]] == [0.75, 0.25, 0.5]
    assert ["box" in lines[1], "top" in lines[2], "best" in lines[3]] == [True] * 3
    assert "no objects" in evaluate.summary([])


# --- the bar, and the machine's report ---


def test_a_bar_is_drawn_where_somebody_watches(monkeypatch, capsys):
    assert progress_bar("points") is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    draw = progress_bar("points")
    capsys.readouterr()
    draw(0, 9)
    draw(3, 9)
    draw(9, 9)
    draw(0, 0)
    drawn = capsys.readouterr().err.split("\r\033[K")[1:]
    assert drawn == [
        f"{'░' * 30} 0/9 points",
        f"{'█' * 10}{'░' * 20} 3/9 points",
        f"{'█' * 30} 9/9 points\n",
        f"{'░' * 30} 0/0 points\n",
    ]


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_probe_segments_on_the_engine_that_is_named(engine, monkeypatch):
    opened = []

    def load(**arguments):
        model = load_model(**arguments)
        opened.append((model.engine, arguments["cache"]))
        return model

    monkeypatch.setattr(loading, "load_model", load)
    monkeypatch.setattr("sys.argv", ["-c", engine])
    doctor.probe()
    assert opened == [(engine, False)]


def test_a_probe_of_what_is_no_engine_fails(monkeypatch):
    monkeypatch.setattr("sys.argv", ["-c", "tensorrt"])
    with pytest.raises(ValueError, match="tensorrt"):
        doctor.probe()


def facts(**changes):
    known = {
        "sam_edge": "1.2.3",
        "python": "3.11.7, CPython, 64bit",
        "platform": "Linux-6",
        "packages": {"numpy": "2.4.6"},
        "cpu": {
            "model": "EPYC",
            "architecture": "x86_64",
            "features": ["AVX2", "AVX512"],
            "int8_saturates": False,
        },
        "cores": {"processors": 8, "usable": 4, "quota": None, "thread_limit": None},
        "memory": {"total": 8 << 30, "available": 3 << 30, "limit": None},
        "engines": {
            "onnxruntime": {"seconds": 1.25, "error": None},
            "openvino": {"seconds": None, "error": "not installed"},
        },
        "cache": {
            "error": None,
            "folder": "~/.cache/sam-edge",
            "writable": True,
            "bytes": 5 << 19,
            "entries": {"checkpoints": 1, "bundles": 2, "compiled": 3},
        },
        "environment": {"SAM_EDGE_CACHE": "/x"},
        "missing": ["AVX2: slow"],
        "next_step": None,
    }
    return known | changes


def test_the_report_puts_each_fact_behind_its_name():
    rows = [line.split("  ", 1) for line in doctor.report(facts()).splitlines()]
    told = {name.strip(): value.strip() for name, value in rows if name.strip() != "engine"}
    assert told["sam-edge"] == "1.2.3"
    assert told["numpy"] == "2.4.6"
    assert told["processor"] == "EPYC, x86_64"
    assert told["features"] == "AVX2 AVX512"
    assert "exact" in told["int8"]
    assert told["cores"].startswith("4 for")
    assert told["cores"].endswith("8 processors")
    assert told["threads"] == "as many as the engine wants"
    assert told["memory"] == "3.0 GiB available of 8.0 GiB"
    assert told["cache"] == (
        "~/.cache/sam-edge, writable, 2.5 MiB: 1 checkpoints, 2 bundles, 3 compiled"
    )
    assert told["SAM_EDGE_CACHE"] == "/x"
    assert told["missing"] == "AVX2: slow"
    engines = [value.strip() for name, value in rows if name.strip() == "engine"]
    assert engines[0].startswith("onnxruntime: works; took 1.25 s")
    assert engines[1] == "openvino: not installed"
    assert "next step" not in told


@pytest.mark.parametrize(
    ("engines", "step"),
    [
        ({"a": {"error": None}, "b": {"error": "not installed; x"}}, None),
        ({"a": {"error": "not installed; x"}, "b": {"error": "not installed; x"}}, "pip install"),
        ({"a": {"error": "crashed"}, "b": {"error": "not installed; x"}}, "report it"),
    ],
)
def test_the_next_step_depends_on_what_is_wrong(engines, step):
    told = doctor.next_step(engines)
    assert told is None if step is None else step in told


def test_memory_is_read_by_its_lines_name(tmp_path):
    (tmp_path / "proc").mkdir()
    text = "MemTotal:  4000 kB\nMemAvailable:   1000 kB\nSwapTotal: 5 kB"
    (tmp_path / "proc" / "meminfo").write_text(text)
    assert doctor.memory_info("MemTotal", tmp_path) == 4000 * 1024
    assert doctor.memory_info("MemAvailable", tmp_path) == 1000 * 1024
    assert doctor.memory_info("MemFree", tmp_path) is None


def test_everything_says_how_many_masks_went_where(tmp_path, capsys):
    y, x = np.mgrid[:120, :160]
    pixels = np.full((120, 160, 3), (90, 120, 160), np.uint8)
    pixels[(x - 80) ** 2 + (y - 60) ** 2 < 35**2] = (200, 60, 40)
    Image.fromarray(pixels).save(tmp_path / "disc.png")
    out = tmp_path / "out.json"
    words = ["everything", str(tmp_path / "disc.png"), "--points-per-side", "3", "-o", str(out)]
    assert main(words) == 0
    count = len(json.loads(out.read_text())["annotations"])
    assert f"out.json  {count} masks" in capsys.readouterr().err
