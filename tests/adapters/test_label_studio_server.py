"""Label Studio itself: a project, a photo that is uploaded, our backend connected, a box drawn."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("label_studio_ml.api")
pytest.importorskip("label_studio_sdk")
import requests
from label_studio_ml.api import init_app
from label_studio_sdk.converter.brush import decode_rle as brush_decoded
from werkzeug.serving import make_server

from sam_edge.adapters.label_studio import backend
from sam_edge.masks import decode_rle

COMMAND = Path(sys.executable).with_name("label-studio")
TOKEN = "0123456789abcdef0123456789abcdef01234567"
STARTS_WITHIN = 180
"""Seconds: it makes its database first."""

CONFIG = """
<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image"><Label value="cat"/></BrushLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="cat"/></RectangleLabels>
</View>
"""


@pytest.fixture
def label_studio(tmp_path):
    """Returns what asks Label Studio's API."""
    if not COMMAND.exists():
        pytest.skip("label-studio is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    account = ["--username", "ada@example.com", "--password", "a long one", "--user-token", TOKEN]
    here = {
        "HOME": str(tmp_path),
        "LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
        # Backends on private addresses, as ours is, are refused otherwise.
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [COMMAND, "start", "--no-browser", "--port", port, *account],
            env=os.environ | here,
            stdout=log,
            stderr=log,
        )
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + STARTS_WITHIN

    def ask(method, path, **content):
        headers = {"Authorization": f"Token {TOKEN}"}
        answer = requests.request(method, f"{address}/api/{path}", headers=headers, **content)
        assert answer.ok, answer.text
        return answer.json()

    while True:
        assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
        assert time.monotonic() < end, "it does not start"
        try:
            requests.get(f"{address}/health", timeout=5).raise_for_status()
            break
        except requests.RequestException:
            time.sleep(1)
    yield ask
    process.terminate()
    process.wait(30)


@pytest.fixture
def address(model, tmp_path, monkeypatch):
    """Of our backend."""
    for kind in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(kind, str(tmp_path / kind))
    app = init_app(model_class=backend(model), model_dir=str(tmp_path))
    server = make_server("127.0.0.1", 0, app)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()


def test_a_box_that_is_drawn_is_answered_by_the_mask(label_studio, address, path, masks):
    project = label_studio("POST", "projects/", json={"title": "cats", "label_config": CONFIG})
    number = project["id"]
    files = {"file": ("cat.jpg", path.read_bytes(), "image/jpeg")}
    label_studio("POST", f"projects/{number}/import", files=files)
    (task,) = label_studio("GET", "tasks", params={"project": number})["tasks"]
    settings = {"project": number, "url": address, "title": "sam-edge", "is_interactive": True}
    connected = label_studio("POST", "ml", json=settings)
    assert connected["readable_state"] == "Connected"
    height, width = masks[0].size
    box = {
        "x": 100 * 60 / width,
        "y": 100 * 20 / height,
        "width": 100 * 360 / width,
        "height": 100 * 260 / height,
        "rotation": 0,
        "rectanglelabels": ["cat"],
    }
    drawn = {"type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": box}
    context = {"result": [drawn | {"original_width": width, "original_height": height}]}
    answer = label_studio(
        "POST",
        f"ml/{connected['id']}/interactive-annotating",
        json={"task": task["id"], "context": context},
    )
    (region,) = answer["data"]["result"]
    assert region["value"]["brushlabels"] == ["cat"]
    rgba = brush_decoded(region["value"]["rle"]).reshape(height, width, 4)
    np.testing.assert_array_equal(rgba[..., 3] == 255, decode_rle(masks[0].rle))
