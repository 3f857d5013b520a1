"""The real server, in a process as users start it or in a thread with limits of a test's own."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import httpx

import sam_edge
from sam_edge.server import run
from sam_edge.server.options import Options
from sam_edge.server.page import STATIC
from sam_edge.server.service import Choice
from sam_edge.zoo import resolve

PHOTOS = Path(str(files("sam_edge") / "assets" / "photos"))

MAIN = "import sys; from sam_edge.cli import main; sys.exit(main(sys.argv[1:]))"


def client_of(address, **options):
    return httpx.Client(base_url=address, trust_env=False, timeout=600, **options)


def copy_photos(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("chelsea.jpg", "coffee.jpg", "rocket.jpg"):
        shutil.copy(PHOTOS / name, folder / name)
    return folder


class Process:
    """``sam-edge serve`` as a process of its own."""

    def __init__(self, *words, cache):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", MAIN, "serve", "--port", "0", "--no-browser", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SAM_EDGE_CACHE": str(cache)},
        )
        self.first = self.process.stdout.readline().strip()  # empty if it ends before
        if not self.first:
            raise AssertionError(self.process.communicate()[1])
        self.address, _, self.fragment = self.first.partition("#")

    def kill(self):
        self.process.kill()
        if not self.process.stdout.closed:
            self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate(timeout=300)
        return self.process.returncode, err


@contextmanager
def process(*words, cache):
    running = Process(*map(str, words), cache=cache)
    try:
        yield running
    finally:
        running.kill()


@contextmanager
def thread(*words, uploads, model=None, static=STATIC, grounder=None, **options):
    """A server in this process; ``options`` are those of ``Options``."""
    chosen = Options(host="127.0.0.1", port=0, token=None, uploads=uploads)
    chosen = replace(chosen, **options)
    choice = Choice(resolve(None).absolute(), 1, "normal")
    server = run.server(
        model or sam_edge.load_model(),
        choice,
        [*map(str, words)],
        chosen,
        static=static,
        grounder=grounder,
    )
    listening = run.open_socket(chosen)
    running = threading.Thread(target=run.serve_on, args=(listening, server))
    running.start()
    try:
        yield run.address_of(listening, chosen)
    finally:
        server.should_exit = True
        running.join(timeout=300)


@contextmanager
def opened(*words, cache):
    """A server's process and its client."""
    with process(*words, cache=cache) as running, client_of(running.address) as client:
        yield running, client


@contextmanager
def client_in_thread(*words, uploads, **options):
    """The client of a server in this process."""
    with thread(*words, uploads=uploads, **options) as address, client_of(address) as client:
        yield client


def until(condition, seconds=300, step=0.02):
    """Wait until something is so, and return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(step)
    return found


def photo_named(client, name):
    photos = client.get("/v1/photos").raise_for_status().json()["photos"]
    (found,) = (photo for photo in photos if photo["name"] == name)
    return found


def encoded(client, name):
    photo = photo_named(client, name)
    answer = client.post("/v1/encode", json={"photo": photo["id"]}).raise_for_status().json()
    return answer["embedding"]


def thing(rle, **fields):
    return {"id": "one", "label": "thing", "rle": rle, **fields}
