"""What other sites, other machines and broken clients try, against the running server."""

import io
import json
import socket
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from sam_edge.cli import main  # noqa: E402
from sam_edge.server.guard import HEADERS, host_name  # noqa: E402
from sam_edge.server.options import Limits  # noqa: E402
from tests.sam_edge.server import running  # noqa: E402


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    return answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "192.168.1.7",
        "localhost@evil",
        "",
        "127.0.0.1,evil.example",
        "[::1",
        "localhost:99999999",
        "evil.example#localhost",
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(client, host):
    refused(client.get("/v1/photos", headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:80"])
def test_the_names_of_this_machine_are_taken(client, host):
    assert client.get("/v1/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(client, headers):
    refused(client.get("/v1/photos", headers=headers), 403, "forbidden")
    body = {"base_version": 0, "objects": []}
    refused(client.put("/v1/photos/x/annotations", json=body, headers=headers), 403, "forbidden")


def test_the_servers_own_page_may_ask(client):
    origin = f"http://{client.base_url.netloc.decode()}"
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    answer = client.get("/v1/photos", headers=headers)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_every_answer_tells_browsers_what_is_allowed(client):
    for path in ("/", "/v1/health", "/v1/absent", "/openapi.json"):
        answer = client.get(path)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
    assert "set-cookie" not in answer.headers
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert "unsafe-inline" not in HEADERS["Content-Security-Policy"]


def test_with_a_token_nothing_but_health_is_answered_without_it(tmp_path):
    token = "a-token-of-many-letters"
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    options = {"uploads": tmp_path / "uploads", "token": token}
    with running.client_in_thread(folder, **options) as client:
        assert client.get("/v1/health").status_code == 200
        for path in ("/v1/photos", "/v1/version", "/v1/models", "/openapi.json", "/v1/absent"):
            answer = client.get(path)
            assert answer.headers["www-authenticate"] == "Bearer"
            refused(answer, 401, "token")
        for wrong in (f"Bearer {token}x", f"Basic {token}", token, "Bearer", "Bearer é".encode()):
            refused(client.get("/v1/photos", headers={"Authorization": wrong}), 401, "token")
        right = {"Authorization": f"Bearer {token}"}
        assert client.get("/v1/photos", headers=right).status_code == 200


def test_another_host_needs_a_token_and_prints_it(tmp_path, capsys):
    assert main(["serve", "--host", "0.0.0.0", "--port", "0", "--no-browser"]) == 2
    assert "--token" in capsys.readouterr().err
    assert main(["serve", "--token", "short", "--no-browser"]) == 2
    flags = ["--host", "0.0.0.0", "--token", "auto"]
    with running.opened(*flags, cache=tmp_path) as (process, client):
        assert process.fragment.startswith("token=")
        right = {"Authorization": f"Bearer {process.fragment.removeprefix('token=')}"}
        assert client.get("/v1/photos", headers=right).status_code == 200
        named = {**right, "Host": "192.168.1.7:8765"}
        assert client.get("/v1/photos", headers=named).status_code == 200
        refused(
            client.get("/v1/photos", headers={**right, "Host": "evil.example"}), 403, "forbidden"
        )


@pytest.fixture
def garden(tmp_path):
    """A served folder with links in it, beside one that is not served."""
    secret = running.copy_photos(tmp_path / "secret", "rocket.jpg")
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    (folder / "link.jpg").symlink_to(secret / "rocket.jpg")
    (folder / "more").symlink_to(secret)
    (folder / "below").mkdir()
    running.copy_photos(folder / "below", "coffee.jpg")
    with running.client_in_thread(folder, uploads=tmp_path / "uploads") as client:
        yield client, folder, secret


def test_links_in_a_folder_are_not_served(garden):
    client, _, _ = garden
    assert [photo["name"] for photo in client.get("/v1/photos").json()["photos"]] == ["chelsea.jpg"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../secret/rocket.jpg", 403),
        ("below/../../secret/rocket.jpg", 403),
        ("..\\secret\\rocket.jpg", 403),
        ("{secret}/rocket.jpg", 403),
        ("/etc/passwd", 403),
        ("link.jpg", 403),
        ("more/rocket.jpg", 403),
        ("{folder}/more/rocket.jpg", 403),
        ("absent.jpg", 404),
        ("below/coffee.jpg", 404),
        ("~/photo.jpg", 404),
        ("chelsea.jpg\0.png", 400),
        ("", 400),
        ("x" * 5000, 400),
        (7, 400),
        ("chelsea.jpg", 200),
        ("{folder}/chelsea.jpg", 200),
        ("./chelsea.jpg", 200),
    ],
)
def test_paths_stay_in_the_served_folders(garden, path, status):
    client, folder, secret = garden
    if isinstance(path, str):
        path = path.replace("{secret}", str(secret)).replace("{folder}", str(folder))
    answer = client.post("/v1/encode", json={"path": path})
    assert answer.status_code == status, answer.text


def test_a_photo_that_becomes_a_link_is_no_longer_served(garden):
    client, folder, secret = garden
    photo = running.photo_named(client, "chelsea.jpg")
    (folder / "chelsea.jpg").unlink()
    (folder / "chelsea.jpg").symlink_to(secret / "rocket.jpg")
    for path in ("", "/image", "/thumbnail", "/annotations"):
        refused(client.get(f"/v1/photos/{photo['id']}{path}"), 403, "forbidden")
    refused(client.post("/v1/encode", json={"photo": photo["id"]}), 403, "forbidden")
    (folder / "chelsea.jpg").unlink()
    refused(client.get(f"/v1/photos/{photo['id']}/image"), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/static/..%2f..%2fpyproject.toml",
        "//etc",
        "/%2e%2e/app.py",
        "/assets/%00",
        "/index.html/../../app.py",
        "/v1/photos/..%2f..%2fetc/image",
    ],
)
def test_the_pages_paths_lead_to_nothing_else(client, path):
    answer = raw(client, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]


def raw(client, text, seconds=10):
    """Send bytes as they are, and return what comes until the server closes."""
    address = urlsplit(str(client.base_url))
    with socket.create_connection((address.hostname, address.port), seconds) as connection:
        connection.sendall(text if isinstance(text, bytes) else text.encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_photos_that_are_too_large_are_refused_before_they_are_decoded(tmp_path):
    picture = io.BytesIO()
    Image.fromarray(np.zeros((400, 300, 3), np.uint8)).save(picture, "PNG")
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    kind = {"Content-Type": "image/png"}
    options = {"uploads": tmp_path / "uploads", "max_pixels": 100_000, "max_upload": 50_000}
    with running.client_in_thread(folder, **options) as client:
        large = client.post("/v1/photos", content=picture.getvalue(), headers=kind)
        assert "300 x 400 pixels" in refused(large, 413, "too_large")
        heavy = client.post("/v1/photos", content=b"x" * 50_001, headers=kind)
        refused(heavy, 413, "too_large")
        parts = (b"x" * 10_000 for _ in range(6))
        unsaid = client.post("/v1/encode", content=parts, headers=kind)
        refused(unsaid, 413, "too_large")
        photo = running.photo_named(client, "chelsea.jpg")
        refused(client.post("/v1/encode", json={"photo": photo["id"]}), 413, "too_large")
        refused(client.get(f"/v1/photos/{photo['id']}/image"), 413, "too_large")
        refused(client.get(f"/v1/photos/{photo['id']}/thumbnail"), 413, "too_large")
        empty = client.post("/v1/photos", content=b"", headers=kind)
        refused(empty, 422, "bad_photo")
        text = client.post("/v1/photos", content=b"hello", headers=kind)
        refused(text, 422, "bad_photo")
        form = client.post("/v1/photos", data={"a": "b"})
        refused(form, 415, "media_type")
    assert not (tmp_path / "uploads").exists()


def test_uploads_together_have_a_bound_and_annotated_ones_stay(tmp_path):
    kind = {"Content-Type": "image/png"}

    def photo(value):
        picture = io.BytesIO()
        noise = np.random.default_rng(value).integers(0, 256, (60, 60, 3), np.uint8)
        Image.fromarray(noise).save(picture, "PNG")
        return picture.getvalue()

    size = len(photo(0))
    options = {"uploads": tmp_path / "uploads", "upload_bytes": int(2.5 * size)}
    with running.client_in_thread(**options) as client:
        first, second = (
            client.post(f"/v1/photos?name={value}.png", content=photo(value), headers=kind).json()
            for value in range(2)
        )
        path = f"/v1/photos/{first['id']}/annotations"
        assert client.put(path, json={"base_version": 0, "objects": []}).status_code == 200
        third = client.post("/v1/photos?name=2.png", content=photo(2), headers=kind).json()
        there = [found["id"] for found in client.get("/v1/photos").json()["photos"]]
        assert sorted(there) == sorted([first["id"], third["id"]])
        assert second["id"] not in there
        path = f"/v1/photos/{third['id']}/annotations"
        assert client.put(path, json={"base_version": 0, "objects": []}).status_code == 200
        full = client.post("/v1/photos?name=3.png", content=photo(3), headers=kind)
        refused(full, 507, "full")


def test_a_body_that_does_not_come_and_a_header_that_does_not_end_are_not_waited_for(tmp_path):
    limits = Limits(header_s=0.5, body_s=0.5, idle_s=1)
    with running.client_in_thread(uploads=tmp_path, limits=limits) as client:
        start = time.monotonic()
        assert raw(client, "") == b""
        assert raw(client, "GET /v1/health HTTP/1.1\r\nHost: loc") == b""
        # A second request on one connection, too.
        whole = "GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = raw(client, whole + "GET /v1/hea")
        assert answer.count(b"HTTP/1.1 200") == 1
        head = "POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        answer = raw(client, f"{head}Content-Length: 100\r\nConnection: close\r\n\r\n{{")
        assert b"408 Request Timeout" in answer
        assert time.monotonic() - start < 8
        assert client.get("/v1/health").status_code == 200


def test_an_answer_that_nobody_reads_is_not_waited_for(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png", compress_level=1)
    limits = Limits(send_s=0.5)
    with running.client_in_thread(folder, uploads=tmp_path / "u", limits=limits) as client:
        (photo,) = client.get("/v1/photos").json()["photos"]
        whole = client.get(f"/v1/photos/{photo['id']}/image")
        assert whole.content == (folder / "noise.png").read_bytes()
        address = urlsplit(str(client.base_url))
        with socket.create_connection((address.hostname, address.port), 20) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            path = f"/v1/photos/{photo['id']}/image"
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(3)
            read = 0
            while part := connection.recv(1 << 20):
                read += len(part)
        assert read < len(whole.content)


def test_slow_clients_hold_up_nobody(served):
    client, _ = served
    embedding = running.encoded(client, "chelsea.jpg")
    address = urlsplit(str(client.base_url))
    slow = [socket.create_connection((address.hostname, address.port)) for _ in range(50)]
    try:
        for number, connection in enumerate(slow):
            head = b"POST /v1/encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            connection.sendall(head if number % 2 else head + b"\r\n{")
        start = time.monotonic()
        asked = {"points": [[200, 150]]}
        answer = client.post(f"/v1/embeddings/{embedding['id']}/decode", json=asked)
        assert answer.status_code == 200
        assert time.monotonic() - start < 5
    finally:
        for connection in slow:
            connection.close()


def test_more_connections_than_there_may_be_are_refused(tmp_path):
    with running.client_in_thread(uploads=tmp_path, limits=Limits(connections=8)) as client:
        address = urlsplit(str(client.base_url))
        held = [socket.create_connection((address.hostname, address.port)) for _ in range(12)]
        busy = running.until(
            lambda: (
                (answer := httpx.get(f"{client.base_url}/v1/health")).status_code == 503 and answer
            )
        )
        assert busy.status_code == 503
        for connection in held:
            connection.close()
        running.until(lambda: client.get("/v1/health").status_code == 200)


def test_bodies_that_are_held_have_a_bound_together(tmp_path):
    limits = Limits(bodies_bytes=20_000)
    kind = {"Content-Type": "image/png"}
    with running.client_in_thread(uploads=tmp_path / "u", limits=limits) as client:
        for _ in range(3):
            answer = client.post("/v1/photos", content=b"x" * 30_000, headers=kind)
            assert "retry-after" in answer.headers
            refused(answer, 503, "busy")
        for _ in range(3):  # what was refused is no longer counted
            refused(
                client.post("/v1/photos", content=b"x" * 15_000, headers=kind), 422, "bad_photo"
            )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[1]",
        b"null",
        b'{"points": [[1e999, 2]]}',
        b'{"points": [[NaN, 2]]}',
        b'{"points": [[1, 2]], "points2": 1}',
        b'{"points": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"points": [[1]]}',
        b'{"points": [["1", 2]]}',
        b'{"points": [[true, 2]]}',
        b'{"points": [[1, 2]], "labels": [1, 1]}',
        b'{"points": [[1, 2]], "labels": [7]}',
        b'{"points": [[-1, 2]]}',
        b'{"points": [[1, 99999]]}',
        b'{"points": {"0": 1}}',
        b'{"box": [1, 2, 3]}',
        b'{"box": [5, 5, 1, 1]}',
        b'{"box": [5000, 5000, 6000, 6000]}',
        b'{"box": "all"}',
        b'{"mask": {}}',
        b'{"mask": {"logits": "****"}}',
        b'{"mask": {"logits": "AAAA"}}',
        b'{"mask": {"logits": 5}}',
        b'{"mask": {"rle": {"size": [1, 1], "counts": "0"}}}',
        b'{"mask": {"rle": {"size": [300, 451], "counts": 7}}}',
        b'{"mask": {"rle": {"size": [300, 451], "counts": [1, 2]}}}',
        b'{"mask": {"rle": {"size": [4000000000, 4000000000], "counts": "0"}}}',
        b'{"points": [[1, 2]], "multimask": "yes"}',
        b'{"points": [[1, 2]], "answer": "png"}',
        b'{"points": [[1, 2]], "dtype": "float64"}',
        b'{"points": [[1, 2]], "hover": 1}',
        b'{"points": [[1, 2]], "only_best": null}',
        b"{}",
        b"\xff\xfe{",
    ],
)
def test_a_prompt_that_cannot_be_meant_is_said_in_one_line(served, body):
    client, _ = served
    embedding = running.encoded(client, "chelsea.jpg")
    headers = {"Content-Type": "application/json"}
    path = f"/v1/embeddings/{embedding['id']}/decode"
    answer = client.post(path, content=body, headers=headers)
    message = refused(answer, 400, "bad_request")
    assert message
    assert "\n" not in message


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = {
    "decode": ("points", "labels", "box", "mask", "multimask", "answer", "only_best", "hover"),
    "decode_batch": ("prompts", "multimask", "only_best"),
    "encode": ("photo", "path", "part", "ahead"),
    "everything": ("photo", "points_per_side", "pred_iou_thresh", "crop_n_layers", "coarse_first"),
    "export": ("format", "photos", "objects", "tolerance"),
    "annotations": ("base_version", "objects", "done", "set", "remove"),
}


@pytest.fixture(scope="module")
def cat(served):
    """The client, and what the photo and its embedding are called."""
    client, _ = served
    photo = running.photo_named(client, "chelsea.jpg")
    return client, photo["id"], running.encoded(client, "chelsea.jpg")["id"]


@pytest.mark.parametrize("door", FIELDS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_json_brings_the_server_down(cat, door, data):
    client, photo, embedding = cat
    values = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS[door], JSON))
    body = data.draw(values | JSON)
    if isinstance(body, dict) and "photo" in body and data.draw(st.booleans()):
        body["photo"] = photo
        if door == "everything":
            body["points_per_side"] = 2
    path = {
        "decode": f"/v1/embeddings/{embedding}/decode",
        "decode_batch": f"/v1/embeddings/{embedding}/decode_batch",
        "annotations": f"/v1/photos/{photo}/annotations",
    }.get(door, f"/v1/{door}")
    methods = ["PUT", "PATCH"] if door == "annotations" else ["POST"]
    answer = client.request(data.draw(st.sampled_from(methods)), path, json=body)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) >= {"code", "message"}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_bring_the_server_down(tmp_path_factory, noise):
    client = _noisy(tmp_path_factory)
    answer = raw(client, noise + b"\r\n\r\n" + noise)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


_HELD = []


def _noisy(tmp_path_factory):
    """A server of the test's own, whose patience is short."""
    if not _HELD:
        uploads = tmp_path_factory.mktemp("noise")
        limits = Limits(header_s=0.2, body_s=0.2, idle_s=1)
        context = running.client_in_thread(uploads=uploads, limits=limits)
        _HELD.extend([context.__enter__(), context])
    return _HELD[0]


@pytest.fixture(scope="module", autouse=True)
def _close_noisy():
    yield
    if _HELD:
        _HELD[1].__exit__(None, None, None)
        _HELD.clear()


@given(st.text(max_size=40))
def test_a_host_is_a_name_or_nothing(host):
    name = host_name(host)
    assert name is None or (name == name.lower() and not set(name) & set("/@\\?#, "))


def test_the_log_of_a_refused_photo_is_one_line(tmp_path, capfd):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "bro\x1bken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    with running.client_in_thread(folder, uploads=tmp_path) as client:
        (photo,) = client.get("/v1/photos").json()["photos"]
        assert photo["name"] == "bro\ufffdken.jpg"
        message = refused(client.post("/v1/encode", json={"photo": photo["id"]}), 422, "bad_photo")
        assert "\x1b" not in message
        assert json.dumps(message)
