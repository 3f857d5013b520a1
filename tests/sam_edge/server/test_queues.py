"""Bounded queues, one thing at a time, and what nobody waits for is not done."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sam_edge

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from sam_edge.server.embeddings import EmbeddingCache, Held  # noqa: E402
from sam_edge.server.options import Limits  # noqa: E402
from sam_edge.server.refusals import NoEmbeddingError  # noqa: E402
from tests.sam_edge.server import running  # noqa: E402

POINT = {"points": [[200, 150]], "only_best": True}


class Gate:
    """A session that waits before it runs the real one, and counts."""

    def __init__(self, session):
        self.session = session
        self.open = threading.Event()
        self.open.set()
        self.started = self.done = self.inside = self.most_inside = 0
        self.lock = threading.Lock()

    def run(self, feeds):
        with self.lock:
            self.started += 1
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        assert self.open.wait(60)
        answer = self.session.run(feeds)
        with self.lock:
            self.inside -= 1
            self.done += 1
        return answer


@pytest.fixture
def gated(tmp_path):
    """A server whose encoder and decoder can be held."""
    real = sam_edge.load_model()
    gates = {role: Gate(session) for role, session in real.sessions.items()}
    model = sam_edge.Model(real.spec, gates, real.engine)
    folder = running.copy_photos(tmp_path / "photos")
    limits = Limits(decodes_waiting=3, encodes_waiting=2, decode_s=20)
    options = {"uploads": tmp_path / "uploads", "limits": limits, "model": model}
    with running.client_in_thread(folder, **options) as client:
        yield client, gates["image_encoder"], gates["prompt_encoder_mask_decoder"]
        for gate in gates.values():
            gate.open.set()


def post(client, path, body, **headers):
    with running.client_of(client.base_url, headers=headers) as mine:
        return mine.post(path, json=body)


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


def decode_path(client, name="chelsea.jpg"):
    return f"/v1/embeddings/{running.encoded(client, name)['id']}/decode"


def test_one_decode_runs_at_a_time_and_beyond_the_queue_is_429(gated):
    client, _, decoder = gated
    path = decode_path(client)
    decoder.open.clear()
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(post, client, path, POINT) for _ in range(4)]
        running.until(lambda: decoder.started == 1)
        time.sleep(0.3)  # the other three are in the queue now
        more = [pool.submit(post, client, path, POINT).result() for _ in range(5)]
        assert {code(answer) for answer in more} == {(429, "busy")}
        assert {answer.headers["retry-after"] for answer in more} == {"1"}
        decoder.open.set()
        assert {answer.result().status_code for answer in asked} == {200}
    assert (decoder.done, decoder.most_inside) == (4, 1)
    assert client.post(path, json=POINT).status_code == 200


def test_beyond_the_queue_of_encodes_is_503(gated):
    client, encoder, _ = gated
    photos = client.get("/v1/photos").json()["photos"]
    parts = [[0, 0, side, side] for side in range(50, 58)]
    encoder.open.clear()
    with ThreadPoolExecutor(12) as pool:
        bodies = [{"photo": photos[0]["id"], "part": part} for part in parts]
        asked = [pool.submit(post, client, "/v1/encode", body) for body in bodies[:3]]
        running.until(lambda: encoder.started == 1)
        time.sleep(0.3)
        refused = post(client, "/v1/encode", bodies[3])
        assert code(refused) == (503, "busy")
        assert refused.headers["retry-after"] == "5"
        takes = {"Accept": "application/x-ndjson"}
        streamed = client.post("/v1/encode", json=bodies[4], headers=takes)
        last = json.loads(streamed.text.splitlines()[-1])
        assert (last["event"], last["status"], last["error"]["code"]) == ("error", 503, "busy")
        encoder.open.set()
        assert {answer.result().status_code for answer in asked} == {200}
    assert encoder.most_inside == 1


def test_a_newer_hover_of_the_same_client_takes_the_place_of_a_waiting_one(gated):
    client, _, decoder = gated
    path = decode_path(client)
    decoder.open.clear()
    hover = {**POINT, "hover": True}
    with ThreadPoolExecutor(12) as pool:
        running_one = pool.submit(post, client, path, hover, **{"X-Client": "page-one"})
        running.until(lambda: decoder.started == 1)
        waiting = pool.submit(post, client, path, hover, **{"X-Client": "page-one"})
        other = pool.submit(post, client, path, hover, **{"X-Client": "page-two"})
        time.sleep(0.3)
        newest = pool.submit(post, client, path, hover, **{"X-Client": "page-one"})
        assert code(waiting.result()) == (409, "superseded")
        decoder.open.set()
        answers = [found.result().status_code for found in (running_one, other, newest)]
    assert answers == [200, 200, 200]
    assert decoder.done == 3


def test_who_hangs_up_while_waiting_is_not_decoded(gated):
    client, _, decoder = gated
    path = decode_path(client)
    decoder.open.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, client, path, POINT)
        running.until(lambda: decoder.started == 1)
        with pytest.raises(httpx.ReadTimeout), running.client_of(client.base_url) as impatient:
            impatient.post(path, json=POINT, timeout=0.3)
        time.sleep(0.3)
        decoder.open.set()
        assert first.result().status_code == 200
    assert client.post(path, json=POINT).status_code == 200
    assert decoder.done == 2


def test_a_newer_encode_of_the_same_client_takes_the_place_of_a_waiting_one(gated):
    client, encoder, _ = gated
    one, two, three = (photo["id"] for photo in client.get("/v1/photos").json()["photos"])
    encoder.open.clear()
    page = {"X-Client": "page-one"}
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, client, "/v1/encode", {"photo": one})
        running.until(lambda: encoder.started == 1)
        left = pool.submit(post, client, "/v1/encode", {"photo": two}, **page)
        time.sleep(0.3)
        wanted = pool.submit(post, client, "/v1/encode", {"photo": three}, **page)
        assert code(left.result()) == (409, "superseded")
        encoder.open.set()
        assert first.result().status_code == wanted.result().status_code == 200
    assert encoder.done == 2  # the second was never begun


@pytest.mark.parametrize("way", ["hangs up", "moves on"])
def test_an_encode_that_runs_stops_when_nobody_waits_for_it(gated, way):
    client, encoder, _ = gated
    one, two, _ = (photo["id"] for photo in client.get("/v1/photos").json()["photos"])
    encoder.open.clear()
    page = {"X-Client": "page-one"}
    with ThreadPoolExecutor(4) as pool:
        if way == "hangs up":
            with pytest.raises(httpx.ReadTimeout), running.client_of(client.base_url) as leaver:
                leaver.post("/v1/encode", json={"photo": one}, timeout=1)
        else:
            left = pool.submit(post, client, "/v1/encode", {"photo": one}, **page)
            running.until(lambda: encoder.started == 1)
        wanted = pool.submit(post, client, "/v1/encode", {"photo": two}, **page)
        if way == "moves on":
            assert code(left.result()) == (409, "superseded")
        time.sleep(0.3)
        encoder.open.set()
        assert wanted.result().status_code == 200
    assert (encoder.started, encoder.done) == (2, 1)  # the engine itself refused to go on
    assert post(client, "/v1/encode", {"photo": one}).status_code == 200


def test_two_clients_who_want_the_same_photo_wait_for_one_encode(gated):
    client, encoder, _ = gated
    photo = running.photo_named(client, "coffee.jpg")["id"]
    encoder.open.clear()
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(post, client, "/v1/encode", {"photo": photo}, **{"X-Client": name})
            for name in ("page-one", "page-two")
        ]
        running.until(lambda: encoder.started == 1)
        time.sleep(0.2)
        # One of them leaves for another photo; the other still gets its answer.
        other = running.photo_named(client, "rocket.jpg")["id"]
        moved = pool.submit(
            post, client, "/v1/encode", {"photo": other}, **{"X-Client": "page-one"}
        )
        assert code(asked[0].result()) == (409, "superseded")
        encoder.open.set()
        assert asked[1].result().status_code == moved.result().status_code == 200
    assert encoder.done == 2


def test_everything_stops_when_its_client_hangs_up_and_hovers_come_between(gated):
    client, _, decoder = gated
    path = decode_path(client)
    photo = running.photo_named(client, "chelsea.jpg")["id"]
    asked = {"photo": photo, "points_per_side": 32}
    takes = {"Accept": "application/x-ndjson"}
    with client.stream("POST", "/v1/everything", json=asked, headers=takes, timeout=600) as answer:
        for line in answer.iter_lines():
            if json.loads(line)["event"] == "progress":
                break
        assert post(client, path, POINT).status_code == 200
        event = json.loads(line)
        assert event["done"] < event["total"]
    running.until(lambda: decoder.started == decoder.done)
    time.sleep(0.5)
    begun = decoder.started
    time.sleep(1)
    assert decoder.started == begun
    # The next one gets its turn.
    small = {"photo": photo, "points_per_side": 2}
    assert client.post("/v1/everything", json=small, timeout=600).status_code == 200


def test_a_decode_that_takes_too_long_is_said(tmp_path):
    real = sam_edge.load_model()
    gates = {role: Gate(session) for role, session in real.sessions.items()}
    model = sam_edge.Model(real.spec, gates, real.engine)
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    options = {"uploads": tmp_path, "limits": Limits(decode_s=0.3), "model": model}
    with running.client_in_thread(folder, **options) as client:
        path = decode_path(client)
        gates["prompt_encoder_mask_decoder"].open.clear()
        answer = client.post(path, json=POINT)
        assert code(answer) == (503, "timeout")
        assert "retry-after" in answer.headers
        gates["prompt_encoder_mask_decoder"].open.set()
        running.until(lambda: client.post(path, json=POINT).status_code == 200)


def test_an_embedding_that_left_the_cache_is_said_and_encoding_brings_it_back(tmp_path):
    folder = running.copy_photos(tmp_path / "photos")
    options = {"uploads": tmp_path, "cache_bytes": 1_000_000}  # one of nano's is 590 kB
    with running.client_in_thread(folder, **options) as client:
        path = decode_path(client, "chelsea.jpg")
        running.encoded(client, "coffee.jpg")
        gone = client.post(path, json=POINT)
        assert code(gone) == (404, "no_embedding")
        assert "encode the photo again" in gone.json()["error"]["message"]
        assert decode_path(client, "chelsea.jpg") == path
        assert client.post(path, json=POINT).status_code == 200


def test_a_photo_that_was_written_anew_is_encoded_anew(tmp_path):
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    with running.client_in_thread(folder, uploads=tmp_path) as client:
        before = running.encoded(client, "chelsea.jpg")
        (folder / "chelsea.jpg").write_bytes((running.PHOTOS / "coffee.jpg").read_bytes())
        after = running.encoded(client, "chelsea.jpg")
    assert (before["photo_size"], after["photo_size"]) == ([300, 451], [400, 600])
    assert before["id"] != after["id"]


def test_the_cache_keeps_what_was_used_last_within_its_bytes():
    def held(number):
        embedding = sam_edge.ImageEmbedding(
            {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)},
            *((10, 10), (256, 256), str(number), "s", 256, "e", "p"),
        )
        return Held.of(embedding, (10, 10), None, "m", 1.0)

    cache = EmbeddingCache(3 * 256 * 256 * 4)
    entries = [held(number) for number in range(5)]
    for number, entry in enumerate(entries[:3]):
        cache.put(entry, f"target {number}")
    cache.get(entries[0].id)
    cache.put(entries[3], "target 3")
    assert cache.of("target 0") is entries[0]
    assert cache.of("target 1") is None
    with pytest.raises(NoEmbeddingError):
        cache.get(entries[1].id)
    small = EmbeddingCache(1)
    small.put(entries[0], "a")
    assert small.get(entries[0].id) is entries[0]


def test_told_to_stop_in_the_middle_of_work_the_server_ends(tmp_path):
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    with running.opened(folder, cache=tmp_path / "cache") as (process, client):
        photo = running.photo_named(client, "chelsea.jpg")["id"]
        asked = {"photo": photo, "points_per_side": 200}
        takes = {"Accept": "application/x-ndjson"}
        with client.stream("POST", "/v1/everything", json=asked, headers=takes) as answer:
            next(line for line in answer.iter_lines() if "progress" in line)
            code, errors = process.stop()
        assert code == 0
        assert "Traceback" not in errors
