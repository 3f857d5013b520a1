"""How a bundle's graphs are opened, and how its model speaks to them: what an engine is told."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sam_edge
from sam_edge import loading
from sam_edge.errors import ManifestError
from sam_edge.image import input_shape, photo_sha256, preprocess, read_image, to_encoder_frame
from sam_edge.loading import graph_opener
from sam_edge.prompts import Prompt, mask_logits
from sam_edge.spec import (
    IMAGE_ENCODER,
    PROMPT_ENCODER_MASK_DECODER,
    EmbeddingSpec,
    GraphFile,
    ImageSpec,
    MaskSpec,
    TensorInfo,
)
from sam_edge_runtimes import EngineError, ShapedSession
from sam_edge_runtimes.fake import FakeSession
from sam_edge_runtimes.held import HeldSession
from tests.runtimes.engines import ENGINES
from tests.sam_edge.known import SPEC, model_of

MEMORIES = ("normal", "low")

BATCH = ("batch", 3, "height", "width")


def graph(role, engines=(), file=None):
    inputs = (TensorInfo("image", "float32", BATCH),)
    return GraphFile(role, file or f"{role}.onnx", engines, "fp32", "0" * 64, 9, {}, inputs, ())


TWO = replace(SPEC, graphs=(graph(IMAGE_ENCODER), graph(PROMPT_ENCODER_MASK_DECODER)))


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Every call of the engine's door, in the place of opening a graph."""
    calls = []

    class Graph(FakeSession):
        inputs, outputs = ("image",), {}

    def open_session(engine, path, **arguments):
        calls.append((engine, path, arguments))
        return Graph(lambda feeds: {"answer": feeds["image"]})

    monkeypatch.setattr(loading, "open_session", open_session)
    monkeypatch.setattr(
        loading, "checked_digest", lambda directory, graph: f"digest of {graph.role}"
    )
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    return calls


FIXED = {"batch": 1, "grid_height": 16, "grid_width": 16, "mask_height": 64, "mask_width": 64}


WAYS = [(IMAGE_ENCODER, False), (PROMPT_ENCODER_MASK_DECODER, True)]
"""A role, and whether memory is low. The decoder is opened in two parts where it is not."""


@pytest.mark.parametrize(("role", "low"), WAYS)
def test_an_engine_is_told_shapes_sizes_threads_and_where_to_keep_what_it_makes(opened, role, low):
    opener = graph_opener(Path("here"), TWO, role, "openvino", 3, shrink=low)
    assert opened == []
    opener()
    opener()
    (engine, path, told), again = opened
    assert (engine, path, told) == again
    assert (engine, path) == ("openvino", Path("here") / f"{role}.onnx")
    assert told.pop("cache").name == f"digest of {role}"
    assert told == {
        "threads": 3,
        "compute": "float32",
        "input_shapes": {"image": BATCH},
        "fixed": FIXED,
        "pack_weights": role == PROMPT_ENCODER_MASK_DECODER,
        "shrink": low,
        "content": None,
    }


def test_a_decoder_is_opened_in_two_parts_that_are_kept_apart(opened):
    graph_opener(Path("here"), TWO, PROMPT_ENCODER_MASK_DECODER, "openvino", 3)()
    kept = [told.pop("cache").name for _, _, told in opened]
    assert len({*kept, f"digest of {PROMPT_ENCODER_MASK_DECODER}"}) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", name) for name in kept)
    contents = [told.pop("content") for _, _, told in opened]
    assert all(callable(content) for content in contents)
    first, second = (told for _, _, told in opened)
    assert first == second
    assert first["pack_weights"] is True
    assert first["shrink"] is False
    again = graph_opener(Path("here"), TWO, PROMPT_ENCODER_MASK_DECODER, "openvino", 3)
    again()
    assert [told["cache"].name for _, _, told in opened[2:]] == kept


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mask", [False, True])
def test_a_decoder_in_parts_answers_as_the_whole_one_does(engine, mask):
    model, low = (sam_edge.load_model(runtime=engine, memory=memory) for memory in MEMORIES)
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (60, 80, 3), np.uint8) for _ in range(2)]
    embeddings = [model.encode_image(photo) for photo in photos]
    side = model.spec.low_res_size
    for embedding in (*embeddings, *embeddings):
        for prompts in (1, 1, 3):
            asked = (
                embedding,
                rng.uniform(0, 300, (prompts, 2, 2)).astype(np.float32),
                np.array([[1, -1]] * prompts, np.float32),
                rng.normal(0, 5, (prompts, 1, side, side)).astype(np.float32) if mask else None,
            )
            for one, other in zip(
                model.decode_tensors(*asked), low.decode_tensors(*asked), strict=True
            ):
                np.testing.assert_allclose(one, other, atol=1e-4)
    opened = {
        memory: type(one.sessions[PROMPT_ENCODER_MASK_DECODER]._session)
        for memory, one in zip(MEMORIES, (model, low), strict=True)
    }
    assert opened["normal"] is HeldSession
    assert opened["low"] is not HeldSession


