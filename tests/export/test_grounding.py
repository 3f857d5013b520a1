"""Grounding bundles against transformers: equal tokens, pixels, boxes, scores, and then masks."""

import json
import random
import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import textured
from PIL import Image

import sam_edge
from sam_edge.cli.frame import main
from sam_edge.compute import format_name
from sam_edge.engine_choice import measured_seconds
from sam_edge.gates import FidelityError, installed_engines
from sam_edge.grounding import fidelity
from sam_edge.grounding.fidelity import GroundingLimits
from sam_edge.grounding.grounder import match
from sam_edge.grounding.manifest import read_grounding_spec
from sam_edge.grounding.masks import segment_text
from sam_edge.grounding.opening import load_grounder, open_phrases
from sam_edge.grounding.pixels import preprocess
from sam_edge.image import read_image
from sam_edge.masks import decode_rle
from sam_edge.photos import photos_in
from sam_edge_export.grounding.pipeline import export_grounder
from sam_edge_runtimes import formats, formats_of
from tests.runtimes.engines import ENGINES

for package in ("transformers", "tokenizers", "scipy"):
    if find_spec(package) is None:  # importing transformers here would find the stand-ins
        pytest.skip(f"{package} not installed", allow_module_level=True)

import owl  # noqa: E402

STORED_BUNDLE = Path(__file__).parents[1] / "sam_edge" / "grounding" / "bundle"

PHRASES = ["a cat", "the red mug", "people walking in the street"]
SIZES = [(200, 130), (60, 250), (128, 128), (50, 41)]
"""Heights and widths of photos: both ways round, square, smaller than the tower's."""


OWLVIT = {"model_type": "owlvit"}


class Oracle:
    """transformers, from a photo and phrases to boxes and scores."""

    def __init__(self, kind, directory, model):
        tokens = json.loads((directory / "vocab.json").read_text())
        lines = (directory / "merges.txt").read_text().split("\n")[1:-1]
        self.tokenizer = owl.ClipTokenizer(
            vocab=tokens,
            merges=[tuple(line.split()) for line in lines],
            pad_token="!",
            model_max_length=16,
        )
        side = model.config.vision_config.image_size
        self.processor = owl.PROCESSORS[kind](size={"height": side, "width": side})
        self.model = model

    def ids(self, phrases):
        return self.tokenizer(phrases, padding="max_length")["input_ids"]

    def pixels(self, image):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Of an array it would have to guess which axis is the colours.
            return self.processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]

    def __call__(self, image, phrases):
        """Return every box, XYXY in pixels, and its score for every phrase."""
        with torch.inference_mode():
            output = self.model(
                pixel_values=self.pixels(image), input_ids=torch.tensor(self.ids(phrases))
            )
        found = self.processor.post_process_object_detection(
            output, threshold=-1.0, target_sizes=[image.shape[:2]]
        )
        return found[0]["boxes"].numpy(), torch.sigmoid(output.logits)[0].numpy()


@pytest.fixture(scope="session", params=["owlvit", "owlv2"])
def tiny(request, tmp_path_factory):
    """A directory of random weights, its bundle and its oracle."""
    directory = tmp_path_factory.mktemp("hub") / f"tiny-{request.param}"
    directory.mkdir()
    model = owl.owl_directory(request.param, directory, owl.TINY)
    bundle = tmp_path_factory.mktemp("bundles") / request.param
    export_grounder(directory, bundle, verify=False, random_weights=True)
    return directory, bundle, Oracle(request.param, directory, model)


def assert_agrees(oracle, grounder, image, phrases):
    boxes, scores = oracle(image, phrases)
    found = grounder.encode_image(image)
    np.testing.assert_allclose(found.boxes, boxes, atol=0.5)
    mine = match(found, grounder.encode_phrases(phrases))
    np.testing.assert_allclose(mine, scores, atol=1e-3)
    assert scores.std() > 0.01  # there was something to disagree about
    # What a caller gets: each box that passes, by its best phrase, clipped to the photo.
    height, width = image.shape[:2]
    threshold = float(np.quantile(scores.max(axis=1), 0.5))
    passing = scores.max(axis=1) > threshold + 1e-3
    expected = {
        tuple(np.round(np.clip(box, 0, [width, height, width, height])))
        for box, row in zip(boxes[passing], scores[passing], strict=True)
    }
    answers = grounder.ground(found, phrases, threshold=threshold, nms_iou=1, best_phrase=True)
    corners = np.array([[a.box.x0, a.box.y0, a.box.x1, a.box.y1] for a in answers])
    for box in expected:
        if box[0] < box[2] and box[1] < box[3]:
            assert np.abs(corners - np.array(box)).max(axis=1).min() <= 1.0


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_and_scores_are_those_of_transformers_from_the_photo_on(tiny, engine):
    _, bundle, oracle = tiny
    grounder = load_grounder(bundle, engine, cache=False)
    for seed, (height, width) in enumerate(SIZES):
        assert_agrees(oracle, grounder, textured(height, width, seed), PHRASES)


