"""A bundle from a stranger: nothing is deleted, nothing is believed, nothing is shown unchecked."""

import json
import pickle
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import sam_edge
from sam_edge.bundle import checked_digest, parse_manifest, read_spec
from sam_edge.cli import main
from sam_edge.errors import ChecksumError, ManifestError, SamEdgeError
from tests.runtimes.protobuf import field
from tests.sam_edge.known import INSTALLED

BOX = Path(str(files("sam_edge") / "assets" / "nano"))
PHOTO = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture
def bundle(tmp_path):
    """A copy of the box, to be spoiled."""
    return Path(shutil.copytree(BOX, tmp_path / "bundle"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def edit(bundle, change):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def answer(model):
    return model.decode(model.encode_image(PHOTO), points=[(40, 40)]).low_res_logits


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("digest", ["absolute", "..", "", "../../victim", "A" * 64, None, 7])
def test_no_digest_of_a_manifest_becomes_a_path(bundle, cache, tmp_path, engine, digest):
    victim = tmp_path / "victim"
    kept = victim / f"{engine}-of-somebody" / "work.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("years of it")
    value = str(victim) if digest == "absolute" else digest

    def change(manifest):
        for graph in manifest["graphs"]:
            graph["sha256"] = value

    edit(bundle, change)
    with pytest.raises(ManifestError, match="64 hexadecimal digits"):
        answer(sam_edge.load_model(bundle, engine))
    assert [path.name for path in victim.iterdir()] == [f"{engine}-of-somebody"]
    assert kept.read_text() == "years of it"


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_changed_graph_under_anothers_hash_is_refused_and_poisons_nothing(bundle, cache, engine):
    name = "prompt_encoder_mask_decoder.onnx"
    honest = (bundle / name).read_bytes()
    spoiled = bytearray(honest)
    for place in range(100_000, len(spoiled) - 100_000, 10_000):
        spoiled[place] ^= 0x10
    (bundle / name).write_bytes(spoiled)
    model = sam_edge.load_model(bundle, engine)
    embedding = model.encode_image(PHOTO)
    with pytest.raises(ChecksumError, match=f"{name} has sha256"):
        model.decode(embedding, points=[(40, 40)])
    (bundle / name).write_bytes(honest)
    repaired = answer(sam_edge.load_model(bundle, engine))
    box = answer(sam_edge.load_model(runtime=engine, cache=False))
    np.testing.assert_allclose(repaired, box, atol=1e-3)


def test_what_a_graph_reads_beside_itself_must_be_listed(bundle, capsys):
    path = bundle / "prompt_encoder_mask_decoder.onnx"
    (bundle / "more.data").write_bytes(bytes(4000))
    # One more initializer: 1000 floats that lie outside. Parts of a message that follow are merged.
    location = field(13, field(1, "location") + field(2, "more.data"))
    extra = field(1, 1000) + field(2, 1) + field(8, "extra") + location + field(14, 1)
    with path.open("ab") as file:
        file.write(field(7, field(5, extra)))

    def promise(manifest):
        from sam_edge_runtimes.graph_file import sha256_file

        (entry,) = (item for item in manifest["graphs"] if item["file"] == path.name)
        entry.update(sha256=sha256_file(path), size_bytes=path.stat().st_size)
        return entry

    edit(bundle, promise)
    assert main(["info", str(bundle), "--check"]) == 1
    assert "disagree on its external data 'more.data'" in capsys.readouterr().err

    def list_it(manifest):
        from sam_edge_runtimes.graph_file import sha256_file

        entry = promise(manifest)
        entry["external_data"] = {"more.data": sha256_file(bundle / "more.data")}

    edit(bundle, list_it)
    assert main(["info", str(bundle), "--check"]) == 0
    spec = read_spec(bundle)
    (graph,) = (item for item in spec.graphs if item.file == path.name)
    before = checked_digest(bundle, graph)
    spoiled = bytearray((bundle / "more.data").read_bytes())
    spoiled[1000] ^= 1
    (bundle / "more.data").write_bytes(spoiled)
    with pytest.raises(ChecksumError, match=r"more\.data"):
        checked_digest(bundle, graph)
    edit(bundle, list_it)  # an honest bundle with equal .onnx and other weights: another digest
    (graph,) = (item for item in read_spec(bundle).graphs if item.file == path.name)
    assert checked_digest(bundle, graph) != before


def test_a_graphs_digest_is_of_all_that_lies_beside_it(bundle):
    from sam_edge_runtimes.graph_file import sha256_file

    path = bundle / "prompt_encoder_mask_decoder.onnx"
    names = ["one.data", "two.data"]
    for name in names:
        (bundle / name).write_bytes(bytes(4000))
        location = field(13, field(1, "location") + field(2, name))
        extra = field(1, 1000) + field(2, 1) + field(8, name) + location + field(14, 1)
        with path.open("ab") as file:
            file.write(field(7, field(5, extra)))

    def list_them(manifest):
        (entry,) = (item for item in manifest["graphs"] if item["file"] == path.name)
        entry.update(sha256=sha256_file(path), size_bytes=path.stat().st_size)
        entry["external_data"] = {name: sha256_file(bundle / name) for name in names}

    def digest():
        edit(bundle, list_them)
        (graph,) = (item for item in read_spec(bundle).graphs if item.file == path.name)
        return checked_digest(bundle, graph)

    found = {digest()}
    for name in names:
        (bundle / name).write_bytes(b"1" * 4000)
        found.add(digest())
    assert len(found) == 3


def put(*where):
    """Return a change of a manifest: the last of ``where`` at the place of the others."""
    *keys, last, value = where

    def change(manifest):
        for key in keys:
            manifest = manifest[key]
        manifest[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("image", "std", [58.4, 0, 57.4]),
        put("image", "std", [58.4, -1, 57.4]),
        put("image", "std", "abc"),
        put("image", "mean", [True, 1, 1]),
        put("image", "mean", {"a": 1, "b": 2, "c": 3}),
        put("masks", "threshold", None),
        put("masks", "threshold", "0"),
        put("masks", "candidates", []),
        put("masks", "candidates", [1, -1]),
        put("masks", "candidates", "123"),
        put("masks", "single", True),
        put("masks", "stride", 0),
        put("masks", "stride", 7),
        put("masks", "score", 3),
        put("masks", "colour", "red"),
        put("masks", None),
        put("embeddings", []),
        put("embeddings", [{"name": "other", "channels": 1, "stride": 16}]),
        put("embeddings", 0, "channels", 10**6),
        put("embeddings", 0, "stride", "16"),
        put("everything", "pred_iou_thresh", None),
        put("everything", []),
        put("image", "resize", "crop"),
        put("image", None),
        put("source", "random", 1),
        put("image", "size", 64_000_000),
        put("image", "size", True),
        put("image", "size", 384.0),
        put("opset", "17"),
        put("variant", ["nano"]),
        put("variant", "na\u001b[2Jno"),
        put("notes", "random"),
        put("notes", [1]),
        put("notes", ["two\nlines"]),
        put("source", "licence", 7),
        put("source", "sha256", "../.."),
        put("source", "file", "x\u202egnp.onnx"),
        put("source", None),
        put("exporter", ["torch"]),
        put("exporter", {"torch": 2}),
        put("quantization", [8]),
        put("fidelity", {"engine": "x"}),
        put("fidelity", [None]),
        put("fidelity", [{"mean": 1}]),
        put("graphs", None),
        put("graphs", "abc"),
        put("graphs", [None]),
        put("graphs", 0, "engines", "onnxruntime"),
        put("graphs", 0, "engines", ["../x"]),
        put("graphs", 0, "role", None),
        put("graphs", 0, "precision", "fp8"),
        put("graphs", 0, "file", "C:graph.onnx"),
        put("graphs", 0, "file", "a\\b.onnx"),
        put("graphs", 0, "file", "/etc/passwd"),
        put("graphs", 0, "file", "graph.xml"),
        put("graphs", 0, "file", "manifest.json"),
        put("graphs", 0, "file", "a" * 300 + ".onnx"),
        put("graphs", 0, "file", "a\0.onnx"),
        put("graphs", 0, "file", 3),
        put("graphs", 0, "size_bytes", "6182787"),
        put("graphs", 0, "size_bytes", -1),
        put("graphs", 0, "external_data", ["x"]),
        put("graphs", 0, "external_data", {"../x": "0" * 64}),
        put("graphs", 0, "external_data", {"x": "../../.."}),
        put("graphs", 0, "inputs", "abc"),
        put("graphs", 0, "inputs", [{"name": 1, "dtype": "float32", "shape": []}]),
        put("graphs", 0, "inputs", [{"name": "x", "dtype": "float32", "shape": [None]}]),
        put("schema", True),
        put("schema", 1.0),
    ],
)
def test_every_field_of_a_manifest_is_checked_at_the_door(bundle, change):
    edit(bundle, change)
    with pytest.raises(ManifestError, match=r"manifest\.json") as caught:
        sam_edge.load_model(bundle)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"schema": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"schema": 1' + "0" * 5000 + "}",
        '{"schema": 1, "image_size": 1e999}',
        '{"schema": NaN}',
        "null",
        "[]",
        "1",
        b"\xff\xfe\x00",
        b"\x80abc",
        "",
    ],
    ids=range(11),
)
def test_a_manifest_that_is_no_json_object_is_one_line(text):
    with pytest.raises(ManifestError, match=r"manifest\.json") as caught:
        parse_manifest(text, Path("manifest.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-le"])