def test_without_a_cache_nothing_is_kept(opened):
    graph_opener(Path("here"), TWO, IMAGE_ENCODER, "openvino", None, cache=False)()
    assert opened[0][2]["cache"] is None
    assert opened[0][2]["threads"] is None
    assert opened[0][2]["shrink"] is False


@pytest.mark.parametrize(("memory", "shrinks"), [("low", True), ("normal", False)])
def test_low_memory_gives_working_memory_back(opened, memory, shrinks):
    model = sam_edge.load_model(runtime="onnxruntime", memory=memory)
    for session in model.sessions.values():
        session.run({"image": np.zeros(1, np.float32)})
    assert {told["shrink"] for _, _, told in opened} == {shrinks}


def test_bytes_are_compared_once_however_often_a_graph_is_opened(opened, monkeypatch):
    looked = []
    monkeypatch.setattr(loading, "checked_digest", lambda *_: looked.append(1) or "digest")
    opener = graph_opener(Path("here"), TWO, IMAGE_ENCODER, "openvino", None)
    assert looked == []
    opener()
    opener()
    assert looked == [1]


def test_an_encoder_of_photos_of_many_shapes_is_opened_by_shape(opened):
    spec = replace(TWO, image=replace(SPEC.image, frame="photo"))
    session = graph_opener(Path("here"), spec, IMAGE_ENCODER, "openvino", None)()
    assert isinstance(session, ShapedSession)
    for height, width in ((256, 192), (192, 256), (256, 192), (128, 256)):
        session.run({"image": np.zeros((1, 3, height, width), np.float32)})
    sizes = [told["fixed"] for _, _, told in opened]
    assert sizes == [
        FIXED | {"height": 256, "width": 192},
        FIXED | {"height": 192, "width": 256},
        FIXED,
    ]
    decoder = graph_opener(Path("here"), spec, PROMPT_ENCODER_MASK_DECODER, "openvino", None)()
    assert isinstance(decoder, HeldSession)


def test_an_engine_gets_its_own_file_where_there_is_one(opened):
    graphs = (
        graph(IMAGE_ENCODER),
        graph(IMAGE_ENCODER, ("openvino",), "own.onnx"),
        graph(PROMPT_ENCODER_MASK_DECODER, ("onnxruntime",)),
    )
    spec = replace(SPEC, graphs=graphs)
    assert spec.graph(IMAGE_ENCODER, "openvino").file == "own.onnx"
    assert spec.graph(IMAGE_ENCODER, "onnxruntime").file == "image_encoder.onnx"
    with pytest.raises(ManifestError, match=r"not for openvino, only for onnxruntime"):
        graph_opener(Path("here"), spec, PROMPT_ENCODER_MASK_DECODER, "openvino", None)
    with pytest.raises(ManifestError, match="only for nothing"):
        spec.graph("memory_attention", "openvino")
    assert spec.runs_on("onnxruntime")
    assert not spec.runs_on("openvino")
    assert TWO.runs_on("openvino")


@pytest.mark.parametrize(("bits", "saturates"), [(8, True), (8, False), (7, True), (None, True)])
def test_eight_bit_products_are_refused_only_where_they_would_saturate(
    monkeypatch, bits, saturates
):
    recipe = None if bits is None else {"weight_bits": bits}
    monkeypatch.setattr(loading, "saturates_here", lambda: saturates)
    spec = replace(SPEC, quantization=recipe)
    if bits == 8 and saturates:
        with pytest.raises(EngineError, match="VNNI"):
            loading.check_products(spec)
    else:
        loading.check_products(spec)


def test_a_decoder_for_other_clients_is_refused(monkeypatch):
    monkeypatch.setattr(loading, "read_spec", lambda directory: replace(TWO, decoder="official"))
    with pytest.raises(ManifestError, match="official decoder"):
        sam_edge.load_model()


def test_it_is_said_what_runs_on_what(caplog):
    with caplog.at_level(logging.INFO, "sam_edge"):
        model = sam_edge.load_model(threads=1)
    assert f"nano runs on {model.engine}" in caplog.text


