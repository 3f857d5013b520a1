"""The core's behaviour, with sessions whose answers are known."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import sam_edge
from sam_edge.errors import EmbeddingError, ImageNotSetError, PromptError
from sam_edge.prompts import Prompt
from sam_edge.spec import Source
from sam_edge_runtimes.fake import FakeSession
from tests.sam_edge.known import SPEC, model_of

PHOTO = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)


def encode(feeds):
    return {"image_embeddings": np.full((1, 256, 16, 16), feeds["image"].mean(), np.float32)}


def decode(feeds):
    """Each prompt's masks hold its first coordinate, so that mixed-up rows are seen."""
    count, tokens = feeds["point_labels"].shape
    level = feeds["point_coords"][:, 0, 0] if tokens else np.ones(count, np.float32)
    masks = np.ones((count, 4, 64, 64), np.float32) * level[:, None, None, None]
    scores = np.array([[0.5, 0.1, 0.9, 0.3]], np.float32).repeat(count, 0)
    return {"low_res_masks": masks.astype(np.float32), "iou_predictions": scores}


@pytest.fixture
def sessions():
    return FakeSession(encode), FakeSession(decode)


@pytest.fixture
def model(sessions):
    return model_of(*sessions)


def test_multimask_gives_outputs_one_to_three_and_single_gives_output_zero(model):
    embedding = model.encode_image(PHOTO)
    three = model.decode(embedding, points=[(5, 5)])
    one = model.decode(embedding, points=[(5, 5)], multimask=False)
    assert three.masks.shape == (3, 120, 200)
    assert three.scores.tolist() == pytest.approx([0.1, 0.9, 0.3])
    assert np.array_equal(three.best, three.masks[1])
    assert one.masks.shape == (1, 120, 200)
    assert one.scores.tolist() == [0.5]
    assert one.low_res_logits.shape == (1, 64, 64)


def test_a_batch_answers_in_the_order_asked_and_pads_nothing(model, sessions):
    embedding = model.encode_image(PHOTO)
    prompts = [
        Prompt.of([(10, 5)]),
        Prompt.of(box=(20, 1, 60, 60)),
        Prompt.of([(30, 5), (1, 1)]),
        Prompt.of([(40, 5)]),
        Prompt.of([(50, 5)], mask=np.ones((120, 200), bool)),
    ]
    results = model.decode_batch(embedding, prompts)
    levels = [float(result.low_res_logits[0, 0, 0]) for result in results]
    assert levels == pytest.approx([12.8, 25.6, 38.4, 51.2, 64.0])
    calls = sessions[1].calls
    # a point with its padding and a box are two tokens each, so those three share a call
    assert sorted(len(call["point_coords"]) for call in calls) == [1, 1, 3]
    assert sorted(float(call["has_mask_input"][0]) for call in calls) == [0.0, 0.0, 1.0]


def test_no_mask_is_a_flag_not_a_zero_mask(model, sessions):
    embedding = model.encode_image(PHOTO)
    model.decode(embedding, points=[(5, 5)])
    model.decode(embedding, points=[(5, 5)], mask=np.zeros((64, 64), np.float32))
    assert [call["has_mask_input"].tolist() for call in sessions[1].calls] == [[0.0], [1.0]]


def test_an_embedding_survives_its_file(model, tmp_path):
    embedding = model.encode_image(PHOTO)
    embedding.save(tmp_path / "photo.npz")
    loaded = sam_edge.ImageEmbedding.load(tmp_path / "photo.npz")
    assert np.array_equal(
        loaded.features["image_embeddings"], embedding.features["image_embeddings"]
    )
    assert loaded.key == embedding.key
    assert (loaded.original_size, loaded.input_size) == ((120, 200), (154, 256))
    embedding.save(tmp_path / "half.npz", dtype="float16")
    half = sam_edge.ImageEmbedding.load(tmp_path / "half.npz")
    assert half.features["image_embeddings"].dtype == np.float32
    assert np.allclose(
        half.features["image_embeddings"], embedding.features["image_embeddings"], rtol=1e-3
    )
    assert [path.name for path in tmp_path.glob("*.partial")] == []