def test_a_manifest_in_another_of_jsons_encodings_reads(bundle, encoding):
    path = bundle / "manifest.json"
    path.write_bytes(path.read_text().encode(encoding))
    assert read_spec(bundle) == read_spec(BOX)


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("damage", ["cut", "zeros", "text"])
def test_a_mutated_graph_of_a_true_hash_is_one_line(bundle, engine, damage):
    from sam_edge_runtimes.graph_file import sha256_file

    path = bundle / "image_encoder.onnx"
    data = path.read_bytes()
    spoiled = {"cut": data[:10_000], "zeros": bytes(5000) + data[5000:], "text": b"hello " * 99}
    path.write_bytes(spoiled[damage])

    def promise(manifest):
        (entry,) = (item for item in manifest["graphs"] if item["file"] == path.name)
        entry.update(sha256=sha256_file(path), size_bytes=path.stat().st_size)

    edit(bundle, promise)
    model = sam_edge.load_model(bundle, engine)
    with pytest.raises(SamEdgeError, match=r"image_encoder\.onnx") as caught:
        model.encode_image(PHOTO)
    assert "\n" not in str(caught.value)


def test_a_bundle_for_the_official_clients_is_refused_at_once(bundle):
    edit(bundle, put("decoder", "official"))
    with pytest.raises(ManifestError, match="--decoder native"):
        sam_edge.load_model(bundle)


@pytest.mark.parametrize("engine", INSTALLED)
def test_a_model_pickles_for_a_pool_of_workers(bundle, engine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    model = sam_edge.load_model("bundle", engine, threads=1, memory="low", cache=False)
    expected = answer(model)
    packed = pickle.dumps(model)
    assert len(packed) < 1000  # by its bundle's name, not by its weights
    monkeypatch.chdir("/")
    copy = pickle.loads(packed)
    assert copy.engine == engine
    np.testing.assert_array_equal(answer(copy), expected)


def test_a_model_made_of_sessions_says_why_it_does_not_pickle():
    model = sam_edge.Model(read_spec(BOX), {}, "fake")
    with pytest.raises(pickle.PicklingError, match="load_model opened"):
        pickle.dumps(model)