# --- what the model makes of a photo and of prompts ---

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 100, 3), dtype=np.uint8)


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    count = len(feeds["point_labels"])
    masks = np.ones((count, 4, 64, 64), np.float32) * np.arange(-1, 3)[:, None, None]
    scores = np.tile(np.arange(4, dtype=np.float32), (count, 1))
    return {"low_res_masks": masks.astype(np.float32), "iou_predictions": scores}


def test_an_embedding_says_where_it_comes_from():
    spec = replace(SPEC, precision="fp16", source=replace(SPEC.source, sha256="a" * 64))
    embedding = model_of(encode, decode, spec).encode_image(PHOTO)
    assert (embedding.original_size, embedding.input_size) == ((60, 100), (154, 256))
    assert embedding.key == (photo_sha256(PHOTO), "a" * 64, 256)
    assert (embedding.engine, embedding.precision, embedding.frame) == ("fake", "fp16", "square")
    assert list(embedding.features) == ["image_embeddings"]


def test_a_photos_name_depends_on_its_pixels_and_its_shape():
    names = {photo_sha256(each) for each in (PHOTO, PHOTO + 1, PHOTO.reshape(100, 60, 3))}
    assert len(names) == 3
    assert photo_sha256(np.asfortranarray(PHOTO)) == photo_sha256(PHOTO)


def test_outputs_and_threshold_are_those_that_the_spec_says():
    spec = replace(SPEC, masks=MaskSpec(single=3, candidates=(0, 2), threshold=0.5))
    model = model_of(encode, decode, spec)
    embedding = model.encode_image(PHOTO)
    two = model.decode(embedding, points=[(5, 5)])
    assert two.scores.tolist() == [0, 2]
    assert two.masks.any(axis=(1, 2)).tolist() == [False, True]  # -1 and 1, cut at a half
    assert two.low_res_logits[:, 0, 0].tolist() == [-1, 1]
    one = model.decode(embedding, points=[(5, 5)], multimask=False)
    assert one.scores.tolist() == [3]
    assert one.masks.all()


def test_prompts_reach_the_decoder_in_its_frame_with_the_corners_after_the_points():
    session = FakeSession(decode)
    model = model_of(encode, session)
    embedding = model.encode_image(PHOTO)
    model.decode(embedding, points=[(50, 30), (10, 20)], labels=[1, 0], box=(5, 6, 200, 50))
    model.decode(embedding, points=[(50, 30)])
    boxed, lone = session.calls
    scale = np.array([256 / 100, 154 / 60])
    expected = np.array([(50, 30), (10, 20), (5, 6), (100, 50)]) * scale  # clipped to the photo
    assert np.allclose(boxed["point_coords"][0], expected)
    assert boxed["point_labels"].tolist() == [[1, 0, 2, 3]]
    assert np.allclose(lone["point_coords"][0], [np.array([50, 30]) * scale, (0, 0)])
    assert lone["point_labels"].tolist() == [[1, -1]]
    assert lone["mask_input"].shape == (1, 1, 64, 64)
    assert not lone["mask_input"].any()


def test_prompts_go_together_as_many_as_memory_allows():
    session = FakeSession(decode)
    model = model_of(encode, session)
    embedding = model.encode_image(PHOTO)
    prompts = [Prompt.of([(index, 5)]) for index in range(20)]
    for limit, sizes in (
        (10**9, [8, 8, 4]),
        (3 * 60 * 100 + 3 * SPEC.decoder_bytes(), [3] * 6 + [2]),
        (3 * 60 * 100 + 3 * SPEC.decoder_bytes() - 1, [2] * 10),
        (0, [1] * 20),
    ):
        session.calls.clear()
        found = dict(model.decode_each(embedding, prompts, memory_limit=limit))
        assert [len(call["point_labels"]) for call in session.calls] == sizes
        assert sorted(found) == list(range(20))


def test_what_decoding_takes_grows_with_cells_and_tokens():
    assert SPEC.decoder_bytes() == SPEC.decoder_bytes(2) == 15_300 * 256
    assert SPEC.decoder_bytes(12) == 16_800 * 256
    coarse = replace(SPEC, embeddings=(EmbeddingSpec("image_embeddings", 256, 32),))
    assert coarse.decoder_bytes() == 15_300 * 64


def test_a_bool_mask_becomes_logits_by_its_share_of_each_cell():
    mask = np.zeros((128, 256), bool)
    mask[:64, :130] = True
    logits = mask_logits(mask, (128, 256), (128, 256), 256)
    assert logits.shape == (64, 64)
    assert (logits[:16, :32] == 10).all()
    assert (logits[:16, 32] == 0).all()  # half of these cells: the last two of four columns
    assert (logits[:16, 33:] == -10).all()
    assert (logits[16:] == -10).all()


