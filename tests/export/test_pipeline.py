"""From a checkpoint to a bundle: what is written, what is refused, what a crash leaves."""

import json

import numpy as np
import onnx
import pytest
import torch

import sam_edge
from sam_edge.bundle import check_hashes, read_spec
from sam_edge.checkpoints import CheckpointError
from sam_edge.cli import main
from sam_edge.compute import format_name
from sam_edge.prompts import Prompt
from sam_edge.spec import Thresholds
from sam_edge_export import trace
from sam_edge_export.load import load_checkpoint
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.seeded import seeded_state
from sam_edge_runtimes import formats_of
from tests.sam_edge.known import NANO_CHECKPOINT

ENGINES = ("onnxruntime", "openvino")


def test_a_bundle_says_where_it_comes_from(nano_bundle, nano_checkpoint):
    spec = read_spec(nano_bundle)
    check_hashes(nano_bundle, spec)
    assert (spec.variant, spec.image_size, spec.precision) == ("nano", 256, "fp32")
    assert spec.source.file == nano_checkpoint.name
    assert spec.source.random
    assert spec.everything == Thresholds(0.4, 0.3)
    for graph in spec.graphs:
        model = onnx.load(nano_bundle / graph.file)
        properties = {item.key: item.value for item in model.metadata_props}
        assert properties["source_sha256"] == spec.source.sha256
        assert {item.domain for item in model.opset_import} == {""}


