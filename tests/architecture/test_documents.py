"""The documents know every key that the commands write."""

import dataclasses
import inspect
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from sam_edge import SamAutomaticMaskGenerator, SamPredictor
from sam_edge.cli import main
from sam_edge.registry import Sam
from sam_edge.transform import PromptTransform

DOCS = Path(__file__).parents[2] / "docs"
PHOTO = files("sam_edge") / "assets" / "photos" / "chelsea.jpg"


def documented(page, *sections):
    """Words in backticks of a page's sections."""
    text = (DOCS / page).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    parts = re.split(r"^## `?(.+?)`?$", text, flags=re.MULTILINE)
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True))
    return set(re.findall(r"`([^`]+)`", "".join(bodies[section] for section in sections)))


def keys(tree):
    """Every key of a JSON tree, but for those that are names: of packages, engines, files."""
    if isinstance(tree, list):
        return set().union(*map(keys, tree))
    if isinstance(tree, dict):
        return set(tree).union(*(keys(value) for name, value in tree.items() if name != "exporter"))
    return set()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A photo with everything in it, as ``evaluate`` reads it."""
    folder = tmp_path_factory.mktemp("found")
    photo = folder / "cat.jpg"
    photo.write_bytes(PHOTO.read_bytes())
    command = ["everything", str(photo), "-o", str(folder / "cat.json"), "--points-per-side", "4"]
    assert main(command) == 0
    return folder


def test_every_key_of_segment_is_documented(tmp_path):
    out = tmp_path / "out.json"
    boxes = ["--box", "60,20,420,280", "--box", "1000,1000,1100,1100"]
    photos = [str(PHOTO), str(tmp_path / "absent.jpg")]
    assert main(["segment", *photos, *boxes, "--json", str(out)]) == 1
    shown = json.loads(out.read_text(encoding="utf-8"))
    assert shown["failed"]
    assert keys(shown) - {"photos", "failed"} <= documented(
        "json.md", "segment", "Two shapes that return"
    )


@pytest.mark.parametrize("kind", ["sa1b", "coco", "labelme", "geojson"])
def test_every_key_of_everything_is_documented(tmp_path, kind):
    out = tmp_path / "out.json"
    command = ["everything", str(PHOTO), "-o", str(out), "--format", kind]
    assert main([*command, "--points-per-side", "4"]) == 0
    known = documented("json.md", "everything", "Two shapes that return")
    listed = {word.removesuffix("[]") for word in known} | {"description"}
    assert keys(json.loads(out.read_text(encoding="utf-8"))) <= listed


def test_every_key_of_evaluate_is_documented(found, tmp_path):
    out = tmp_path / "scores.json"
    assert main(["evaluate", "--dataset", "sa1b", str(found), "--json", str(out)]) == 0
    shown = json.loads(out.read_text(encoding="utf-8"))
    assert keys(shown) - {"objects"} <= documented("json.md", "evaluate")


def test_every_key_of_models_list_is_documented(capsys):
    assert main(["models", "list", "--json"]) == 0
    assert keys(json.loads(capsys.readouterr().out)) <= documented("json.md", "models list")


def test_every_key_of_info_and_verify_is_documented(capsys):
    assert main(["info", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    fidelity = manifest.pop("fidelity")
    assert fidelity
    roles = {graph["role"] for graph in manifest["graphs"]}
    entries = keys(fidelity) - roles  # keys of `compute`
    assert entries <= documented("json.md", "verify")
    known = documented("json.md", "info") | documented("bundle.md", "Manifest")
    assert keys(manifest) | {"fidelity"} <= known


def test_every_key_of_doctor_is_documented(capsys):
    assert main(["doctor", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    names = {"packages": {}, "environment": {}, "engines": list(shown["engines"].values())}
    assert keys(shown | names) <= documented("json.md", "doctor")


def test_every_key_of_quantize_is_documented():
    pytest.importorskip("torch")
    from sam_edge_export.quantize.search import Row

    assert {field.name for field in dataclasses.fields(Row)} <= documented("json.md", "quantize")


def test_what_of_the_official_interface_needs_torch_is_documented():
    rows = documented("segment-anything.md", "What needs torch")
    words = set(re.findall(r"\w+", " ".join(rows)))
    assert {*SamPredictor.instead, *Sam.instead, *PromptTransform.instead} <= words


def test_every_key_of_batch_is_documented(tmp_path):
    photos = [str(PHOTO), str(tmp_path / "absent.jpg")]
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,x0,y0,x1,y1\nchelsea.jpg,9,9,99,99\nchelsea.jpg,900,9,999,99\n")
    log, out = tmp_path / "log.jsonl", tmp_path / "out"
    words = ["batch", *photos, "-o", str(out), "--prompts", str(boxes), "--json-log", str(log)]
    words += ["--format", "yolo", "--embeddings", str(tmp_path / "embeddings"), "--processes", "1"]
    assert main(words) == 1
    known = documented("json.md", "batch", "everything", "Two shapes that return")
    known = {word.removesuffix("[]") for word in known} | {"description"}
    graphs = {"image_encoder", "prompt_encoder_mask_decoder"}
    knobs = {*inspect.signature(SamAutomaticMaskGenerator).parameters}
    files = [*out.rglob("*.json"), log, out / "errors.jsonl"]
    assert len(files) == 5
    for path in files:
        text = path.read_text(encoding="utf-8")
        for document in text.splitlines() if path.suffix == ".jsonl" else [text]:
            assert keys(json.loads(document)) - graphs - knobs <= known, path
