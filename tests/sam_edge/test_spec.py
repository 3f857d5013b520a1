import json
from dataclasses import replace

import pytest

from sam_edge.bundle import check_hashes, manifest_text, read_spec
from sam_edge.errors import ChecksumError, ManifestError
from sam_edge.spec import GraphFile, TensorInfo, sha256_file
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
        (lambda m: m.update(image_size=1000), "image_size"),
        (lambda m: m.update(precision="fp3"), "precision"),
        (lambda m: m.update(pixel_mean=[1, 2]), "pixel_mean"),
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