def test_photos_become_the_pixels_of_transformers(tiny):
    _, bundle, oracle = tiny
    spec = read_grounding_spec(bundle).image
    for seed, (height, width) in enumerate([*SIZES, (1, 300), (129, 128), (700, 701)]):
        image = textured(height, width, seed)
        mine, theirs = preprocess(image, spec), oracle.pixels(image).numpy()
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


def test_tokens_are_those_of_transformers_for_a_thousand_phrases(tiny):
    _, bundle, oracle = tiny
    phrases = open_phrases(bundle, read_grounding_spec(bundle))
    rng = random.Random(0)
    words = " ".join(owl.SENTENCES).split()
    alphabet = "aBcé9ß'!?-_/日本😀ςΣ\u0301İ "
    compared = 0
    while compared < 1000:
        text = " ".join(rng.choices(words, k=rng.randint(1, 4)))
        if compared % 3 == 0:
            text += "".join(rng.choices(alphabet, k=rng.randint(1, 3)))
        (theirs,) = oracle.ids([text])
        if len(theirs) > 16:
            with pytest.raises(sam_edge.SamEdgeError, match=f"has {len(theirs)} tokens"):
                phrases.tokens(text)
            continue
        assert phrases.tokens(text).tolist() == theirs, text
        compared += 1


def test_phrases_beside_it_do_not_change_a_phrase(tiny):
    _, bundle, _ = tiny
    grounder = load_grounder(bundle, cache=False)
    alone = grounder.encode_phrases(["the red mug"])
    many = load_grounder(bundle, cache=False).encode_phrases(
        [f"mug {number}" for number in range(20)] + ["the red mug"]
    )
    np.testing.assert_allclose(many[-1], alone[0], atol=1e-6)


def test_masks_are_sams_in_those_boxes(tiny):
    _, bundle, oracle = tiny
    grounder, model = load_grounder(bundle, cache=False), sam_edge.load_model(cache=False)
    photo = photos_in(None)[0]
    boxes, scores = oracle(read_image(photo), ["a cat"])
    best = int(scores[:, 0].argmax())
    masks = segment_text(model, grounder, photo, "a cat", threshold=0.0, top_k=1)
    assert [mask.label for mask in masks] == ["a cat"]
    assert masks[0].box_score == pytest.approx(float(scores[best, 0]), abs=1e-3)
    embedding = model.encode_image(photo)
    height, width = embedding.original_size
    box = np.clip(boxes[best], 0, [width, height, width, height])
    truth = model.decode(embedding, box=box, multimask=False).masks[0]
    mask = decode_rle(masks[0].rle)
    assert (mask == truth).mean() > 0.999


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-weights"])
def test_an_export_proves_itself_and_says_so(tiny, tmp_path, precision, capsys):
    directory, _, _ = tiny
    if (precision == "fp32") != (directory.name == "tiny-owlv2"):
        pytest.skip("of each kind, what the other does not try")
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(textured(90, 120)).save(photos / "one.png")
    output = tmp_path / "bundle"
    call = ["export", str(directory), "-o", str(output), "--precision", precision]
    assert main([*call, "--images", str(photos), "--random-weights"]) == 0
    assert "IoU of the best 10 boxes" in capsys.readouterr().out
    spec = read_grounding_spec(output)
    assert spec.precision == precision
    ways = {(entry["engine"], format_name(entry["compute"])): entry for entry in spec.fidelity}
    assert {*ways} == {(name, kind) for name in installed_engines() for kind in formats_of(name)}
    exact = [entry for (_, name), entry in ways.items() if name == "float32"]
    assert all(entry["score_max_error"] < 0.05 for entry in exact)
    assert len(ways) == 1 or {*measured_seconds(spec)} == {*ways}
    assert main(["info", str(output), "--check"]) == 0
    described = capsys.readouterr().out
    assert "phrases of up to 16 tokens" in described
    assert "random weights: its boxes mean nothing" in described
    assert main(call) == 1
    assert "--force" in capsys.readouterr().err
    # Again, from the checkpoint: the same entries, not more.
    verify = ["verify", str(output), "--checkpoint", str(directory), "--images", str(photos)]
    assert main(verify) == 0
    assert "faithful" in capsys.readouterr().out
    again = read_grounding_spec(output).fidelity
    assert [entry["compute"] for entry in again] == [entry["compute"] for entry in spec.fidelity]


def test_a_format_that_misses_the_gate_does_not_refuse_the_bundle(
    tiny, tmp_path, monkeypatch, capsys
):
    if all(len(formats_of(engine)) == 1 for engine in installed_engines()):
        pytest.skip("this CPU has no other format")
    monkeypatch.setattr(formats, "features_here", lambda: ["AVX512", "AVX512-BF16"])
    directory, _, _ = tiny
    monkeypatch.setattr(fidelity, "FEWER_BITS", GroundingLimits(1e9, 0.0, 0.0))
    output = tmp_path / "bundle"
    assert main(["export", str(directory), "-o", str(output), "--random-weights"]) == 0
    assert "--compute auto will not take bfloat16 on openvino: score_max_error" in (
        capsys.readouterr().err
    )
    ways = [format_name(entry["compute"]) for entry in read_grounding_spec(output).fidelity]
    assert sorted(ways) == ["bfloat16", *["float32"] * len(installed_engines())]


