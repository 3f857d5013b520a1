"""What a page does from its first photo to the exported file, against the running server."""

import io
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.image import read_image
from sam_edge.masks import decode_rle, from_coco_rle, upsample_masks

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from sam_edge.server import run  # noqa: E402
from sam_edge.server.options import Options  # noqa: E402
from tests.sam_edge.server import running  # noqa: E402

ROOT = Path(__file__).parents[3]


def frame(data):
    (length,) = struct.unpack_from("<I", data)
    assert (4 + length) % 16 == 0
    facts = json.loads(data[4 : 4 + length])
    tensors = {}
    for entry in facts["tensors"]:
        start = 4 + length + entry["offset"]
        values = np.frombuffer(data[start : start + entry["bytes"]], entry["dtype"])
        tensors[entry["name"]] = values.reshape(entry["shape"])
    return facts, tensors


@pytest.fixture(scope="module")
def model():
    return sam_edge.load_model()


@pytest.fixture(scope="module")
def cat(served):
    return running.encoded(served[0], "chelsea.jpg")


def test_the_server_says_which_it_is(client):
    assert client.get("/v1/health").json() == {"status": "ok"}
    assert client.get("/v1/version").json()["version"] == sam_edge.__version__


def test_the_photos_of_the_folder_are_listed_with_the_sizes_that_are_known(client):
    photo = running.photo_named(client, "coffee.jpg")
    assert client.get(f"/v1/photos/{photo['id']}").json()["size"] == [400, 600]
    assert running.photo_named(client, "coffee.jpg")["size"] == [400, 600]


def test_encoding_tells_how_far_it_is(client):
    photo = running.photo_named(client, "rocket.jpg")
    takes = {"Accept": "application/x-ndjson"}
    with client.stream("POST", "/v1/encode", json={"photo": photo["id"]}, headers=takes) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        events = [json.loads(line) for line in answer.iter_lines()]
    assert [event["event"] for event in events] == ["queued", "reading", "encoding", "done"]
    assert events[-1]["photo"]["size"] == [427, 640]
    again = client.post("/v1/encode", json={"photo": photo["id"]}).json()
    assert again["cached"] is True
    assert again["embedding"] == events[-1]["embedding"]


def test_the_features_are_those_of_the_encoder(client, cat, model):
    _, half = frame(client.get(f"/v1/embeddings/{cat['id']}/features").content)
    facts, whole = frame(client.get(f"/v1/embeddings/{cat['id']}/features?dtype=float32").content)
    expected = model.encode_image(running.PHOTOS / "chelsea.jpg")
    assert facts["embedding"] == cat == client.get(f"/v1/embeddings/{cat['id']}").json()
    for name, tensor in expected.features.items():
        np.testing.assert_allclose(whole[name], tensor, atol=1e-5)
        np.testing.assert_array_equal(half[name], whole[name].astype(np.float16))


