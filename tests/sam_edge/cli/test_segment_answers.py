"""Which of the decoder's masks ``segment`` writes, shows and records, on answers that are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sam_edge.cli import main, segment
from sam_edge.masks import decode_rle, from_coco_rle
from sam_edge.overlay import PALETTE
from tests.sam_edge.known import SPEC, model_of

SCORES = [0.99, 0.4, 0.875, 0.6]
ROWS = [200, 40, 80, 120]
"""Of the 256: how many of the topmost ones each of the decoder's outputs takes."""
RED, GREEN, WHITE = (230, 40, 40), (40, 200, 60), (255, 255, 255)


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    count = len(feeds["point_labels"])
    row = np.arange(2, 256, 4)[:, None] * np.ones((1, 64))
    masks = np.stack([(rows - row) * 20 for rows in ROWS]).astype(np.float32)
    scores = np.array(SCORES, np.float32)
    return {
        "low_res_masks": masks[None].repeat(count, 0),
        "iou_predictions": scores[None].repeat(count, 0),
    }


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A folder with a grey photo of the encoder's size."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segment, "load_from", lambda _: model_of(encode, decode))
    Image.fromarray(np.full((256, 256, 3), 100, np.uint8)).save("grey.png")
    return tmp_path


def rows_of(path):
    mask = np.asarray(Image.open(path)) == 255
    assert mask[: mask.any(axis=1).sum()].all()
    return int(mask.any(axis=1).sum())


@pytest.mark.parametrize(
    ("words", "rows", "score"),
    [
        ("--point 50,60", 80, 0.875),  # a lone point: the best of three, not output 0
        ("--point 50,60,0", 80, 0.875),
        ("--point 50,60 --point 9,9", 200, 0.99),  # all else: output 0
        ("--point 50,60 --point 9,9,0", 200, 0.99),
        ("--box 10,10,90,90", 200, 0.99),
        ("--point 50,60 --box 10,10,90,90", 200, 0.99),
        ("--mask rough.png", 200, 0.99),
        ("--point 50,60 --mask rough.png", 200, 0.99),
    ],
)
def test_a_lone_point_writes_the_best_of_three_and_all_else_the_single_answer(
    here, words, rows, score
):
    rough = np.zeros((256, 256), np.uint8)
    rough[40:90, 30:80] = 255
    Image.fromarray(rough).save("rough.png")
    assert main(["segment", "grey.png", *words.split(), "-o", "m.png", "--json", "m.json"]) == 0
    assert rows_of("m.png") == rows
    (record,) = json.loads((here / "m.json").read_text())["photos"]
    ((mask,),) = (entry["masks"] for entry in record["objects"])
    assert mask["score"] == pytest.approx(score)
    assert mask["area"] == rows * 256
    assert decode_rle(from_coco_rle(mask["segmentation"])).sum() == rows * 256


def test_multimask_writes_the_three_candidates_in_the_decoders_order(here):
    words = ["--point", "50,60", "--multimask", "-o", "out/", "--json", "m.json"]
    assert main(["segment", "grey.png", *words]) == 0
    assert [rows_of(f"out/grey-mask-{number}.png") for number in range(3)] == [40, 80, 120]
    (record,) = json.loads((here / "m.json").read_text())["photos"]
    (entry,) = record["objects"]
    assert [mask["score"] for mask in entry["masks"]] == pytest.approx(SCORES[1:])


def test_a_record_says_photo_model_and_prompts(here):
    words = ["--point", "50,60", "--point", "9,8,0", "--box", "10,12,90,92", "--json", "m.json"]
    Image.fromarray(np.zeros((128, 256, 3), np.uint8)).save("wide.png")
    assert main(["segment", "wide.png", *words]) == 0
    document = json.loads((here / "m.json").read_text())
    (record,) = document["photos"]
    assert (record["image"], record["height"], record["width"]) == ("wide.png", 128, 256)
    assert (record["model"], record["precision"], record["engine"]) == ("nano", "fp32", "fake")
    (entry,) = record["objects"]
    assert entry["points"] == [[50, 60], [9, 8]]
    assert entry["labels"] == [1, 0]
    assert entry["box"] == [10, 12, 90, 92]
    assert entry.keys() == {"points", "labels", "box", "masks"}
    assert document.keys() == {"photos"}


def test_an_object_that_cannot_be_meant_is_named_and_the_others_are_written(here, capsys):
    boxes = ["--box", "10,10,90,90", "--box", "900,900,950,950", "--box", "20,20,80,80"]
    assert main(["segment", "grey.png", *boxes, "-o", "out/", "--json", "m.json"]) == 1
    assert sorted(path.name for path in (here / "out").iterdir()) == [
        "grey-mask-0.png",
        "grey-mask-2.png",
    ]
    (record,) = json.loads((here / "m.json").read_text())["photos"]
    assert [len(entry["masks"]) for entry in record["objects"]] == [1, 0, 1]
    assert "900,900,950,950" in record["objects"][1]["error"]
    assert [entry["box"][0] for entry in record["objects"]] == [10, 900, 20]
    assert "900,900,950,950" in capsys.readouterr().err


def test_the_overlay_shows_the_tint_the_prompts_and_the_score(here):
    words = ["--point", "50,60", "--point", "150,230,0", "--box", "20,20,240,240"]
    assert main(["segment", "grey.png", *words, "--overlay", "o.png"]) == 0
    drawn = np.asarray(Image.open("o.png"))
    assert tuple(drawn[60, 50]) == GREEN
    assert tuple(drawn[230, 150]) == RED
    assert tuple(drawn[100, 20]) == WHITE
    assert np.allclose(drawn[150, 100], 0.55 * 100 + 0.45 * np.array(PALETTE[0]), atol=1)
    assert drawn[250, 100].tolist() == [100, 100, 100]  # below the mask
    caption = drawn[4:24, 100:156].astype(int)  # at the mask's top, in its middle
    assert (caption == 255).all(axis=2).sum() > 20


def test_masks_of_random_weights_say_so_across_the_picture(here, monkeypatch):
    words = ["segment", "grey.png", "--point", "50,60", "--overlay"]
    assert main([*words, "plain.png"]) == 0
    random = replace(SPEC, source=replace(SPEC.source, random=True))
    monkeypatch.setattr(segment, "load_from", lambda _: model_of(encode, decode, random))
    assert main([*words, "random.png"]) == 0
    plain, branded = (
        np.asarray(Image.open(name)).astype(int) for name in ("plain.png", "random.png")
    )
    changed = (plain != branded).any(axis=2)
    assert changed[225:, 60:200].sum() > 200  # letters, across the bottom
    assert not changed[:225].any()
