"""The commands from end to end, with a model whose answers are known."""

import argparse
import json

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.cli import CommandLineError, evaluate
from sam_edge.cli import everything as commands
from sam_edge.detections import DetectionError
from sam_edge.masks import decode_rle, from_coco_rle
from sam_edge.prompt_files.coco import read_detections
from tests.sam_edge.known import model_of


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    """Draw a disc around each prompt's middle: steep, so that it is stable."""
    labels = feeds["point_labels"]
    coords = feeds["point_coords"]
    middle = np.where((labels[:, :1] == 1), coords[:, 0], coords.mean(axis=1))
    y, x = np.mgrid[:64, :64] * 4 + 2
    distance = np.hypot(y - middle[:, 1, None, None, None], x - middle[:, 0, None, None, None])
    radius = np.array([30, 10, 20, 30])[:, None, None]
    masks = ((radius - distance) * 20).astype(np.float32)
    scores = np.tile(np.array([0.95, 0.7, 0.9, 0.95], np.float32), (len(labels), 1))
    return {"low_res_masks": masks, "iou_predictions": scores}


@pytest.fixture
def run(monkeypatch, tmp_path):
    def load(_):
        return model_of(encode, decode)

    monkeypatch.setattr(commands, "load_from", load)
    monkeypatch.setattr(evaluate, "load_from", load)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((128, 256, 3), 120, np.uint8)).save("photo_7.png")
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    for component in (commands, evaluate):
        component.add_commands(subparsers)

    def call(*words):
        arguments = parser.parse_args(words)
        return arguments.run(arguments)

    return call


def test_everything_without_flags_writes_masks_and_a_picture(run, tmp_path, capsys):
    assert run("everything", "photo_7.png", "--points-per-side", "4") == 0
    document = json.loads((tmp_path / "photo_7-everything.json").read_text())
    assert len(document["annotations"]) > 4
    assert document["image"]["file_name"] == "photo_7.png"
    with Image.open(tmp_path / "photo_7-everything.png") as picture:
        assert picture.size == (256, 128)
    assert "photo_7-everything.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "flags", "start"),
    [
        ("out.json", [], '{"image"'),
        ("out.json", ["--format", "coco"], '{"info"'),
        ("out.json", ["--format", "labelme"], '{"version"'),
        ("out.svg", [], "<svg"),
    ],
)
def test_the_format_follows_the_flag_or_the_suffix(run, tmp_path, name, flags, start):
    run("everything", "photo_7.png", "--points-per-side", "2", "-o", f"folder/{name}", *flags)
    assert (tmp_path / "folder" / name).read_text().startswith(start)


def test_knobs_reach_the_generator(run, tmp_path):
    flags = ["--points-per-side", "2", "--pred-iou-thresh", "0.92"]
    run("everything", "photo_7.png", *flags, "-o", "out.json")
    document = json.loads((tmp_path / "out.json").read_text())
    scores = [annotation["predicted_iou"] for annotation in document["annotations"]]
    assert scores == pytest.approx([0.95] * 4)


def test_no_masks_say_which_thresholds_to_lower(run, capsys):
    flags = ["--points-per-side", "2", "--pred-iou-thresh", "0.99"]
    run("everything", "photo_7.png", *flags, "-o", "out.json")
    assert "no mask passed --pred-iou-thresh 0.99 and --stability" in capsys.readouterr().err


def test_a_knob_that_cannot_be_meant_is_a_wrong_call(run):
    with pytest.raises(CommandLineError, match="points_per_side must be at least 1, got 0"):
        run("everything", "photo_7.png", "--points-per-side", "0")


DATA_SET = {
    "images": [{"id": 5, "file_name": "val/photo_7.png"}, {"id": 6, "file_name": "other.png"}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [
        {"image_id": 5, "category_id": 3, "bbox": [10, 20, 60, 60]},
        {"image_id": 6, "category_id": 3, "bbox": [0, 0, 5, 5]},
        {"image_id": 5, "category_id": 3, "bbox": [150.5, 20, 60, 60.25]},
    ],
}
RESULTS = [
    {"image_id": 7, "category_id": 3, "bbox": [10, 20, 60, 60], "score": 0.5},
    {"image_id": 8, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 0.5},
    {"image_id": 7, "category_id": 3, "bbox": [150.5, 20, 60, 60.25], "score": 0.5},
]


@pytest.mark.parametrize(
    ("content", "label", "score"),
    [(DATA_SET, "cat", 0.95), (RESULTS, "3", 0.5)],  # a detector's own score is kept
)
def test_a_detectors_boxes_become_masks(run, tmp_path, content, label, score):
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    run("everything", "photo_7.png", "--prompts", "boxes.json", "--format", "coco", "-o", "o.json")
    document = json.loads((tmp_path / "o.json").read_text())
    assert [category["name"] for category in document["categories"]] == [label]
    middles = []
    for annotation in document["annotations"]:
        mask = decode_rle(from_coco_rle(annotation["segmentation"]))
        middles.append([axis.mean() for axis in np.nonzero(mask)])
        assert annotation["predicted_iou"] == pytest.approx(0.95)
    assert np.allclose(middles, [[49.5, 39.5], [49.6, 180]], atol=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "is no COCO JSON of boxes: there is no 'annotations'"),
        ([1, 2], "box 0: expected an object, got 1"),
        ([{**RESULTS[0], "bbox": [1, 2, 0, 4]}], "x0 < x1"),
        (
            [{**RESULTS[0], "image_id": 1}, {**RESULTS[0], "image_id": 2}],
            r"no image_id that names photo_7\.png",
        ),
    ],
)
def test_detections_that_say_nothing_of_the_photo_are_refused(tmp_path, content, message):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DetectionError, match=message):
        read_detections(path, tmp_path / "photo_7.png")


def test_a_file_that_is_not_json_is_named(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text("boxes")
    with pytest.raises(sam_edge.SamEdgeError, match=r"boxes\.json is not JSON"):
        read_detections(path, tmp_path / "photo.png")


def test_evaluate_prints_mean_ious(run, tmp_path, capsys):
    entry = {"id": 1, "bbox": [38, 38, 52, 52], "segmentation": {"size": [128, 256], "counts": []}}
    mask = np.hypot(*np.mgrid[-64:64, -64:192]) < 30
    from sam_edge.masks import encode_rle

    entry["segmentation"] = encode_rle(mask)
    entry["bbox"] = [34, 34, 60, 60]
    image = {"image_id": 1, "file_name": "photo_7.png", "height": 128, "width": 256}
    (tmp_path / "a.json").write_text(json.dumps({"image": image, "annotations": [entry]}))
    assert run("evaluate", "--dataset", "sa1b", ".", "--json", "scores.json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 objects on 1 photos, mean IoU"
    assert float(lines[1].split()[-1]) > 0.95
    (score,) = json.loads((tmp_path / "scores.json").read_text())["objects"]
    assert score["click_best"] > 0.95


def test_evaluate_refuses_flags_of_the_other_data_set(run):
    with pytest.raises(CommandLineError, match="are for --dataset coco"):
        run("evaluate", "--dataset", "sa1b", ".", "--images", "x")
