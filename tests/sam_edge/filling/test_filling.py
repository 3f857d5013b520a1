"""Bundles filled with numpy alone: from a file or a server to masks, whole or not at all."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from sam_edge import load_model
from sam_edge.bundle import check_hashes, read_spec
from sam_edge.checkpoints import CheckpointError, open_checkpoint, source_sha256, weights_of
from sam_edge.cli import main
from sam_edge.errors import ArgumentError, SamEdgeError
from sam_edge.filling import bundle as filling
from sam_edge.filling.bundle import fill_bundle
from sam_edge.filling.graph import metadata_field
from sam_edge.filling.template import sizes, templates, weights_needed
from sam_edge.gates import FidelityError, SlowError
from sam_edge.photos import photos_in
from sam_edge.zoo.table import TABLE, named_models
from sam_edge_runtimes.memory import peak_rss
from tests.sam_edge.checkpoints.writers import seeded_weights, write_pth
from tests.sam_edge.known import NANO_CHECKPOINT
from tests.sam_edge.zoo.server import Behaviour, serving

pytestmark = pytest.mark.skipif(
    not NANO_CHECKPOINT.is_file(), reason="needs a checkout: the checkpoint is not in the sdist"
)


def photo():
    return photos_in(None)[0]


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    output = tmp_path_factory.mktemp("filled") / "nano"
    assert fill_bundle(NANO_CHECKPOINT, output) == []
    return output


def test_a_filled_bundle_is_nano(nano):
    check_hashes(nano, read_spec(nano))
    ours, box = load_model(nano), load_model()
    assert ours.spec.everything == box.spec.everything
    answers = (model.decode(model.encode_image(photo()), [(400, 300)]) for model in (ours, box))
    one, other = (answer.masks for answer in answers)
    assert (one == other).mean() > 0.995  # the box stores its weights in 8 bits


def test_the_manifest_says_how_it_was_made_and_claims_no_comparison(nano):
    spec = read_spec(nano)
    assert spec.fidelity == ()
    assert "filled from the exporter's graphs without PyTorch" in spec.notes
    assert spec.source.sha256 == source_sha256(NANO_CHECKPOINT)
    assert spec.opset == 17


@pytest.mark.parametrize("precision", ["fp16", "int8-weights"])
def test_smaller_weights_are_compared_with_float32_on_the_same_engine(precision, tmp_path):
    results = fill_bundle(NANO_CHECKPOINT, tmp_path / "nano", precision=precision)
    spec = read_spec(tmp_path / "nano")
    assert [entry["reference"] for entry in spec.fidelity] == [
        "float32 on the same engine" for _ in results
    ]
    assert all(result.mask_iou_mean > 0.98 for result in results)
    smaller = sum(graph.size_bytes for graph in spec.graphs)
    assert smaller < 0.6 * NANO_CHECKPOINT.stat().st_size * (2 if precision == "fp16" else 1.8)


def test_integers_pass_their_gates_or_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "speedup", lambda *_: 0.5)  # no speed in tests
    with pytest.raises(SlowError, match=r"2\.00 times as long as float32 here"):
        fill_bundle(NANO_CHECKPOINT, tmp_path / "slow", precision="int8")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(filling, "speedup", lambda *_: 1.5)
    with pytest.raises(FidelityError, match="does not give the masks of float32 on the same"):
        fill_bundle(NANO_CHECKPOINT, tmp_path / "wrong", precision="int8", min_iou=0.99999)
    assert not list(tmp_path.iterdir())
    results = fill_bundle(NANO_CHECKPOINT, tmp_path / "int8", precision="int8")
    spec = read_spec(tmp_path / "int8")
    exact = [result.engine for result in results if not result.compute]
    assert exact == list(spec.quantization["engines"])
    for result in results:
        assert result.mask_iou_mean > 0.98
        assert spec.quantization["engines"][result.engine]["speedup_over_fp32"] == 1.5
    engines = {engine for graph in spec.graphs for engine in graph.engines}
    assert engines == set(spec.quantization["engines"])


def test_an_engine_that_fails_is_left_out_and_its_file_too(tmp_path, monkeypatch, caplog):
    both = filling.installed_engines()
    if len(both) < 2:
        pytest.skip("needs both engines")
    monkeypatch.setattr(filling, "speedup", lambda engine, *_: 0.5 if engine == "openvino" else 1.5)
    fill_bundle(NANO_CHECKPOINT, tmp_path / "one", precision="int8")
    spec = read_spec(tmp_path / "one")
    assert list(spec.quantization["engines"]) == ["onnxruntime"]
    assert not (tmp_path / "one" / "image_encoder.openvino.onnx").exists()
    assert "openvino is left out: int8 takes 2.00 times as long" in caplog.text
    with pytest.raises(SlowError):
        fill_bundle(NANO_CHECKPOINT, tmp_path / "two", precision="int8", engines=both)


@pytest.mark.parametrize("variant", ["mobile_sam", "vit_b"])
def test_full_size_checkpoints_in_the_official_format(variant, tmp_path):
    shapes = weights_needed(templates(variant, 512))
    write_pth(tmp_path / "x.pth", seeded_weights(shapes, 3))
    fill_bundle(tmp_path / "x.pth", tmp_path / "x", image_size=512, random_weights=True)
    model = load_model(tmp_path / "x")
    embedding = model.encode_image(photo())
    assert (model.spec.variant, model.spec.image_size) == (variant, 512)
    answer = model.decode(embedding, [(400, 300)])
    assert np.isfinite(answer.scores).all()
    assert model.spec.source.random


def test_another_image_size_resamples_the_position_tables(tmp_path):
    small, large = (weights_needed(templates("vit_b", size)) for size in (512, 1024))
    changed = {name for name, shape in small.items() if large[name] != shape}
    assert "image_encoder.pos_embed" in changed
    path = write_pth(tmp_path / "x.pth", seeded_weights(small, 0))
    weights = weights_of(open_checkpoint(path, image_size=1024), large)
    assert weights["image_encoder.pos_embed"].shape == (1, 64, 64, 768)
    assert weights["image_encoder.blocks.2.attn.rel_pos_h"].shape == (127, 64)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image_size": 448}, SamEdgeError, r"nano at 448 px needs the exporter.*384, 512 px"),
        ({"precision": "fp8"}, ArgumentError, "expected one of fp32, fp16"),
        ({"precision": "int8", "verify": False}, ArgumentError, "--min-iou 0"),
        ({"variant": "vit_b", "image_size": 512}, CheckpointError, "safetensors is no vit_b"),
    ],
)
def test_one_line_says_what_cannot_be(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        fill_bundle(NANO_CHECKPOINT, tmp_path / "x", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_weight_that_is_not_finite_leaves_nothing(tmp_path):
    weights = seeded_weights(weights_needed(templates("nano", 384)), 0)
    weights["mask_decoder.iou_token.weight"][0, 3] = np.inf
    path = write_pth(tmp_path / "x.pth", weights)
    with pytest.raises(CheckpointError, match=r"iou_token\.weight holds infinities"):
        fill_bundle(path, tmp_path / "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.pth"]


def test_too_full_a_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = filling.shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(filling.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SamEdgeError, match=r"needs 30 MB of disk .* has 1 MB"):
        fill_bundle(NANO_CHECKPOINT, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(peak_rss() is None, reason="the system does not tell")
def test_filling_holds_one_tensor_at_a_time(tmp_path):
    """MobileSAM: 40 MB of weights, of which a mapped file's pages count as well."""
    shapes = weights_needed(templates("mobile_sam", 1024))
    path = write_pth(tmp_path / "x.pth", seeded_weights(shapes, 0))
    script = (
        "import sys; from pathlib import Path; from sam_edge.filling.bundle import fill_bundle\n"
        "from sam_edge_runtimes.memory import peak_rss\n"
        "fill_bundle(Path(sys.argv[1]), Path(sys.argv[2])); print(peak_rss())"
    )
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 90e6


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
def test_killed_at_any_moment_leaves_no_half_bundle(tmp_path):
    script = (
        "import sys; from pathlib import Path; from sam_edge.filling.bundle import fill_bundle\n"
        "fill_bundle(Path(sys.argv[1]), Path(sys.argv[2]), precision='int8-weights',"
        " progress=lambda what: print(what, flush=True))"
    )
    output = tmp_path / "nano"
    for wanted in ("needs", "filling image_encoder in int8-weights: 4", "float32 on the same"):
        command = [sys.executable, "-c", script, str(NANO_CHECKPOINT), str(output)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert any(line.startswith(wanted) for line in child.stdout)
            child.send_signal(signal.SIGKILL)
        assert not output.exists()
    fill_bundle(NANO_CHECKPOINT, output)  # what they left is in nobody's way
    assert [entry.name for entry in tmp_path.iterdir()] == ["nano"]


def test_the_filled_file_ends_as_protocol_buffers_do():
    assert metadata_field({"a": "b"}) == b"\x72\x06\x0a\x01a\x12\x01b"
    long = metadata_field({"k": "v" * 200})
    assert long.startswith(b"\x72\xce\x01\x0a\x01k\x12\xc8\x01v")


def test_templates_know_their_sizes():
    assert set(sizes()) == set(named_models())
    for variant, found in sizes().items():
        assert named_models()[variant].image_size in found


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """nano under another name, on a server."""
    rows = json.loads(TABLE.read_bytes())
    rows["remote"] = {
        **rows["nano"],
        "title": "nano by another name",
        "url": "http://127.0.0.1:9/nano.safetensors",
        "size": NANO_CHECKPOINT.stat().st_size,
        "sha256": source_sha256(NANO_CHECKPOINT),
    }
    (tmp_path / "models.json").write_text(json.dumps(rows))
    monkeypatch.setattr("sam_edge.zoo.table.TABLE", tmp_path / "models.json")
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    named_models.cache_clear()
    with serving(Behaviour(NANO_CHECKPOINT.read_bytes())) as address:
        monkeypatch.setenv("SAM_EDGE_MIRROR", address)
        yield tmp_path / "cache" / "bundles"
    named_models.cache_clear()


def test_pull_makes_a_name_that_segments(remote, tmp_path, monkeypatch, capsys):
    assert main(["models", "pull", "remote", "--precision", "fp32"]) == 0
    assert capsys.readouterr().out.strip() == str(remote / "remote-fp32")
    words = ["segment", str(photo()), "-m", "remote", "--point", "400,300"]
    assert main([*words, "-o", str(tmp_path / "mask.png")]) == 0
    assert (tmp_path / "mask.png").exists()
    # Offline from here on, and nothing is made twice
    monkeypatch.setenv("SAM_EDGE_MIRROR", "http://127.0.0.1:9")
    before = (remote / "remote-fp32").stat().st_mtime_ns
    assert main(["models", "pull", "remote", "--precision", "fp32"]) == 0
    assert (remote / "remote-fp32").stat().st_mtime_ns == before


def test_pull_takes_int8_where_it_passes_and_says_so(remote, monkeypatch, capsys):
    monkeypatch.setattr(filling, "speedup", lambda *_: 1.5)
    assert main(["models", "pull", "remote"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(remote / "remote-int8")
    assert "its masks and its speed were compared with float32's here and passed" in said.err


def test_pull_takes_float32_where_int8_is_slow_and_says_so(remote, monkeypatch, capsys):
    monkeypatch.setattr(filling, "speedup", lambda *_: 0.5)
    assert main(["models", "pull", "remote"]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(remote / "remote-fp32")
    assert "int8 takes 2.00 times as long as float32 here" in said.err
    assert "so it is float32" in said.err


def test_a_model_is_pulled_when_it_is_asked_for(remote, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(filling, "speedup", lambda *_: 0.5)
    words = ["segment", str(photo()), "--point", "400,300", "-o", str(tmp_path / "mask.png")]
    assert main([*words, "-m", "remote"]) == 1
    assert "get it with: sam-edge models pull remote" in capsys.readouterr().err
    assert main([*words, "-m", "remote-fp16-512", "--pull"]) == 0
    assert [entry.name for entry in remote.iterdir()] == ["remote-fp16-512"]
    monkeypatch.setenv("SAM_EDGE_PULL", "1")
    assert main([*words, "-m", "remote-fp32"]) == 0
    assert (remote / "remote-fp32").is_dir()


def test_a_real_size_from_its_official_name_to_a_mask(tmp_path, monkeypatch, capsys):
    """MobileSAM in the official format, seeded, under the zoo's own name and a hash of its own."""
    shapes = weights_needed(templates("mobile_sam", 1024))
    served = write_pth(tmp_path / "mobile_sam.pt", seeded_weights(shapes, 0))
    rows = json.loads(TABLE.read_bytes())
    rows["mobile_sam"] |= {"size": served.stat().st_size, "sha256": source_sha256(served)}
    (tmp_path / "models.json").write_text(json.dumps(rows))
    monkeypatch.setattr("sam_edge.zoo.table.TABLE", tmp_path / "models.json")
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path / "cache"))
    named_models.cache_clear()
    try:
        with serving(Behaviour(served.read_bytes(), cut_after=15_000_000)) as address:
            monkeypatch.setenv("SAM_EDGE_MIRROR", address)
            words = ["models", "pull", "mobile_sam", "--precision", "fp32", "--image-size", "512"]
            assert main(words) == 0
        mask = tmp_path / "mask.png"
        segment = ["segment", str(photo()), "-m", "mobile_sam-fp32-512", "--point", "400,300"]
        assert main([*segment, "-o", str(mask)]) == 0
        assert mask.exists()
        capsys.readouterr()
        assert main(["models", "list", "--json"]) == 0
        listed = {row["name"]: row["bundles"] for row in json.loads(capsys.readouterr().out)}
        assert listed["mobile_sam"] == ["fp32-512"]
    finally:
        named_models.cache_clear()


def test_export_fills_where_torch_is_not_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sam_edge_export.cli._missing_package", lambda: "torch")
    words = ["export", str(NANO_CHECKPOINT), "-o", str(tmp_path / "nano")]
    for flags, refused in (
        (["--frame", "photo"], "--frame photo needs torch"),
        (["--decoder", "official"], "--decoder official needs torch"),
        (["--precision", "int8", "--calibration", "photos"], "--calibration needs torch"),
        (["--image-size", "640"], "nano at 640 px needs the exporter (without it: 384, 512 px)"),
    ):
        assert main([*words, *flags]) == 1
        assert refused in capsys.readouterr().err
    assert main(words) == 0
    said = capsys.readouterr()
    assert "torch is not installed: the exporter's own graphs are filled" in said.err
    assert "nano is written" in said.out
    assert load_model(tmp_path / "nano").spec.variant == "nano"


def test_the_checkpoint_alone(remote, capsys):
    assert main(["models", "pull", "remote", "--checkpoint"]) == 0
    path = capsys.readouterr().out.strip()
    assert path.endswith("nano.safetensors")
    assert not remote.exists()