def test_a_grounder_is_verified_with_its_own_checkpoint(tiny, tmp_path, capsys):
    directory, bundle, _ = tiny
    other = tmp_path / "other"
    shutil.copytree(directory, other)
    with (other / "model.safetensors").open("ab") as file:
        file.write(b" ")
    assert main(["verify", str(bundle), "--checkpoint", str(other)]) == 1
    assert f"exported from {directory.name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "config.json",
            {"model_type": "owlvit", "vision_config": {"image_size": 100}},
            "image_size",
        ),
        ("config.json", {"model_type": "owlvit", "text_config": {"hidden_act": "relu"}}, "relu"),
        (
            "config.json",
            {"model_type": "owlvit", "vision_config": {"hidden_size": "x"}},
            "hidden_size",
        ),
        ("config.json", {"model_type": "owlvit"}, "is no owlvit: expected owlvit"),
        ("preprocessor_config.json", {"resample": 0}, "bicubic"),
        ("preprocessor_config.json", {"size": {"height": 64, "width": 64}}, "size"),
        ("preprocessor_config.json", {"do_center_crop": True, "crop_size": 64}, "cut photos"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "three numbers"),
        ("merges.txt", None, "no merges.txt"),
        ("vocab.json", None, "no vocab.json"),
        ("vocab.json", {"a": 0}, "holds no tokenizer"),
        ("model.safetensors", None, "missing"),
    ],
)
def test_a_directory_that_is_none_is_one_line(tiny, tmp_path, capsys, file, content, words):
    directory, _, _ = tiny
    if directory.name != "tiny-owlvit":
        pytest.skip("once is enough")
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    (copy / file).unlink()
    if content is not None:
        (copy / file).write_text(json.dumps(content))
    assert main(["export", str(copy), "-o", str(tmp_path / "bundle"), "--no-verify"]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("flag", ["--variant vit_b", "--image-size 512", "--frame photo"])
def test_what_only_models_of_masks_can_be_asked_is_refused(tiny, tmp_path, capsys, flag):
    directory, _, _ = tiny
    call = ["export", str(directory), "-o", str(tmp_path / "bundle"), *flag.split()]
    assert main(call) == 2
    assert "for models of masks" in capsys.readouterr().err


def test_the_bundle_for_machines_without_torch_is_what_the_exporter_makes(tmp_path):
    """Made by this very export with ``random_weights``; only the tools' versions may differ."""
    directory = tmp_path / "smallest-owlv2"
    directory.mkdir()
    owl.owl_directory("owlv2", directory, owl.SMALLEST)
    export_grounder(directory, tmp_path / "bundle", verify=False, random_weights=True)
    made, kept = (
        load_grounder(bundle, cache=False) for bundle in (tmp_path / "bundle", STORED_BUNDLE)
    )
    image = textured(60, 100)
    np.testing.assert_allclose(
        match(made.encode_image(image), made.encode_phrases(PHRASES)),
        match(kept.encode_image(image), kept.encode_phrases(PHRASES)),
        atol=1e-5,
    )
    for name in ("image", "opset", "tokenizer", "threshold"):
        assert getattr(made.spec, name) == getattr(kept.spec, name)
    shapes = [[(g.role, g.inputs, g.outputs) for g in found.spec.graphs] for found in (made, kept)]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
def test_full_size_agrees_with_transformers_from_the_photo_on(kind, tmp_path):
    """The published B models' sizes, of random weights: 577 and 3601 tokens."""
    directory = tmp_path / kind
    directory.mkdir()
    model = owl.owl_directory(kind, directory, owl.FULL[kind])
    oracle = Oracle(kind, directory, model)
    export_grounder(directory, tmp_path / "bundle", verify=False, random_weights=True)
    image = read_image(photos_in(None)[1])
    for engine in installed_engines():
        assert_agrees(
            oracle, load_grounder(tmp_path / "bundle", engine, cache=False), image, PHRASES
        )


@pytest.mark.slow
def test_integers_are_proved_by_boxes_and_by_speed(tmp_path):
    """Boxes of random weights answer to every rounding: what is tested is that both are asked."""
    directory = tmp_path / "owlvit"
    directory.mkdir()
    owl.owl_directory("owlvit", directory, owl.FULL["owlvit"])
    output = tmp_path / "bundle"
    with pytest.raises(FidelityError, match="box_iou_mean"):
        export_grounder(directory, output, precision="int8", min_iou=0.999, engines=["onnxruntime"])
    assert not output.exists()
    export_grounder(directory, output, precision="int8", min_iou=0.5)
    spec = read_grounding_spec(output)
    for engine in installed_engines():
        assert spec.graph("image_tower", engine).precision == "int8"
        assert spec.quantization["engines"][engine]["speedup_over_fp32"] > 1
