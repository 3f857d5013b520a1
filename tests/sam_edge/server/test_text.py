"""``POST /v1/text``: what words name, by HTTP, as Python and the command line find it."""

import json

import pytest

import sam_edge
from sam_edge.grounding.masks import segment_text
from sam_edge.grounding.opening import load_grounder
from sam_edge.masks import to_coco_rle
from tests.sam_edge.grounding.conftest import BUNDLE

for package in ("starlette", "uvicorn", "httpx", "tokenizers"):
    pytest.importorskip(package)

from tests.sam_edge.server import running  # noqa: E402

QUESTION = {"phrases": ["a cat", "the red mug"], "threshold": 0.3, "top_k": 6}


@pytest.fixture(scope="module")
def grounder():
    return load_grounder(BUNDLE, cache=False)


@pytest.fixture(scope="module")
def words(grounder, tmp_path_factory):
    folder = running.copy_photos(tmp_path_factory.mktemp("served") / "photos", "coffee.jpg")
    uploads = tmp_path_factory.mktemp("uploads")
    with running.client_in_thread(folder, uploads=uploads, grounder=grounder) as client:
        yield client, folder, running.photo_named(client, "coffee.jpg")["id"]


def test_the_answer_is_what_python_finds(words, grounder):
    client, folder, photo = words
    answer = client.post("/v1/text", json={"photo": photo, **QUESTION}).raise_for_status().json()
    masks = segment_text(
        sam_edge.load_model(),
        grounder,
        folder / "coffee.jpg",
        QUESTION["phrases"],
        threshold=0.3,
        top_k=6,
    )
    assert len(masks) > 1
    assert [mask["rle"] for mask in answer["masks"]] == [to_coco_rle(mask.rle) for mask in masks]
    assert [mask["label"] for mask in answer["masks"]] == [mask.label for mask in masks]
    assert [mask["box_score"] for mask in answer["masks"]] == [mask.box_score for mask in masks]


def test_it_tells_how_far_it_is(words):
    client, _, photo = words
    accept = {"Accept": "application/x-ndjson"}
    answer = client.post("/v1/text", json={"photo": photo, **QUESTION}, headers=accept)
    events = [json.loads(line) for line in answer.text.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "queued"
    assert "found" in names
    assert names[-1] == "done"


def test_nothing_found_is_an_answer(words):
    client, _, photo = words
    answer = client.post("/v1/text", json={"photo": photo, "phrases": ["a cat"], "threshold": 1})
    assert answer.status_code == 200
    assert answer.json()["masks"] == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"phrases": []}, "list of 1 to 100"),
        ({"phrases": "a cat"}, "list of 1 to 100"),
        ({"phrases": ["a cat"] * 101}, "list of 1 to 100"),
        ({"phrases": [""]}, "empty"),
        ({"phrases": [7]}, "a text, got int"),
        ({"phrases": ["cat " * 40]}, "tokens"),
        ({"phrases": ["a cat"], "exclude": ["a cat"]}, "both"),
        ({"phrases": ["a cat"], "threshold": 2}, "from 0 to 1"),
        ({"phrases": ["a cat"], "threshold": "low"}, "is a number"),
        ({"phrases": ["a cat"], "top_k": 1.5}, "top_k"),
        ({"phrases": ["a cat"], "duplicate_iou": -1}, "from 0 to 1"),
        ({"phrases": ["a cat"], "poem": 1}, "unknown field"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, body, reason):
    client, _, photo = words
    answer = client.post("/v1/text", json={"photo": photo, **body})
    assert answer.status_code == 400
    assert reason in answer.json()["error"]["message"]


def test_the_model_list_says_what_finds_words(words):
    client, _, _ = words
    found = client.get("/v1/models").json()["grounder"]
    assert (found["variant"], found["tokens"], found["source"]["random"]) == ("owlv2", 16, True)


def test_without_a_grounder_it_is_not_found(client):
    photo = client.get("/v1/photos").json()["photos"][0]["id"]
    answer = client.post("/v1/text", json={"photo": photo, "phrases": ["a cat"]})
    assert answer.status_code == 404
    assert "--grounder" in answer.json()["error"]["message"]
    assert client.get("/v1/models").json()["grounder"] is None
