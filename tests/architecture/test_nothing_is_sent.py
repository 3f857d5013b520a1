"""Photos may be patients' photos: the commands open no socket and write only where they are told.

Engines do both in C and in child processes, where no hook of Python's sees it, so that every system
call is watched with strace where it may be used. What lies in a home that was empty is seen
everywhere.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest

ENGINES = [engine for engine in ("onnxruntime", "openvino") if find_spec(engine)]
PHOTO = str(files("sam_edge") / "assets" / "photos" / "chelsea.jpg")
CALLS = (
    "socket,connect,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink"
)
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|^\d+ +(creat|mkdir|rename|link|symlink)")
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<name>[^"]*)"')

MAIN = """
import sys
from sam_edge.cli import main
sys.exit(main(sys.argv[1:]))
"""

EXPORT_AND_VERIFY = """
import sys
from pathlib import Path
from sam_edge.cli import main
from sam_edge_export.seeded import seeded_checkpoint
checkpoint, bundle, photos = sys.argv[1:]
seeded_checkpoint("nano", 256, 0, Path(checkpoint))
export = ["export", checkpoint, "-o", bundle, "--image-size", "256", "--no-verify"]
assert main(export) == 0
verify = ["verify", bundle, "--checkpoint", checkpoint, "--images", photos]
assert main([*verify, "--engine", "onnxruntime"]) == 0  # segment shows what the other one does
"""


SERVE = """
import http.client, json, sys, threading, time
from pathlib import Path
import sam_edge
from sam_edge.server import run
from sam_edge.server.options import Options
from sam_edge.server.service import Choice
from sam_edge.zoo import resolve
photos, engine = sys.argv[1:]
options = Options(host="127.0.0.1", port=0, token=None, uploads=Path("uploads"))
model = sam_edge.load_model(runtime=engine)
server = run.server(model, Choice(resolve(None).absolute(), None, "normal"), [photos], options)
listening = run.open_socket(options)
port = listening.getsockname()[1]
thread = threading.Thread(target=run.serve_on, args=(listening, server))
thread.start()
def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Content-Type": "application/json"}
    connection.request(method, path, body and json.dumps(body), headers)
    answer = connection.getresponse()
    data = answer.read()
    assert answer.status < 400, data
    connection.close()
    return json.loads(data) if "json" in answer.headers["Content-Type"] else data
one, two = (photo["id"] for photo in ask("GET", "/v1/photos")["photos"])
embedding = ask("POST", "/v1/encode", {"photo": one})["embedding"]["id"]
ask("POST", "/v1/encode", {"photo": two, "ahead": True})
found = ask("POST", f"/v1/embeddings/{embedding}/decode", {"points": [[200, 150]]})
thing = {"id": "1", "rle": found["masks"][0]["rle"]}
ask("PUT", f"/v1/photos/{one}/annotations", {"base_version": 0, "objects": [thing]})
for kind in ("coco", "labelme", "png"):
    ask("POST", "/v1/export", {"format": kind, "photos": [one]})
while "state" in ask("POST", "/v1/encode", {"photo": two, "ahead": True}):
    time.sleep(0.1)
