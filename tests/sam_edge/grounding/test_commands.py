"""``segment`` and ``everything`` with ``--text``, end to end: the box's model, a real grounder."""

import json
import shutil
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge import detectors
from sam_edge.cli.frame import main
from sam_edge.detections import Detection
from sam_edge.grounding.masks import segment_text
from sam_edge.masks import decode_rle, from_coco_rle
from sam_edge.prompts import Box
from tests.sam_edge.grounding.conftest import BUNDLE

pytest.importorskip("tokenizers")

WORDS = ["--grounder", str(BUNDLE)]


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Image.open(BUNDLE.parents[3] / "sam_edge" / "assets" / "photos" / "coffee.jpg") as picture:
        picture.resize((240, 160)).save("coffee.png")
    return "coffee.png"


def test_segment_names_each_object_and_says_its_score(photo, capsys):
    words = ["--text", "a cat", "--text", "the red mug", "--text-threshold", "0", "--top-k", "2"]
    assert main(["segment", photo, *words, *WORDS, "-o", "masks/", "--json", "-"]) == 0
    out = capsys.readouterr()
    (record,) = json.loads(out.out)["photos"]
    found = {"model": "owlv2", "precision": "fp32", "compute": "float32"}
    assert record["grounder"] == {**found, "engine": record["engine"]}
    assert record["compute"] == "float32"
    found = record["objects"]
    assert 1 <= len(found) <= 4
    assert {entry["label"] for entry in found} <= {"a cat", "the red mug"}
    for number, entry in enumerate(found):
        mask = decode_rle(from_coco_rle(entry["masks"][0]["segmentation"]))
        with Image.open(f"masks/coffee-mask-{number}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture) > 0, mask)
        assert f"{entry['label']} {entry['box_score']:.2f}" in out.err


def test_the_command_line_answers_what_python_does(photo, grounder):
    words = ["--text", "a cat", "--text-threshold", "0.4", "--not", "a dog"]
    assert main(["segment", photo, *words, *WORDS, "--json", "out.json"]) == 0
    with open("out.json") as file:
        (record,) = json.load(file)["photos"]
    masks = segment_text(
        sam_edge.load_model(), grounder, photo, "a cat", exclude="a dog", threshold=0.4
    )
    assert [entry["box_score"] for entry in record["objects"]] == [m.box_score for m in masks]
    assert [entry["masks"][0]["area"] for entry in record["objects"]] == [m.area for m in masks]


def test_nothing_found_is_no_error(photo, capsys):
    words = ["--text", "a cat", "--text-threshold", "1"]
    assert main(["segment", photo, *words, *WORDS, "--json", "-"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["photos"][0]["objects"] == []
    assert "coffee.png: nothing found for 'a cat' with a score of 1 or more" in out.err
    assert main(["everything", photo, *words, *WORDS, "-o", "none.json", "--format", "coco"]) == 0
    with open("none.json") as file:
        assert json.load(file)["annotations"] == []


def test_everything_writes_any_format_with_the_phrase(photo):
    words = ["--text", "a cat", "--text-threshold", "0", "--top-k", "2"]
    assert main(["everything", photo, *words, *WORDS, "-o", "o.json", "--format", "labelme"]) == 0
    with open("o.json") as file:
        assert {shape["label"] for shape in json.load(file)["shapes"]} == {"a cat"}


def test_in_coco_a_phrase_is_a_category_and_the_boxes_score_is_the_score(photo):
    words = ["--text", "a cat", "--text-threshold", "0", "--top-k", "2"]
    main(["everything", photo, *words, *WORDS, "-o", "out.json", "--format", "coco"])
    with open("out.json") as file:
        document = json.load(file)
    assert [category["name"] for category in document["categories"]] == ["a cat"]
    assert all(entry["score"] != entry["predicted_iou"] for entry in document["annotations"])


def test_pictures_of_random_weights_say_so(photo, monkeypatch):
    from sam_edge import overlay

    banners = []
    drawn = overlay.draw_overlay
    monkeypatch.setattr(
        overlay, "draw_overlay", lambda *a, **k: banners.append(k["banner"]) or drawn(*a, **k)
    )
    words = ["--text", "a cat", "--text-threshold", "0", "--top-k", "1"]
    assert main(["segment", photo, *words, *WORDS, "--overlay", "over.png"]) == 0
    assert banners == ["random weights: boxes mean nothing"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--text", "a cat", "--point", "1,1"], "--point"),
        (["--text", "a cat", "-o", "mask.png"], "folder"),
        (["--text", ""], "empty"),
        (["--text", "a cat", "--not", "a cat"], "both"),
        (["--text", "cat " * 40], "tokens"),
        (["--not", "a cat"], "--not needs --text"),
        (["--top-k", "3"], "--top-k needs --text"),
        (["--text", "a cat", "--text-threshold", "2"], "from 0 to 1"),
        (["--text", "a cat", "--detector", "yolo"], "one of them"),
        (["--detector", "poem"], "no detector"),
    ],
)
def test_a_wrong_call_is_one_line_and_exits_2(photo, capsys, words, reason):
    assert main(["segment", photo, *words, *WORDS]) == 2
    assert reason in capsys.readouterr().err


def detect(image):
    height, width = image.shape[:2]
    return [Detection(Box(0, 0, width / 2, height / 2), "corner", score=0.75)]


def test_an_installed_detector_finds_the_boxes(photo, monkeypatch, capsys):
    entry = EntryPoint("corner", f"{__name__}:detect", detectors.GROUP)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[detect.__module__])
    monkeypatch.setattr(detectors, "entry_points", lambda group: [entry])
    assert main(["segment", photo, "--detector", "corner", "--json", "-"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["photos"][0]["objects"]
    assert (found["label"], found["box_score"]) == ("corner", 0.75)
    assert found["box"] == [0, 0, 120, 80]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:detect", "cannot be used: ModuleNotFoundError"),
        ("json:dumps", "failed: TypeError"),
        ("builtins:list", "returned a ndarray"),
        ("sys:path", "is no function"),
    ],
)
def test_a_detector_that_is_none_says_so(photo, monkeypatch, capsys, value, words):
    entry = EntryPoint("strange", value, detectors.GROUP)
    monkeypatch.setattr(detectors, "entry_points", lambda group: [entry])
    assert main(["segment", photo, "--detector", "strange"]) == 1
    assert words in capsys.readouterr().err


def test_without_tokenizers_one_line_says_what_to_install(photo, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert main(["segment", photo, "--text", "a cat", *WORDS]) == 1
    assert "pip install 'sam-edge[text]'" in capsys.readouterr().err


def test_named_grounders_are_listed_and_one_line_says_how_to_get_them(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    assert main(["models", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    row = rows["owlv2-base-patch16-ensemble"]
    assert (row["licence"], row["bundles"]) == ("Apache-2.0", [])
    assert row["url"] == "https://huggingface.co/google/owlv2-base-patch16-ensemble"
    assert main(["models", "pull", "owlvit-base-patch32"]) == 2
    said = capsys.readouterr().err
    assert "models pull owlvit-base-patch32 --export fp32" in said
    assert "sam-edge[export,text]" in said
    shutil.copytree(BUNDLE, tmp_path / "bundles" / "owlvit-base-patch32-fp32")
    assert main(["models", "path", "owlvit-base-patch32"]) == 0
    assert capsys.readouterr().out.strip().endswith("owlvit-base-patch32-fp32")
    assert main(["models", "list"]) == 0
    assert "boxes of words, the fast one" in capsys.readouterr().out
