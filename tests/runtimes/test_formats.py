"""Reduced number formats: only what the processor has, and what was asked for or an error."""

import numpy as np
import pytest

import sam_edge
from sam_edge_runtimes import FLOAT32, FORMATS, EngineError, formats, formats_of, open_session
from sam_edge_runtimes.errors import ArgumentError
from tests.runtimes.engines import ENGINES

REDUCED = [name for name in FORMATS if name != FLOAT32]


@pytest.fixture
def encoder():
    """The path of the encoder in the box, and an image for it."""
    from sam_edge.zoo import resolve

    directory = resolve(None)
    image = np.random.default_rng(0).standard_normal((1, 3, 384, 384), np.float32)
    return directory / "image_encoder.onnx", {"image": image}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", REDUCED)
def test_a_format_is_computed_in_or_refused(engine, name, encoder):
    path, feeds = encoder
    if name not in formats_of(engine):
        with pytest.raises(EngineError, match=f"{engine} does not compute in {name} on this CPU"):
            open_session(engine, path, compute=name)
        return
    exact = open_session(engine, path).run(feeds)["image_embeddings"]
    session = open_session(engine, path, compute=name)
    first, second = (session.run(feeds)["image_embeddings"] for _ in range(2))
    error = np.linalg.norm(first - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.03  # less would be float32 under another name
    assert np.array_equal(first, second)


@pytest.mark.parametrize("engine", ENGINES)
def test_attention_in_a_reduced_format_is_attention(engine):
    """A decoder attends to hundreds of places, and adds up as many products."""
    from sam_edge.zoo import resolve

    feeds = {
        "image_embeddings": np.random.default_rng(0).normal(0, 0.1, (1, 256, 24, 24)),
        "point_coords": np.array([[[100, 120], [0, 0]]]),
        "point_labels": np.array([[1, -1]]),
        "mask_input": np.zeros((1, 1, 96, 96)),
        "has_mask_input": np.zeros(1),
    }
    feeds = {name: value.astype(np.float32) for name, value in feeds.items()}
    exact, *reduced = (
        open_session(engine, resolve(None) / "prompt_encoder_mask_decoder.onnx", compute=name).run(
            feeds
        )
        for name in formats_of(engine)
    )
    for answer in reduced:
        for name, value in exact.items():
            assert np.linalg.norm(answer[name] - value) / np.linalg.norm(value) < 0.03


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_kept_of_a_graph_is_kept_by_format(engine, encoder, tmp_path):
    path, feeds = encoder
    answers = {
        name: [
            open_session(engine, path, compute=name, cache=tmp_path).run(feeds)["image_embeddings"]
            for _ in range(2)  # compiled, and read from the cache
        ]
        for name in formats_of(engine)
    }
    assert len(list(tmp_path.iterdir())) == len(answers)
    for fresh, kept in answers.values():
        assert np.array_equal(fresh, kept)


def test_a_cpu_without_the_instructions_never_emulates(monkeypatch):
    monkeypatch.setattr(formats, "features_here", lambda: ["AVX2", "AVX512"])
    for engine in ("onnxruntime", "openvino"):
        pytest.importorskip(engine)
        with pytest.raises(EngineError, match="only in float32"):
            sam_edge.load_model(runtime=engine, compute="bfloat16")


def test_the_engine_that_has_the_format_is_named(monkeypatch):
    monkeypatch.setattr(formats, "features_here", lambda: ["AVX2", "AMX-BF16"])
    with pytest.raises(EngineError, match="--runtime openvino"):
        formats.refuse_emulation("onnxruntime", "bfloat16")
    with pytest.raises(ArgumentError, match="float8"):
        formats.refuse_emulation("openvino", "float8")
    formats.refuse_emulation("openvino", "bfloat16")


def test_an_engine_that_takes_another_format_than_told_is_an_error(monkeypatch, encoder):
    """OpenVINO takes bfloat16 where float16 was asked and the CPU lacks it."""
    pytest.importorskip("openvino")
    if "float16" in formats_of("openvino") or "bfloat16" not in formats_of("openvino"):
        pytest.skip("needs a CPU with bfloat16 and without float16 arithmetic")
    monkeypatch.setattr("sam_edge_runtimes.refuse_emulation", lambda *_: None)
    with pytest.raises(EngineError, match="in bf16 here, not in float16"):
        open_session("openvino", encoder[0], compute="float16")