@pytest.mark.parametrize(("value", "score"), [(np.nan, "NaN"), (np.inf, None)])
def test_scores_that_are_nan_are_an_error(value, score):
    def broken(feeds):
        answer = decode(feeds)
        answer["iou_predictions"][0, 2] = value
        return answer

    model = model_of(encode, broken)
    embedding = model.encode_image(PHOTO)
    if score is None:
        assert model.decode(embedding, points=[(5, 5)]).scores[1] == np.inf
    else:
        with pytest.raises(EngineError, match=score):
            model.decode(embedding, points=[(5, 5)])


@pytest.mark.parametrize(
    ("resize", "frame", "inside", "shape"),
    [
        ("longest_side", "square", (154, 256), (256, 256)),
        ("stretch", "square", (256, 256), (256, 256)),
        ("longest_side", "photo", (154, 256), (192, 256)),
    ],
)
def test_a_photo_fills_its_frame_as_the_spec_says(resize, frame, inside, shape):
    image = ImageSpec(256, (10.0, 20.0, 30.0), (2.0, 4.0, 8.0), resize, frame)
    spec = replace(SPEC, image=image)
    assert input_shape(60, 100, image) == inside
    assert spec.frame_shape(inside) == shape
    even = np.full((60, 100, 3), 50, np.uint8)
    prepared = preprocess(even, spec)
    assert prepared.shape == (1, 3, *shape)
    assert prepared.dtype == np.float32
    height, width = inside
    for channel, value in enumerate((20.0, 7.5, 2.5)):
        assert (prepared[0, channel, :height, :width] == value).all()
        assert not prepared[0, channel, height:].any()
        assert not prepared[0, channel, :, width:].any()


def test_a_frame_of_the_photo_alone_has_whole_steps_and_a_quarter_at_least():
    spec = replace(SPEC, image=replace(SPEC.image, size=1024, frame="photo"))
    for inside, shape in (
        ((1024, 1024), (1024, 1024)),
        ((683, 1024), (704, 1024)),
        ((640, 1024), (640, 1024)),
        ((641, 1024), (704, 1024)),
        ((1024, 30), (1024, 256)),
    ):
        assert spec.frame_shape(inside) == shape


def test_coordinates_scale_by_axis():
    points = np.array([(0, 0), (100, 60), (50, 15)])
    mapped = to_encoder_frame(points, (60, 100), (154, 256))
    assert np.allclose(mapped, [(0, 0), (256, 154), (128, 38.5)])


# --- arrays as photos ---


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((4, 5), [0, 0, 0]),
        ((4, 5, 1), [0, 0, 0]),
        ((4, 5, 2), [0, 0, 0]),
        ((4, 5, 3), [0, 1, 2]),
        ((4, 5, 4), [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_array_gives_its_colours_and_no_alpha(shape, channels, dtype):
    values = np.random.default_rng(1).integers(0, 256, shape)
    array = (values * (257 if dtype == np.uint16 else 1)).astype(dtype)
    expected = values.reshape(*shape[:2], -1)[:, :, channels]
    assert np.array_equal(read_image(array), expected)
    if shape[-1] in (3, 4) and len(shape) == 3:
        assert np.array_equal(read_image(array, channel_order="BGR"), expected[:, :, ::-1])


def test_stretching_makes_two_percent_black_and_two_percent_white():
    ramp = np.arange(101, dtype=np.float32).reshape(1, 101) * 7 - 300
    stretched = read_image(ramp, stretch=True)[0, :, 0]
    expected = np.clip((np.arange(101) - 2) / 96 * 255, 0, 255)
    assert np.abs(stretched - expected).max() <= 0.5
    assert (stretched[:3] == 0).all()
    assert (stretched[98:] == 255).all()


def test_a_small_object_before_an_even_ground_is_stretched_over_all_it_has():
    even = np.full((20, 20), 1000, np.int32)
    assert not read_image(even, stretch=True).any()
    even[3, 4], even[5, 6] = 1500, 2000
    stretched = read_image(even, stretch=True)[:, :, 0]
    assert (stretched[0, 0], stretched[3, 4], stretched[5, 6]) == (0, 128, 255)


def test_no_numbers_are_black_and_infinite_ones_are_cut():
    values = np.tile(np.arange(100, dtype=np.float64), (3, 1))
    values[0, :3] = np.nan, np.inf, -np.inf
    stretched = read_image(values, stretch=True)[0, :3, 0]
    assert stretched.tolist() == [0, 255, 0]