def test_graphs_keep_their_dynamic_dimensions(nano_bundle):
    shapes = {
        tensor.name: tensor.shape
        for graph in read_spec(nano_bundle).graphs
        for tensor in graph.inputs
    }
    assert shapes == {
        "image": ("batch", 3, 256, 256),
        "image_embeddings": (1, 256, "grid_height", "grid_width"),
        "point_coords": ("prompts", "points", 2),
        "point_labels": ("prompts", "points"),
        "mask_input": ("masks", 1, "mask_height", "mask_width"),
        "has_mask_input": ("masks",),
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_gives_what_its_prompts_give_alone(nano_bundle, photos, engine):
    model = sam_edge.load_model(nano_bundle, runtime=engine)
    embedding = model.encode_image(photos["landscape"])
    prompts = [
        Prompt.of([(10 * n, 5 * n) for n in range(1, count + 1)]) for count in (1, 1, 2, 3, 5)
    ]
    prompts += [Prompt.of(box=(5, 5, 300, 200)), Prompt.of(mask=np.ones((427, 640), bool))]
    together = model.decode_batch(embedding, prompts)
    for prompt, result in zip(prompts, together, strict=True):
        alone = model.decode_batch(embedding, [prompt])[0]
        assert np.allclose(alone.low_res_logits, result.low_res_logits, atol=1e-3)
        assert np.allclose(alone.scores, result.scores, atol=1e-4)


def test_half_stored_weights_halve_the_files_and_keep_the_masks(tmp_path):
    """On trained weights: random ones have logits about zero, where any rounding turns pixels."""
    results = export_bundle(NANO_CHECKPOINT, tmp_path / "half", image_size=256, precision="fp16")
    whole = export_bundle(NANO_CHECKPOINT, tmp_path / "whole", image_size=256)
    sizes = [
        sum(graph.size_bytes for graph in read_spec(tmp_path / name).graphs)
        for name in ("half", "whole")
    ]
    assert sizes[0] < 0.53 * sizes[1]
    assert {result.engine for result in results} == set(ENGINES)
    assert all(result.equal_pixels >= 0.999 for result in results if not result.compute)
    assert all(result.equal_pixels >= 0.9999 for result in whole if not result.compute)
    # trained weights in every format of this CPU
    assert {(r.engine, format_name(r.compute)) for r in whole} == {
        (engine, name) for engine in ENGINES for name in formats_of(engine)
    }
    assert all(result.mask_iou_mean >= 0.98 for result in (*results, *whole))
    assert read_spec(tmp_path / "half").fidelity[0]["precision"] == "fp16"


def test_a_crash_leaves_no_half_bundle(nano_checkpoint, tmp_path, monkeypatch):
    written = []

    def crash(traceable, path, *arguments, **keywords):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        path.write_bytes(b"half")
        return ()

    monkeypatch.setattr(trace, "write_graph", crash)
    monkeypatch.setattr(trace, "tensor_infos", lambda path: ((), ()))
    with pytest.raises(KeyboardInterrupt):
        export_bundle(nano_checkpoint, tmp_path / "out", image_size=256)
    assert written
    assert list(tmp_path.iterdir()) == []


def test_an_unfaithful_bundle_is_not_written(nano_checkpoint, tmp_path, monkeypatch, capsys):
    real = load_checkpoint

    def other_weights(*arguments):
        sam, notes = real(*arguments)
        encoder = sam.image_encoder
        write = trace.write_graph

        def spoil(traceable, *rest, **keywords):
            # The graphs are right; the reference is changed after they were traced.
            names = write(traceable, *rest, **keywords)
            if traceable.role == "image_encoder":
                with torch.no_grad():
                    encoder.neck_norm.bias.add_(0.5)
            return names

        monkeypatch.setattr(trace, "write_graph", spoil)
        return sam, notes

    monkeypatch.setattr("sam_edge_export.pipeline.load_checkpoint", other_weights)
    code = main(
        ["export", str(nano_checkpoint), "-o", str(tmp_path / "out"), "--image-size", "256"]
    )
    assert code == 1
    assert "does not give the masks of float32 PyTorch" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_verify_measures_and_refuses_another_checkpoint(
    nano_checkpoint, tmp_path, nano_bundle, capsys
):
    import shutil

    bundle = tmp_path / "copy"
    shutil.copytree(nano_bundle, bundle)
    arguments = ["verify", str(bundle), "--checkpoint", str(nano_checkpoint), "--json"]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["faithful"]
    found = read_spec(bundle).fidelity
    assert [entry["engine"] for entry in found if not entry["compute"]] == list(ENGINES)
    assert len(found) == sum(len(formats_of(engine)) for engine in ENGINES)
    other = tmp_path / "other.pth"
    torch.save(seeded_state("nano", 256, 1), other)
    assert main(["verify", str(bundle), "--checkpoint", str(other)]) == 1
    assert "was exported from seeded_nano.pth" in capsys.readouterr().err


def test_an_existing_folder_is_not_overwritten(nano_checkpoint, nano_bundle, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert main(["export", str(nano_checkpoint), "-o", str(tmp_path / "mine")]) == 1
    assert "is not a bundle" in capsys.readouterr().err
    assert main(["export", str(nano_checkpoint), "-o", str(nano_bundle)]) == 1
    assert "--force" in capsys.readouterr().err


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_bad_checkpoints_get_one_line(nano_checkpoint, tmp_path, capsys):
    state = torch.load(nano_checkpoint, weights_only=True)
    (tmp_path / "truncated.pth").write_bytes(nano_checkpoint.read_bytes()[:100_000])
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "foreign.pth")
    torch.save({"evil": Evil()}, tmp_path / "evil.pth")
    missing = dict(state)
    missing.pop("mask_decoder.iou_token.weight")
    torch.save(missing, tmp_path / "missing.pth")
    torch.save(
        {**state, "mask_decoder.mask_tokens.weight": torch.zeros(3, 256)}, tmp_path / "odd.pth"
    )
    expected = {
        "truncated.pth": "truncated or damaged",
        "text.pth": "truncated or damaged",
        "foreign.pth": "found weight",
        "evil.pth": "will not be executed",
        "missing.pth": "mask_decoder.iou_token.weight, which is missing",
        "odd.pth": r"of shape \(4, 256\), found \(3, 256\)",
        "absent.pth": "no such file",
    }
    for name, words in expected.items():
        with pytest.raises(CheckpointError, match=words) as caught:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out.replace("will not be executed", "")


@pytest.mark.parametrize("prefix", ["model.", "module.", "sam_model."])
def test_fine_tuned_files_are_read_under_their_prefix_and_in_half_precision(
    nano_checkpoint, tmp_path, prefix
):
    state = torch.load(nano_checkpoint, weights_only=True)
    half = {f"{prefix}{name}": tensor.half() for name, tensor in state.items()}
    torch.save({"state_dict": half}, tmp_path / "tuned.pth")
    sam, _ = load_checkpoint(tmp_path / "tuned.pth", image_size=256)
    weight = sam.state_dict()["mask_decoder.iou_token.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["mask_decoder.iou_token.weight"].half().float())


@pytest.mark.parametrize("size", [128, 300, 1000])
def test_image_sizes_are_multiples_of_64_from_256(nano_checkpoint, tmp_path, size):
    with pytest.raises(CheckpointError, match="multiple of 64"):
        load_checkpoint(nano_checkpoint, image_size=size)


def test_weights_over_the_protocols_limit_go_into_a_file_beside_the_graph(
    nano_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(trace, "EXTERNAL_DATA_BYTES", 1_000_000)
    monkeypatch.setattr(trace, "LENT_BYTES", 100_000)
    results = export_bundle(nano_checkpoint, tmp_path / "large", image_size=256)
    assert all(result.equal_pixels >= 0.9999 for result in results if not result.compute)
    spec = read_spec(tmp_path / "large")
    check_hashes(tmp_path / "large", spec)
    for graph in spec.graphs:
        assert list(graph.external_data) == [f"{graph.file}.data"]
        assert graph.size_bytes < 1_000_000
        inputs = {tensor.name for tensor in graph.inputs}
        assert inputs <= {
            "image",
            "image_embeddings",
            "point_coords",
            "point_labels",
            "mask_input",
            "has_mask_input",
        }


def test_engines_to_verify_on_can_be_named(nano_checkpoint, tmp_path, capsys):
    arguments = ["export", str(nano_checkpoint), "-o", str(tmp_path / "out"), "--image-size", "256"]
    assert main([*arguments, "--engine", "onnxruntime"]) == 0
    assert [entry["engine"] for entry in read_spec(tmp_path / "out").fidelity] == ["onnxruntime"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--engine", "onnxruntime,tpu"])
    assert caught.value.code == 2
    assert "'tpu' is not an engine; expected onnxruntime" in capsys.readouterr().err
