"""The model in the box, through the public interface and on a real engine."""

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import sam_edge
from sam_edge.cli import main
from sam_edge.engine_choice import remember_seconds
from sam_edge_runtimes import choose_engine
from tests.sam_edge.known import INSTALLED, NANO_CHECKPOINT

PHOTO = Path(str(files("sam_edge") / "assets" / "photos" / "chelsea.jpg"))
EYE, EYE_BOX = (170, 120), (140, 90, 210, 150)


def test_the_box_and_its_checkpoint_stay_small():
    """What a wheel and a clone may weigh."""
    box = files("sam_edge") / "assets" / "nano"
    assert sum(Path(str(file)).stat().st_size for file in box.iterdir()) <= 8_500_000
    assert NANO_CHECKPOINT.stat().st_size <= 16_000_000


@pytest.fixture(scope="module", params=INSTALLED)
def model(request):
    return sam_edge.load_model(runtime=request.param, threads=2)


@pytest.fixture(scope="module")
def embedding(model):
    return model.encode_image(PHOTO)


def iou(one, other):
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_a_click_on_the_eye_gives_the_eye(model, embedding):
    result = model.decode(embedding, points=[EYE])
    y, x = np.mgrid[:300, :451]
    eye = ((x - 172) / 37) ** 2 + ((y - 117) / 30) ** 2 < 1
    assert result.masks.shape == (3, 300, 451)
    assert max(iou(mask, eye) for mask in result.masks) > 0.7


def test_a_mask_alone_is_a_prompt(model, embedding):
    first = model.decode(embedding, box=EYE_BOX, multimask=False)
    for mask in (first.low_res_logits[0], first.masks[0]):
        again = model.decode(embedding, mask=mask, multimask=False)
        assert again.masks.shape == (1, 300, 451)
        assert np.isfinite(again.low_res_logits).all()


def test_eight_threads_on_one_model_get_what_one_gets(model, embedding):
    clicks = [(20 + 25 * n, 150 + 3 * n) for n in range(16)]

    def ask(click):
        return model.decode(embedding, points=[click]).low_res_logits

    expected = [ask(click) for click in clicks]
    with ThreadPoolExecutor(8) as pool:
        for got, wanted in zip(pool.map(ask, clicks), expected, strict=True):
            assert np.allclose(got, wanted, atol=1e-4)


def test_a_stored_embedding_decodes_alike(model, embedding, tmp_path):
    embedding.save(tmp_path / "cat.npz")
    loaded = sam_edge.ImageEmbedding.load(tmp_path / "cat.npz")
    one, other = (model.decode(item, points=[EYE]) for item in (embedding, loaded))
    assert np.array_equal(one.masks, other.masks)


def test_low_memory_changes_no_mask(model, embedding):
    low = sam_edge.load_model(runtime=model.engine, threads=2, memory="low")
    result = low.decode(low.encode_image(PHOTO), points=[EYE])
    assert np.array_equal(result.masks, model.decode(embedding, points=[EYE]).masks)


def test_a_kept_model_changes_no_mask_and_needs_no_graph(model, embedding, tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    for memory in ("normal", "low"):
        for _ in range(2):  # the second one finds what the first one kept
            again = sam_edge.load_model(runtime=model.engine, threads=2, memory=memory)
            result = again.decode(again.encode_image(PHOTO), points=[EYE])
            assert np.array_equal(result.masks, model.decode(embedding, points=[EYE]).masks)
    # The encoder, the decoder's two parts, and the whole of it in low memory.
    assert len(list((tmp_path / "compiled").glob(f"*/{model.engine}-*"))) == 4
    apart = tmp_path / "apart"
    monkeypatch.setenv("SAM_EDGE_CACHE", str(apart))
    sam_edge.load_model(runtime=model.engine, threads=2, cache=False).encode_image(PHOTO)
    assert not apart.exists()


def test_low_memory_prefers_the_engine_that_needs_less(model, tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    remember_seconds(model.spec, {(model.engine, "float32"): 0.1})
    assert sam_edge.load_model(memory="low").engine == choose_engine("auto")


def test_auto_takes_what_was_measured_fastest_and_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setenv("SAM_EDGE_CACHE", str(tmp_path))
    assert sam_edge.load_model().engine == choose_engine("auto")
    remember_seconds(model.spec, {(model.engine, "float32"): 0.1})
    assert sam_edge.load_model().engine == model.engine


def test_arguments_without_a_meaning_are_refused():
    for arguments in (
        {"runtime": "tensorrt"},
        {"threads": 0},
        {"memory": "tiny"},
        {"compute": "int4"},
    ):
        with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
            sam_edge.load_model(**arguments)


def test_everything_in_python_finds_what_the_command_finds(tmp_path):
    """The thresholds belong to the model: the official ones leave nothing of the box's masks."""
    photo = Path(str(files("sam_edge") / "assets" / "photos" / "coffee.jpg"))
    found = sam_edge.SamAutomaticMaskGenerator(sam_edge.load_model()).generate(photo)
    assert len(found) > 20
    assert min(record["predicted_iou"] for record in found) > 0.4
    assert min(record["stability_score"] for record in found) >= 0.3
    out = tmp_path / "coffee.json"
    assert main(["everything", str(photo), "-o", str(out)]) == 0
    assert len(json.loads(out.read_text())["annotations"]) == len(found)