def test_the_decoder_that_is_served_decodes_the_features_that_are_served(client, cat):
    ort = pytest.importorskip("onnxruntime")
    (told,) = client.get("/v1/models").json()["models"]
    graph = client.get(told["decoder"]["url"])
    assert len(graph.content) == told["decoder"]["bytes"]
    kept = client.get(told["decoder"]["url"], headers={"If-None-Match": graph.headers["etag"]})
    assert kept.status_code == 304
    _, features = frame(client.get(f"/v1/embeddings/{cat['id']}/features?dtype=float32").content)
    (height, width), (input_h, input_w) = cat["size"], cat["input_size"]
    side = told["low_res_size"]
    feeds = {
        **features,
        "point_coords": np.array(
            [[[200 * input_w / width, 150 * input_h / height], [0, 0]]], np.float32
        ),
        "point_labels": np.array([[1, -1]], np.float32),
        "mask_input": np.zeros((1, 1, side, side), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }
    logits, scores = ort.InferenceSession(graph.content).run(None, feeds)
    asked = {"points": [[200, 150]], "answer": "logits", "dtype": "float32"}
    facts, tensors = frame(client.post(f"/v1/embeddings/{cat['id']}/decode", json=asked).content)
    np.testing.assert_allclose(logits[0, facts["candidates"]], tensors["low_res_logits"], atol=1e-3)
    np.testing.assert_allclose(scores[0, facts["candidates"]], facts["scores"], atol=1e-5)


def test_hovering_gives_logits_that_upsample_to_the_mask_that_is_kept(client, cat, model):
    path = f"/v1/embeddings/{cat['id']}/decode"
    prompt = {"points": [[200, 150], [60, 40]], "labels": [1, 0]}
    kept = client.post(path, json=prompt).json()
    assert kept["candidates"] == [0]
    hover = client.post(path, json={**prompt, "answer": "logits", "hover": True})
    facts, tensors = frame(hover.content)
    assert tensors["low_res_logits"].dtype == np.float16
    assert facts["scores"] == pytest.approx([mask["score"] for mask in kept["masks"]])
    mask = upsample_masks(
        tensors["low_res_logits"].astype(np.float32),
        input_size=tuple(cat["input_size"]),
        image_size=cat["image_size"],
        original_size=tuple(cat["size"]),
        threshold=model.spec.masks.threshold,
    )[0]
    exact = decode_rle(from_coco_rle(kept["masks"][0]["rle"]))
    assert (mask & exact).sum() / (mask | exact).sum() > 0.999


def test_a_lone_point_gives_three_candidates_and_only_best_the_best_of_them(client, cat):
    path = f"/v1/embeddings/{cat['id']}/decode"
    three = client.post(path, json={"points": [[200, 150]]}).json()
    best = client.post(path, json={"points": [[200, 150]], "only_best": True}).json()
    assert three["candidates"] == [1, 2, 3]
    assert best["masks"] == [three["masks"][three["best"]]]
    assert best["candidates"] == [three["candidates"][three["best"]]]


def test_a_mask_refines_as_logits_and_as_run_lengths(client, cat, model):
    import base64

    path = f"/v1/embeddings/{cat['id']}/decode"
    asked = {"points": [[200, 150]], "answer": "logits", "dtype": "float32", "only_best": True}
    _, tensors = frame(client.post(path, json=asked).content)
    logits = tensors["low_res_logits"][0]
    sent = {"logits": base64.b64encode(logits.tobytes()).decode(), "dtype": "float32"}
    refined = client.post(path, json={"points": [[200, 150]], "mask": sent}).json()
    embedding = model.encode_image(running.PHOTOS / "chelsea.jpg")
    expected = model.decode(embedding, points=[(200, 150)], mask=logits.copy(), multimask=False)
    found = decode_rle(from_coco_rle(refined["masks"][0]["rle"]))
    np.testing.assert_array_equal(found, expected.masks[0])
    again = client.post(path, json={"mask": {"rle": refined["masks"][0]["rle"]}}).json()
    expected = model.decode(embedding, mask=found, multimask=False)
    np.testing.assert_array_equal(
        decode_rle(from_coco_rle(again["masks"][0]["rle"])), expected.masks[0]
    )


def test_a_part_is_encoded_alone_and_answers_in_the_photos_pixels(client, model):
    photo = running.photo_named(client, "coffee.jpg")
    part = [100, 50, 420, 330]
    asked = {"photo": photo["id"], "part": part}
    embedding = client.post("/v1/encode", json=asked).json()["embedding"]
    assert (embedding["size"], embedding["photo_size"]) == ([280, 320], [400, 600])
    path = f"/v1/embeddings/{embedding['id']}/decode"
    answer = client.post(path, json={"box": [150, 80, 400, 300]}).json()
    pixels = read_image(running.PHOTOS / "coffee.jpg")[50:330, 100:420]
    expected = model.decode(model.encode_image(pixels), box=(50, 30, 300, 250), multimask=False)
    found = decode_rle(from_coco_rle(answer["masks"][0]["rle"]))
    np.testing.assert_array_equal(found[50:330, 100:420], expected.masks[0])
    assert found.sum() == expected.masks[0].sum() == answer["masks"][0]["area"]
    outside = client.post(path, json={"points": [[90, 60]]})
    assert outside.status_code == 400
    assert "outside the encoded part" in outside.json()["error"]["message"]


def test_the_next_photo_is_encoded_ahead(tmp_path):
    folder = running.copy_photos(tmp_path / "photos")
    with running.opened(folder, cache=tmp_path / "cache") as (process, client):
        photo = running.photo_named(client, "coffee.jpg")
        asked = {"photo": photo["id"], "ahead": True}
        first = client.post("/v1/encode", json=asked)
        assert (first.status_code, first.json()) == (202, {"state": "ahead"})
        if sys.platform == "linux":
            children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
            child = running.until(lambda: children.read_text().split())[0]
            stat = Path(f"/proc/{child}/stat")
            running.until(lambda: stat.read_text().rsplit(")", 1)[1].split()[16] == "19")
        done = running.until(
            lambda: (
                (answer := client.post("/v1/encode", json=asked)).status_code == 200
                and answer.json()
            )
        )
        assert done["cached"] is True
        here = client.post("/v1/encode", json={"photo": photo["id"], "part": [0, 0, 600, 400]})
        assert here.json()["embedding"] == done["embedding"]
        code, errors = process.stop()
    assert (code, errors.count("Traceback")) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_encodes_ahead_does_not_outlive_a_killed_server(tmp_path):
    folder = running.copy_photos(tmp_path / "photos", "coffee.jpg")
    with running.opened(folder, cache=tmp_path / "cache") as (process, client):
        photo = running.photo_named(client, "coffee.jpg")
        client.post("/v1/encode", json={"photo": photo["id"], "ahead": True})
        children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
        (child,) = running.until(lambda: children.read_text().split())
        process.kill()
        stat = Path(f"/proc/{child}/stat")
        # Where nobody buries it, it stays as a zombie.
        running.until(lambda: not stat.exists() or stat.read_text().rsplit(")", 1)[1][1] == "Z")


def test_an_encode_of_what_is_encoded_ahead_waits_for_it(tmp_path):
    folder = running.copy_photos(tmp_path / "photos", "coffee.jpg")
    with running.client_in_thread(folder, uploads=tmp_path) as client:
        photo = running.photo_named(client, "coffee.jpg")
        client.post("/v1/encode", json={"photo": photo["id"], "ahead": True})
        takes = {"Accept": "application/x-ndjson"}
        answer = client.post("/v1/encode", json={"photo": photo["id"]}, headers=takes)
    events = [json.loads(line)["event"] for line in answer.iter_lines()]
    assert events == ["queued", "done"]  # nothing was read or encoded in the server's process


def test_pictures_are_upright_and_those_a_browser_would_show_otherwise_are_converted(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = (200, 30, 30)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(folder / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(pixels).save(folder / "scan.tif")
    Image.fromarray(np.dstack([pixels, pixels[:, :, :1]])).save(folder / "alpha.png")
    Image.fromarray((pixels[:, :, 0].astype(np.uint16)) * 257).save(folder / "deep.png")
    uploads = tmp_path / "uploads"
    with running.client_in_thread(folder, uploads=uploads) as client:
        for name, kept in (
            ("turned.jpg", True),
            ("scan.tif", 0),
            ("alpha.png", 0),
            ("deep.png", 0),
        ):
            photo = running.photo_named(client, name)
            answer = client.get(f"/v1/photos/{photo['id']}/image")
            if kept:
                assert answer.content == (folder / name).read_bytes()
            else:
                shown = np.asarray(Image.open(io.BytesIO(answer.content)))
                np.testing.assert_array_equal(shown, read_image(folder / name))
            size = client.get(f"/v1/photos/{photo['id']}").json()["size"]
            assert size == ([60, 40] if name == "turned.jpg" else [40, 60])
            again = {"If-None-Match": answer.headers["etag"]}
            assert client.get(answer.url.path, headers=again).status_code == 304
            small = client.get(f"/v1/photos/{photo['id']}/thumbnail?side=20")
            small = Image.open(io.BytesIO(small.content))
            assert small.size == ((13, 20) if name == "turned.jpg" else (20, 13))


def test_an_upload_is_kept_by_its_bytes_and_comes_back_with_its_annotations(tmp_path):
    data = (running.PHOTOS / "rocket.jpg").read_bytes()
    cache = tmp_path / "cache"
    with running.opened(cache=cache) as (process, client):
        kind = {"Content-Type": "image/jpeg"}
        sent = client.post("/v1/photos?name=a/b/../ro%00cket", content=data, headers=kind)
        assert sent.status_code == 201
        photo = sent.json()
        assert photo["name"] == "ro_cket.jpg"
        mask = {"size": [427, 640], "counts": whole(427 * 640)}
        saved = {"base_version": 0, "objects": [running.thing(mask)]}
        assert client.put(f"/v1/photos/{photo['id']}/annotations", json=saved).json() == {
            "version": 1
        }
        process.kill()
    with running.opened(cache=cache) as (process, client):
        again = client.post("/v1/encode?name=other.jpg", content=data, headers=kind).json()["photo"]
        assert (again["id"], again["name"], again["objects"]) == (photo["id"], "ro_cket.jpg", 1)
        assert client.delete(f"/v1/photos/{photo['id']}").status_code == 204
        assert client.get("/v1/photos").json()["photos"] == []
        assert list((cache / "uploads").iterdir()) == []


def whole(pixels):
    """The run lengths of a mask that is all foreground."""
    from sam_edge.masks import to_coco_rle

    return to_coco_rle({"size": [1, pixels], "counts": [0, pixels]})["counts"]


def test_the_example_client_writes_the_mask_of_the_command_line(served, tmp_path):
    client, _ = served
    environment = {"SAM_EDGE_ADDRESS": str(client.base_url).rstrip("/"), "PATH": ""}
    command = [sys.executable, str(ROOT / "examples" / "http_client.py")]
    command += [str(running.PHOTOS / "chelsea.jpg"), "200,150", str(tmp_path / "mask.png")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from sam_edge.cli import main

    photo = str(running.PHOTOS / "chelsea.jpg")
    assert main(["segment", photo, "--point", "200,150", "-o", str(tmp_path / "cli.png")]) == 0
    assert (tmp_path / "mask.png").read_bytes() == (tmp_path / "cli.png").read_bytes()


def test_every_path_is_in_the_openapi_document_and_in_the_contract(client):
    document = client.get("/openapi.json").json()
    contract = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}" in contract
    for path in document["paths"]:
        assert client.get(path.replace("{id}", "absent")).status_code in (200, 404, 405)


def test_paths_that_are_not_there_and_other_methods_are_refused_in_json(client):
    absent = client.get("/v1/nothing")
    assert (absent.status_code, absent.json()["error"]["code"]) == (404, "not_found")
    method = client.put("/v1/health")
    assert (method.status_code, method.json()["error"]["code"]) == (405, "method")
    assert "GET" in method.headers["allow"]


def test_answers_are_not_held_back_for_more_to_send(tmp_path):
    """Accepted sockets are what the listening one is; asyncio asks it whether it is TCP."""
    options = Options(host="127.0.0.1", port=0, token=None, uploads=tmp_path)
    with run.open_socket(options) as listening:
        assert listening.proto == socket.IPPROTO_TCP
