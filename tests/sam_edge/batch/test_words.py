"""``batch --text``: what words name in every photo, as ``segment_text`` finds it, and resumed."""

import json
from dataclasses import replace

import pytest

import sam_edge
from sam_edge.batch import Batch
from sam_edge.batch.worker import Worker
from sam_edge.cli import main
from sam_edge.errors import ArgumentError, PromptError
from tests.sam_edge.batch.drawn import draw
from tests.sam_edge.grounding.conftest import BUNDLE

pytest.importorskip("tokenizers")

PHRASES = ["a cat", "the red mug"]
WORDS = {"grounder": BUNDLE, "text": PHRASES, "text_threshold": 0.3, "top_k": 2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(2):
        draw(folder / f"{number}.png", number)
    return folder


def expected(photo):
    masks = sam_edge.segment_text(
        sam_edge.load_model(),
        sam_edge.load_grounder(BUNDLE),
        photo,
        PHRASES,
        threshold=0.3,
        top_k=2,
    )
    return [(mask.label, mask.box_score, mask.area) for mask in masks]


def found(document):
    names = {entry["id"]: entry["name"] for entry in document["categories"]}
    return [
        (names[entry["category_id"]], entry["score"], entry["area"])
        for entry in document["annotations"]
    ]


def test_a_worker_finds_what_python_finds_and_keeps_it(photos, tmp_path):
    batch = Batch(photos, tmp_path / "out", **WORDS)
    worker = Worker(replace(batch.settings, resume=True))
    assert [worker(job).status for job in batch.jobs()] == ["done", "done"]
    for number in range(2):
        document = json.loads((tmp_path / "out" / f"{number}-everything.json").read_text())
        assert len(document["annotations"]) > 0
        assert found(document) == expected(photos / f"{number}.png")
    assert [worker(job).status for job in batch.jobs()] == ["kept", "kept"]
    words = replace(batch.settings.words, exclude=("a dog",))
    worker = Worker(replace(batch.settings, resume=True, words=words))
    assert [worker(job).status for job in batch.jobs()] == ["done", "done"]


def test_what_cannot_be_meant_is_refused_before_anything_is_written(photos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(PromptError, match="tokens"):
        Batch(photos, out, text=["cat " * 40], grounder=BUNDLE)
    with pytest.raises(ArgumentError, match="one of them"):
        Batch(photos, out, text=["a cat"], grounder=BUNDLE, prompts=photos / "boxes.csv")
    with pytest.raises(ArgumentError, match="threshold"):
        Batch(photos, out, text=["a cat"], grounder=BUNDLE, text_threshold=7)
    assert main(["batch", str(photos), "-o", str(out), "--top-k", "2"]) == 2
    assert not out.exists()


@pytest.mark.slow
def test_the_whole_sets_file_has_the_phrases_as_categories(photos, tmp_path):
    out = tmp_path / "out"
    call = ["batch", str(photos), "-o", str(out), "--processes", "1", "--grounder", str(BUNDLE)]
    words = ["--text", "a cat", "--text", "the red mug", "--text-threshold", "0.3", "--top-k", "2"]
    assert main([*call, *words]) == 0
    whole = json.loads((out / "coco.json").read_text())
    assert found(whole) == expected(photos / "0.png") + expected(photos / "1.png")