server.should_exit = True
thread.join()
"""


@dataclass(frozen=True)
class Watched:
    """What a process and its children did.

    Attributes:
        sockets: the system calls that opened one; None where nobody watched.
        connections: those that connected one.
        elsewhere: files written, or tried to, outside the folders that were named.
        home: what lies in the home that was empty.
    """

    sockets: list[str] | None
    connections: list[str]
    elsewhere: list[str]
    home: list[str]


@cache
def strace():
    """The command that watches, empty where it is not installed or not permitted."""
    command = ["strace", "-f", "-qq", "-y", "-s", "4096", "--seccomp-bpf", "-e", f"trace={CALLS}"]
    if shutil.which("strace") is None or subprocess.run([*command, "true"]).returncode:
        return []
    return command


def watch(folder, code, *arguments, photos=()):
    """Run Python code as a user would: with a home, a cache, a folder for temporary files."""
    for name in ("home", "cache", "temp", "out"):
        (folder / name).mkdir()
    for name in photos:
        (folder / "out" / "photos").mkdir(exist_ok=True)
        shutil.copy(Path(PHOTO).with_name(name), folder / "out" / "photos")
    # Engines are silent by themselves where a variable says that this is a test machine.
    machine = re.compile(r"CI|TF_BUILD|JENKINS_URL|ORT_DISABLE_TELEMETRY|XDG_.*|.*_(CACHE|HOME)")
    environment = {
        **{name: value for name, value in os.environ.items() if not machine.fullmatch(name)},
        "HOME": str(folder / "home"),
        "SAM_EDGE_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder / "temp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = folder / "strace.log"
    watcher = [*strace(), "-o", str(log)] if strace() else []
    done = subprocess.run(
        [*watcher, sys.executable, "-c", code, *arguments],
        cwd=folder / "out",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = log.read_text(errors="replace").splitlines() if watcher else []
    allowed = (*(f"{folder / name}/" for name in ("cache", "temp", "out")), "/dev/")
    written = [
        path
        for line in lines
        if WRITES.search(line)
        for path in paths_of(line, folder / "out")
        if not f"{path}/".startswith(allowed)
    ]
    return Watched(
        [line for line in lines if " socket(" in line] if watcher else None,
        [line for line in lines if " connect(" in line],
        written,
        [str(path.relative_to(folder)) for path in sorted((folder / "home").rglob("*"))],
    )


def paths_of(line, current):
    """The absolute paths in a line of ``strace -y``, and of a process in the current folder."""
    return [
        os.path.normpath(current / (found["folder"] or "") / found["name"])
        for found in PATH.finditer(line)
    ]


def check(watched):
    assert watched.home == []
    assert watched.elsewhere == []
    if watched.sockets is None:
        pytest.skip("nothing was written; sockets are not watched, as strace cannot be used here")
    assert watched.sockets == []


@pytest.mark.parametrize("engine", ENGINES)
def test_segment_sends_nothing(engine, tmp_path):
    command = ["segment", PHOTO, "--point", "200,150", "-o", "mask.png", "--overlay", "over.png"]
    check(watch(tmp_path, MAIN, *command, "--runtime", engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_everything_sends_nothing(engine, tmp_path):
    command = ["everything", PHOTO, "--points-per-side", "2", "-o", "all.json"]
    check(watch(tmp_path, MAIN, *command, "--runtime", engine))


@pytest.mark.skipif(find_spec("torch") is None, reason="exporting needs torch")
def test_export_and_verify_send_nothing(tmp_path):
    (tmp_path / "photos").mkdir()
    shutil.copy(PHOTO, tmp_path / "photos")
    out = tmp_path / "out"
    arguments = [str(out / "nano.pth"), str(out / "bundle"), str(tmp_path / "photos")]
    check(watch(tmp_path, EXPORT_AND_VERIFY, *arguments))


@pytest.mark.parametrize("engine", ENGINES)
def test_serve_connects_to_nobody_and_writes_where_it_was_told(engine, tmp_path):
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    photos = tmp_path / "out" / "photos"
    names = ("chelsea.jpg", "coffee.jpg")
    found = watch(tmp_path, SERVE, str(photos), engine, photos=names)
    assert found.home == []
    assert found.elsewhere == []
    assert sorted(os.listdir(photos)) == ["chelsea.jpg", "chelsea.jpg.sam-edge.json", "coffee.jpg"]
    # What asked the server in the same process did connect.
    assert [line for line in found.connections if "127.0.0.1" not in line] == []


@pytest.mark.skipif(not strace(), reason="strace cannot be used here")
@pytest.mark.parametrize("way", ["python", "child"])
def test_the_watch_sees_a_socket_and_a_file(way, tmp_path):
    code = "import socket, pathlib; socket.socket(); (pathlib.Path.home() / 'id').write_text('me')"
    if way == "child":
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    watched = watch(tmp_path, code)
    assert watched.home == ["home/id"]
    assert watched.elsewhere == [str(tmp_path / "home" / "id")]
    assert len(watched.sockets or []) == 1