def test_an_embedding_of_another_model_is_refused(model, sessions):
    embedding = model.encode_image(PHOTO)
    other = model_of(*sessions, replace(SPEC, source=Source("y.pth", "b" * 64, "MIT")))
    with pytest.raises(EmbeddingError, match="encode the photo with this model"):
        other.decode(embedding, points=[(5, 5)])
    with pytest.raises(EmbeddingError):
        sam_edge.SamPredictor(other).set_embedding(embedding)


def test_an_embedding_of_another_size_is_refused_with_both_sizes(model, sessions):
    embedding = model.encode_image(PHOTO)
    larger = model_of(*sessions, replace(SPEC, image=replace(SPEC.image, size=512)))
    with pytest.raises(EmbeddingError, match=r"256 px.* 512 px"):
        larger.decode(embedding, points=[(5, 5)])


@pytest.mark.parametrize("shape", [(1, 256, 8, 8), (1, 128, 16, 16), (2, 256, 16, 16), None])
def test_an_embedding_whose_tensor_the_model_does_not_take_is_refused(model, shape):
    embedding = model.encode_image(PHOTO)
    features = {} if shape is None else {"image_embeddings": np.zeros(shape, np.float32)}
    with pytest.raises(EmbeddingError, match=r"image_embeddings has shape .*\(1, 256, 16, 16\)"):
        model.decode(replace(embedding, features=features), points=[(5, 5)])


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_embedding_is_refused(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(EmbeddingError, match=r"bad\.npz is not a saved embedding"):
        sam_edge.ImageEmbedding.load(tmp_path / "bad.npz")


def test_a_point_outside_the_photo_quotes_the_photos_size(model):
    embedding = model.encode_image(PHOTO)
    with pytest.raises(PromptError, match="201,5 lies outside the photo, which is 200 x 120"):
        model.decode(embedding, points=[(201, 5)])


def test_eight_threads_get_what_one_gets(model):
    embedding = model.encode_image(PHOTO)

    def ask(x):
        return float(model.decode(embedding, points=[(x, 5)]).low_res_logits[0, 0, 0])

    expected = [ask(x) for x in range(100)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(100))) == expected


def test_the_predictor_speaks_the_official_signature(model):
    predictor = sam_edge.SamPredictor(model)
    with pytest.raises(ImageNotSetError, match="set_image"):
        predictor.predict(np.array([[5, 5]]), np.array([1]))
    predictor.set_image(PHOTO)
    masks, scores, logits = predictor.predict(
        point_coords=np.array([[5, 5]]), point_labels=np.array([1]), multimask_output=True
    )
    assert (masks.shape, masks.dtype) == ((3, 120, 200), np.bool_)
    assert (scores.shape, logits.shape) == ((3,), (3, 64, 64))
    refined, _, _ = predictor.predict(
        box=np.array([1, 1, 50, 50]), mask_input=logits[:1], multimask_output=False
    )
    assert refined.shape == (1, 120, 200)
    values, _, _ = predictor.predict(
        np.array([[5, 5]]), np.array([1]), return_logits=True, multimask_output=False
    )
    assert (values.shape, values.dtype) == ((1, 120, 200), np.float32)
    assert predictor.get_image_embedding().shape == (1, 256, 16, 16)
    with pytest.raises(PromptError, match="point_labels must be supplied"):
        predictor.predict(np.array([[5, 5]]))
    predictor.reset_image()
    assert not predictor.is_image_set


def test_bgr_photos_are_turned(model):
    predictor = sam_edge.SamPredictor(model)
    predictor.set_image(PHOTO)
    first = predictor.embedding.photo_sha256
    predictor.set_image(np.ascontiguousarray(PHOTO[:, :, ::-1]), image_format="BGR")
    assert predictor.embedding.photo_sha256 == first
    with pytest.raises(ValueError, match="HSV"):
        predictor.set_image(PHOTO, image_format="HSV")
