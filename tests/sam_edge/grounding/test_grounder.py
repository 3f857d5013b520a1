"""What a grounder answers, and what it refuses."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from sam_edge.bundle import read_spec
from sam_edge.errors import (
    ArgumentError,
    ChecksumError,
    EmbeddingError,
    ManifestError,
    ModelNotFoundError,
    PromptError,
)
from sam_edge.grounding.grounder import Candidates, Grounder, match
from sam_edge.grounding.manifest import (
    grounding_manifest_text,
    parse_grounding_manifest,
    read_grounding_spec,
)
from sam_edge.grounding.opening import fixed_sizes, load_grounder
from sam_edge.grounding.phrases import Phrases, checked_phrases
from sam_edge.grounding.pixels import box_scale, padded_and_shrunk, preprocess
from sam_edge.loading import load_model
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER, ImageSpec
from sam_edge.zoo import resolve
from sam_edge_runtimes.fake import FakeSession
from tests.runtimes.engines import ENGINES
from tests.sam_edge.grounding.conftest import BUNDLE

IMAGE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def test_every_box_lies_in_the_photo_and_the_best_comes_first(grounder):
    found = grounder.ground(IMAGE, ["a cat", "the red mug"], threshold=0.0, nms_iou=1)
    assert len(found) > 8
    scores = [detection.score for detection in found]
    assert scores == sorted(scores, reverse=True)
    assert {detection.label for detection in found} == {"a cat", "the red mug"}
    for detection in found:
        box = detection.box
        assert 0 <= box.x0 < box.x1 <= 120
        assert 0 <= box.y0 < box.y1 <= 90


def test_a_photo_that_was_looked_at_is_not_looked_at_again(grounder):
    candidates = grounder.encode_image(IMAGE)
    assert grounder.ground(candidates, "a cat", threshold=0.5) == grounder.ground(
        IMAGE, "a cat", threshold=0.5
    )


def test_a_phrase_goes_through_its_tower_once():
    spec = read_grounding_spec(BUNDLE)
    pytest.importorskip("tokenizers")
    calls = []

    def answer(feeds):
        calls.append(len(feeds["input_ids"]))
        return {"query_embeds": np.eye(16, dtype=np.float32)[: len(feeds["input_ids"])]}

    opened = load_grounder(BUNDLE, cache=False)
    sessions = {IMAGE_TOWER: opened.sessions[IMAGE_TOWER], TEXT_TOWER: FakeSession(answer)}
    grounder = Grounder(spec, sessions, opened._open_phrases, "fake")
    first = grounder.encode_phrases(["a cat", "a dog"])
    again = grounder.encode_phrases(["a dog", "the mug", "a cat"])
    assert calls == [2, 1]
    np.testing.assert_array_equal(first[::-1], again[[0, 2]])


def test_nothing_found_is_an_empty_list(grounder):
    assert grounder.ground(IMAGE, "a cat", threshold=1.0) == []


def test_what_an_unwanted_phrase_fits_better_is_left_out(grounder):
    candidates = grounder.encode_image(IMAGE)
    scores = match(candidates, grounder.encode_phrases(["a cat", "trees"]))
    assert (scores[:, 0] > scores[:, 1]).any()
    assert (scores[:, 0] < scores[:, 1]).any()
    found = grounder.ground(candidates, "a cat", exclude="trees", threshold=0.0, nms_iou=1)
    kept = {round(detection.score, 5) for detection in found}
    better = scores[:, 0] > scores[:, 1]
    assert kept <= {round(float(score), 5) for score in scores[better, 0]}
    assert len(found) < len(grounder.ground(candidates, "a cat", threshold=0.0, nms_iou=1))


def test_a_box_may_go_to_its_best_phrase_alone(grounder):
    found = grounder.ground(IMAGE, ["a cat", "a dog"], threshold=0.0, nms_iou=1, best_phrase=True)
    boxes = [detection.box for detection in found]
    assert len(set(boxes)) == len(boxes)


def test_top_k_is_of_each_phrase(grounder):
    found = grounder.ground(IMAGE, ["a cat", "a dog"], threshold=0.0, top_k=2)
    assert sorted(detection.label for detection in found) == ["a cat"] * 2 + ["a dog"] * 2


@pytest.mark.parametrize(
    ("phrases", "words"),
    [
        ([], "no phrase"),
        ("", "empty"),
        ("   ", "empty"),
        (["a cat", ""], "empty"),
        ("a\ncat", "control characters"),
        ("a\x00cat", "control characters"),
        ("\u202ecat", "control characters"),
        ("\ud800", "control characters"),
        ("cat " * 2500, "2502 tokens"),
        ("x" * 200_000, "200000 characters"),
        ("cat " * 15, "has 17 tokens with its beginning and end, the text tower takes 16"),
        ([7], "a text, got int"),
    ],
)
def test_a_phrase_that_cannot_be_meant_is_refused(grounder, phrases, words):
    with pytest.raises(PromptError, match=words):
        grounder.ground(IMAGE, phrases)


@pytest.mark.parametrize("phrase", ["😀", "赤い", "ä", "A CAT", "a  cat!", "'s", "½"])
def test_any_script_is_a_phrase(grounder, phrase):
    (embedding,) = grounder.encode_phrases(phrase)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-4)


def test_as_many_tokens_as_there_is_room_for_are_taken(grounder):
    assert grounder.encode_phrases("cat " * 14).shape == (1, 16)


def test_case_and_blanks_say_nothing(grounder):
    one, other, third = grounder.encode_phrases(["The  Red Mug", " the red mug", "a cat"])
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.abs(one - third).max() > 0.01


def test_a_phrase_cannot_be_both(grounder):
    with pytest.raises(PromptError, match="both"):
        grounder.ground(IMAGE, ["a cat"], exclude=["a cat"])


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 1.5}, {"threshold": float("nan")}, {"top_k": 0}, {"nms_iou": -0.1}],
)
def test_numbers_without_meaning_are_refused(grounder, wrong):
    with pytest.raises(ArgumentError):
        grounder.ground(IMAGE, "a cat", **wrong)


def test_another_checkpoints_candidates_are_refused(grounder):
    other = replace(grounder.encode_image(IMAGE), source_sha256="1" * 64)
    with pytest.raises(EmbeddingError, match="another checkpoint"):
        grounder.ground(other, "a cat")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_copy_in_another_process_answers_alike(engine):
    pytest.importorskip("tokenizers")
    grounder = load_grounder(BUNDLE, engine, cache=False, memory="low")
    copy = pickle.loads(pickle.dumps(grounder))
    assert copy.ground(IMAGE, "a cat") == grounder.ground(IMAGE, "a cat")
    assert copy.engine == engine


@pytest.mark.parametrize(
    ("engine", "precision", "fixed"),
    [
        ("openvino", "int8", {}),
        ("openvino", "fp32", {"batch": 1}),
        ("onnxruntime", "int8", {"batch": 1}),
    ],
)
def test_integers_on_openvino_are_opened_for_any_batch_which_takes_less_memory(
    engine, precision, fixed
):
    graph = replace(read_grounding_spec(BUNDLE).graphs[0], precision=precision)
    assert fixed_sizes(graph, engine) == fixed


def test_one_cosine_gives_the_score_that_the_formula_says():
    candidates = Candidates(
        boxes=np.zeros((2, 4), np.float32),
        class_embeds=np.array([[1, 0], [0, 1]], np.float32),
        logit_shift=np.array([-0.5, 0.25], np.float32),
        logit_scale=np.array([2.0, -200.0], np.float32),
        objectness=None,
        original_size=(1, 1),
        source_sha256="0" * 64,
    )
    scores = match(candidates, np.array([[1, 0]], np.float32))
    expected = 1 / (1 + np.exp(-(1 - 0.5) * 3)), 0.5  # ELU + 1 of -200 is nothing
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-6)


def test_padding_is_black_and_boxes_count_it():
    spec = ImageSpec(64, (128.0, 128.0, 128.0), (64.0, 64.0, 64.0), resize="pad_square")
    white = np.full((32, 64, 3), 255, np.uint8)
    made = preprocess(white, spec)
    np.testing.assert_allclose(made[0, :, :32], (255 - 128) / 64)
    np.testing.assert_allclose(made[0, :, 32:], -2)  # not 0, the mean colour
    assert box_scale((32, 64), spec).tolist() == [64] * 4
    stretched = replace(spec, resize="stretch_bicubic")
    assert box_scale((32, 64), stretched).tolist() == [64, 32, 64, 32]
    np.testing.assert_allclose(preprocess(white, stretched), (255 - 128) / 64)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3000, 20)])
def test_the_thinnest_photos_are_shrunk_too(shape):
    made = padded_and_shrunk(np.full(shape, 200, np.uint8), 64)
    assert np.isfinite(made).all()
    assert 0 <= made.min() <= made.max() <= 200.001


def test_a_manifest_comes_back_as_it_was_written():
    spec = read_grounding_spec(BUNDLE)
    text = grounding_manifest_text(spec)
    assert parse_grounding_manifest(text, BUNDLE) == spec


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"kind": "grounding"', '"kind": "poem"', "knows segmentation and grounding"),
        ('"file": "tokenizer.json"', '"file": "../tokenizer.json"', "separator"),
        ('"length": 16', '"length": 0', "length of a phrase"),
        ('"threshold": 0.1', '"threshold": 7', "from 0 to 1"),
        ('"resize": "pad_square"', '"resize": "longest_side"', "resize"),
        ('"role": "text_tower"', '"role": "image_encoder"', "roles"),
        ('"opset": 17', '"opset": 17, "poem": 1', "poem"),
    ],
)
def test_a_manifest_is_checked_at_the_door(old, new, words):
    text = (BUNDLE / "manifest.json").read_text()
    assert old in text
    with pytest.raises(ManifestError, match=words):
        parse_grounding_manifest(text.replace(old, new), BUNDLE)


def test_each_kind_of_bundle_says_which_door_is_its(tmp_path):
    with pytest.raises(ManifestError, match="--grounder"):
        read_spec(BUNDLE)
    with pytest.raises(ManifestError, match="load_grounder"):
        load_model(BUNDLE)
    with pytest.raises(ManifestError, match="makes masks"):
        load_grounder(resolve(None))


def test_a_changed_tokenizer_is_refused(tmp_path):
    for file in BUNDLE.iterdir():
        data = file.read_bytes()
        if file.name == "tokenizer.json":
            data = data.replace(b'"the</w>"', b'"thy</w>"', 1)
        (tmp_path / file.name).write_bytes(data)
    with pytest.raises(ChecksumError, match="tokenizer"):
        load_grounder(tmp_path, cache=False).encode_phrases("a cat")


def test_a_missing_bundle_is_one_line_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match=r"models pull owlvit-base-patch32 --export fp32$"):
        load_grounder("owlvit-base-patch32")
    with pytest.raises(ModelNotFoundError, match=r"--export int8$"):
        load_grounder("owlv2-base-patch16-ensemble-int8")
    with pytest.raises(ModelNotFoundError, match="neither"):
        load_grounder("poem")


def test_a_tokenizer_whose_parts_contradict_each_other_is_one_line(tmp_path):
    pytest.importorskip("tokenizers")
    document = json.loads((BUNDLE / "tokenizer.json").read_text())
    # The library panics at it, which is no Exception.
    document["model"]["continuing_subword_prefix"] = "a" * 40
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="holds no tokenizer"):
        Phrases(path, read_grounding_spec(BUNDLE).tokenizer)


def test_what_is_no_phrase_is_one_line():
    with pytest.raises(PromptError, match="phrases are texts, got int"):
        checked_phrases(7)
