"""The ML backend as Label Studio calls it, and its answers as Label Studio reads them."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("label_studio_ml.api")
pytest.importorskip("label_studio_sdk")
from label_studio_ml.api import init_app
from label_studio_sdk.converter.brush import decode_rle as brush_decoded
from label_studio_sdk.label_interface import LabelInterface

from sam_edge.adapters.label_studio import backend, brush_rle, prompted
from sam_edge.detections import segment_boxes
from sam_edge.errors import PromptError
from sam_edge.masks import decode_rle

CONFIG = """
<View>
  <Image name="image" value="$photo"/>
  <{tag} name="mask" toName="image"><Label value="cat"/><Label value="eye"/></{tag}>
  <KeyPointLabels name="click" toName="image" smart="true"><Label value="cat"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="cat"/></RectangleLabels>
</View>
"""
WIDTH, HEIGHT = 451, 300


def region(kind, x, y, label="cat", **more):
    value = {"x": 100 * x / WIDTH, "y": 100 * y / HEIGHT, kind: [label]}
    value |= {name: 100 * more.pop(name) for name in ("width", "height") if name in more}
    sizes = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"type": kind, "to_name": "image", "from_name": "x", "value": value, **sizes, **more}


BOX = region("rectanglelabels", 60, 20, width=360 / WIDTH, height=260 / HEIGHT)


@pytest.fixture
def label_studio(path, tmp_path, monkeypatch):
    """The address of what stands for Label Studio: it gives out a photo that was uploaded."""
    uploaded = tmp_path / "served" / "data" / "upload" / "1" / "cat.jpg"
    uploaded.parent.mkdir(parents=True)
    uploaded.write_bytes(path.read_bytes())
    for kind in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(kind, str(tmp_path / kind))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def ask(model, tmp_path, label_studio):
    """Returns what asks for the answers to some regions, as Label Studio does."""

    def answers(tag, *regions):
        config = CONFIG.format(tag=tag)
        client = init_app(model_class=backend(model), model_dir=str(tmp_path)).test_client()
        setup = {"project": "1.1", "schema": config, "hostname": label_studio}
        setup["access_token"] = "secret"
        assert client.post("/setup", json=setup).status_code == 200
        assert client.get("/health").get_json()["status"] == "UP"
        answer = client.post(
            "/predict",
            json={
                "tasks": [{"id": 1, "data": {"photo": "/data/upload/1/cat.jpg"}}],
                "project": "1.1",
                "label_config": config,
                "params": {"context": {"result": list(regions)} if regions else None},
            },
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        predictions = answer.get_json()["results"]
        for prediction in predictions:
            assert LabelInterface(config).validate_prediction(prediction, return_errors=True) == []
        return [entry for prediction in predictions for entry in prediction["result"]]

    return answers


def test_a_box_is_answered_by_the_mask_that_sam_edge_gives(ask, masks):
    (answer,) = ask("BrushLabels", BOX)
    assert (answer["from_name"], answer["to_name"]) == ("mask", "image")
    assert (answer["original_width"], answer["original_height"]) == (WIDTH, HEIGHT)
    assert answer["value"]["brushlabels"] == ["cat"]
    rgba = brush_decoded(answer["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(rgba[..., 3] == 255, decode_rle(masks[0].rle))


def test_polygons_are_within_a_pixel_of_the_mask(ask, masks):
    answers = ask("PolygonLabels", BOX)
    picture = Image.new("1", (WIDTH, HEIGHT))
    for answer in answers:
        assert answer["value"]["polygonlabels"] == ["cat"]
        places = np.array(answer["value"]["points"]) * (WIDTH / 100, HEIGHT / 100)
        ImageDraw.Draw(picture).polygon([tuple(place) for place in places - 0.5], fill=1)
    drawn, mask = np.asarray(picture), decode_rle(masks[0].rle)
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.98


def test_clicks_are_one_object_and_those_beside_it_count(ask, model, embedding):
    on, beside = (230, 150), (30, 30)
    clicks = [
        region("keypointlabels", *on, is_positive=1),
        region("keypointlabels", *beside, is_positive=0),
    ]
    (answer,) = ask("BrushLabels", *clicks)
    detection = prompted(clicks, embedding.original_size)
    assert detection.point_labels == (1, 0)
    np.testing.assert_allclose(detection.points, [on, beside])
    (mask,) = segment_boxes(model, embedding, [detection])
    rgba = brush_decoded(answer["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(rgba[..., 0] == 255, decode_rle(mask.rle))


def test_a_task_without_a_prompt_is_answered_by_nothing(ask):
    assert ask("BrushLabels") == []


@pytest.mark.parametrize(
    "regions",
    [[BOX, BOX], [region("ellipselabels", 10, 10)]],
    ids=["two boxes", "an ellipse"],
)
def test_what_is_no_prompt_is_refused(regions):
    with pytest.raises(PromptError, match="one upright rectangle"):
        prompted(regions, (HEIGHT, WIDTH))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (200, 300)])
def test_run_lengths_are_read_back_by_label_studio(size):
    random = np.random.default_rng(size[0])
    for mask in (random.random(size) < 0.5, np.zeros(size, np.bool_), np.ones(size, np.bool_)):
        rgba = brush_decoded(brush_rle(mask)).reshape(*size, 4)
        np.testing.assert_array_equal(rgba, np.repeat(mask[..., None] * np.uint8(255), 4, axis=2))
