"""`sam-edge quantize`: the table, the plot, the front."""

import json

import numpy as np
import pytest
from PIL import Image

from sam_edge.bundle import read_spec
from sam_edge.cli import main
from sam_edge_export.quantize import search
from sam_edge_export.quantize.recipes import RECIPES
from sam_edge_export.quantize.search import Row, marked, plot, table
from sam_edge_runtimes import formats_of


def row(recipe, seconds, peak=100, size=10, iou=1.0, compute="float32"):
    return Row("onnxruntime", recipe, seconds, peak, size, iou, iou, compute=compute)


def test_the_front_is_what_nothing_beats_in_everything():
    rows = [
        row("fp32", 2, size=40),
        row("fast", 1, iou=0.99),
        row("slower and worse", 1.5, iou=0.98),
        row("small", 3, size=5, iou=0.97),
        row("large", 2, size=50),
    ]
    assert [entry.best for entry in marked(rows)] == [True, True, False, True, False]
    text = table(marked(rows))
    assert "* onnxruntime  fast " in text
    assert "  onnxruntime  large" in text
    assert text.count("under the gate") == 1
    assert " 2.00x" in text


def test_a_recipe_that_loses_to_the_float_file_in_a_reduced_format_says_so():
    rows = [row("fp32", 4), row("fp32", 1, compute="bfloat16"), row("linears", 2)]
    rows += [row("linears", 0.9, compute="bfloat16"), row("fp16", 3)]
    text = table(rows)
    beaten = [line for line in text.splitlines() if "slower than fp32 in bfloat16" in line]
    assert len(beaten) == 1
    assert "linears  " in beaten[0]
    assert "fp32 bf16" in text


def test_a_plot_shows_every_engine_and_takes_equal_rows():
    picture = np.asarray(plot(marked([row("fp32", 1), row("same", 1), row("other", 2, iou=0.9)])))
    assert picture.shape == (540, 960, 3)
    assert (picture == (31, 119, 180)).all(-1).sum() > 100


@pytest.mark.slow
def test_a_search_measures_every_recipe_of_an_engine(
    nano_checkpoint, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(search, "ROUNDS", 1)
    monkeypatch.setattr(search, "RUNS", 1)
    command = ["quantize", str(nano_checkpoint), "--search", "--image-size", "256"]
    command += ["--engine", "openvino", "--threads", "1", "--report", str(tmp_path / "report")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "recipes.json").read_text())
    names = [entry["recipe"] for entry in report["rows"]]
    assert list(dict.fromkeys(names))[:3] == ["fp32", "fp16", "int8-weights"]
    recipes = {recipe.name for recipe in RECIPES if recipe.engine == "openvino"}
    assert {*names} == {"fp32", "fp16", "int8-weights"} | recipes
    for name in {*names}:
        left_out = {*formats_of("openvino")}
        left_out -= {entry["compute"] for entry in report["rows"] if entry["recipe"] == name}
        assert not left_out or (name in recipes and left_out == {"float16"})  # no kernel for it
    assert all(name in printed for name in names)
    by_name = {e["recipe"]: e for e in report["rows"] if e["compute"] == "float32"}
    assert by_name["fp32"]["mask_iou_mean"] > 0.999
    assert by_name["convolutions"]["size_bytes"] < 0.4 * by_name["fp32"]["size_bytes"]
    assert all(entry["seconds"] > 0 and entry["peak_bytes"] > 1e7 for entry in report["rows"])
    Image.open(tmp_path / "report" / "recipes.png").verify()


def test_quantize_writes_what_export_writes(nano_checkpoint, tmp_path, capsys):
    command = ["quantize", str(nano_checkpoint), "--image-size", "256"]
    assert main(command) == 2
    assert "name the bundle to write with -o" in capsys.readouterr().err
    command += ["-o", str(tmp_path / "out"), "--min-iou", "0", "--allow-slow"]
    assert main([*command, "--engine", "onnxruntime", "--recipe", "linears"]) == 0
    assert read_spec(tmp_path / "out").precision == "int8"
