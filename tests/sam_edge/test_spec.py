import json
from dataclasses import replace
from pathlib import Path

import pytest

from sam_edge.bundle import check_hashes, manifest_text, parse_manifest, read_spec
from sam_edge.errors import ChecksumError, ManifestError
from sam_edge.spec import GraphFile, ImageSpec, MaskSpec, TensorInfo, Thresholds
from sam_edge_runtimes.graph_file import sha256_file
from tests.sam_edge.known import SPEC


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "image_encoder.onnx").write_bytes(b"graph")
    graph = GraphFile(
        role="image_encoder",
        file="image_encoder.onnx",
        engines=(),
        precision="fp32",
        sha256=sha256_file(tmp_path / "image_encoder.onnx"),
        size_bytes=5,
        external_data={},
        inputs=(TensorInfo("image", "float32", ("batch", 3, 256, 256)),),
        outputs=(TensorInfo("image_embeddings", "float32", ("batch", 256, 16, 16)),),
    )
    spec = replace(SPEC, graphs=(graph,))
    (tmp_path / "manifest.json").write_text(manifest_text(spec))
    return tmp_path, spec


def edit(directory, change):
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_manifest_round_trips(bundle):
    directory, spec = bundle
    assert read_spec(directory) == spec
    check_hashes(directory, spec)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("variant"), "variant"),
        (lambda m: m.pop("graphs"), "graphs"),
        (lambda m: m.update(colour="red"), "colour"),
        (lambda m: m.update(schema=99), "upgrade"),
        (lambda m: m.pop("schema"), "schema"),
        (lambda m: m["image"].update(size=1000), "image size"),
        (lambda m: m.update(precision="fp3"), "precision"),
        (lambda m: m["image"].update(mean=[1, 2]), "mean"),
        (lambda m: m["graphs"][0].pop("sha256"), "sha256"),
        (lambda m: m["graphs"][0].update(odd=1), "odd"),
        (lambda m: m["graphs"][0].update(file="../evil.onnx"), "separator"),
        (lambda m: m["graphs"][0].update(size_bytes=6), "5 bytes"),
        (lambda m: m["graphs"][0].update(file="absent.onnx"), "missing"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(bundle, change, words):
    directory, _ = bundle
    edit(directory, change)
    with pytest.raises(ManifestError, match=words) as caught:
        read_spec(directory)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_bundle_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="sam-edge export"):
        read_spec(tmp_path)


def test_changed_bytes_are_noticed(bundle):
    directory, spec = bundle
    (directory / "image_encoder.onnx").write_bytes(b"grapf")
    with pytest.raises(ChecksumError, match="export or pull"):
        check_hashes(directory, spec)


def test_an_engines_own_file_comes_first(bundle):
    _, spec = bundle
    general = spec.graphs[0]
    own = replace(general, file="image_encoder.openvino.onnx", engines=("openvino",))
    both = replace(spec, graphs=(general, own))
    assert both.graph("image_encoder", "openvino") is own
    assert both.graph("image_encoder", "onnxruntime") is general
    with pytest.raises(ManifestError, match="not for onnxruntime, only for openvino"):
        replace(spec, graphs=(own,)).graph("image_encoder", "onnxruntime")


OLD = {
    "schema": 1,
    "variant": "nano",
    "image_size": 256,
    "pixel_mean": [1.0, 2.0, 3.0],
    "pixel_std": [4.0, 5.0, 6.0],
    "mask_threshold": 0.5,
    "precision": "fp32",
    "decoder": "native",
    "opset": 17,
    "graphs": [],
    "source": {"file": "a.pth", "sha256": "0" * 64, "licence": "MIT"},
    "exporter": {},
    "notes": ["random weights: its masks mean nothing"],
    "frame": "photo",
}


def test_a_manifest_of_schema_1_says_the_same_in_schema_2():
    spec = parse_manifest(json.dumps(OLD), Path("m"))
    assert spec.image == ImageSpec(256, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), "longest_side", "photo")
    assert spec.masks == MaskSpec(0, (1, 2, 3), 4, 0.5, "predicted_iou")
    assert spec.everything == Thresholds(0.4, 0.3)
    assert spec.source.random
    assert parse_manifest(manifest_text(spec), Path("m")) == spec
    large = parse_manifest(json.dumps({**OLD, "variant": "vit_b", "notes": []}), Path("m"))
    assert large.everything == Thresholds(0.88, 0.95)
    assert not large.source.random


@pytest.mark.parametrize("name", [*OLD])
def test_a_manifest_of_schema_1_without_a_field_is_refused_or_read_as_then(name):
    text = json.dumps({key: value for key, value in OLD.items() if key != name})
    if name in ("frame", "notes"):
        parse_manifest(text, Path("m"))
        return
    with pytest.raises(ManifestError, match=name):
        parse_manifest(text, Path("m"))


def test_nothing_of_schema_2_hides_in_schema_1():
    with pytest.raises(ManifestError, match="colour"):
        parse_manifest(json.dumps({**OLD, "colour": "red"}), Path("m"))
