"""What encodes ahead stands still during decodes, and never stays so."""

import asyncio
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

import sam_edge  # noqa: E402
from sam_edge.server.yielding import Yielding  # noqa: E402
from tests.sam_edge.server import running  # noqa: E402
from tests.sam_edge.server.test_journey import frame  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is stopped")

WORK = "import sys\nfor _ in range({rounds}): sum(range(100000))\nprint('done')"
LONG, SHORT = 10**9, 30


def state(number):
    """``T`` is what is stopped; None is gone, and not only unburied."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    letter = text.rsplit(")", 1)[1].split()[0]
    return None if letter == "Z" else letter


async def reaches(number, wanted):
    async with asyncio.timeout(30):
        while (state(number) == "T") is not wanted:
            await asyncio.sleep(0.001)


def with_process(rounds, check):
    async def run():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WORK.format(rounds=rounds)), stdout=asyncio.subprocess.PIPE
        )
        try:
            await check(process, Yielding())
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    asyncio.run(run())


def test_a_process_stands_still_while_something_is_decoded_and_goes_on_after():
    async def check(process, yielding):
        yielding.begin(process)
        assert state(process.pid) != "T"
        yielding.decoding(True)
        await reaches(process.pid, True)
        yielding.decoding(False)
        await reaches(process.pid, False)
        yielding.decoding(True)
        await reaches(process.pid, True)
        (first, last) = yielding.end()
        assert first[0] < first[1] <= last[0] < last[1]
        await reaches(process.pid, False)
        yielding.decoding(True)  # what is not at work is left alone
        await asyncio.sleep(0.05)
        assert state(process.pid) != "T"

    with_process(LONG, check)


def test_one_that_begins_during_a_decode_stands_still_at_once():
    async def check(process, yielding):
        yielding.decoding(True)
        yielding.begin(process)
        await reaches(process.pid, True)
        yielding.end()

    with_process(LONG, check)


def test_its_work_gets_done_however_much_is_decoded():
    async def check(process, yielding):
        yielding.decoding(True)
        yielding.begin(process)
        assert (await process.communicate())[0] == b"done\n"
        assert yielding.end()

    with_process(SHORT, check)


def test_its_work_gets_done_between_decodes_that_hardly_leave_room():
    async def check(process, yielding):
        yielding.begin(process)

        async def hover():
            while True:
                yielding.decoding(True)
                await asyncio.sleep(0.005)
                yielding.decoding(False)
                await asyncio.sleep(0.001)

        hovering = asyncio.create_task(hover())
        assert (await process.communicate())[0] == b"done\n"
        hovering.cancel()
        yielding.end()

    with_process(SHORT, check)


def test_one_that_was_killed_while_it_stood_still_is_no_trouble():
    async def check(process, yielding):
        yielding.begin(process)
        yielding.decoding(True)
        await reaches(process.pid, True)
        process.kill()
        await process.wait()
        yielding.decoding(False)
        yielding.decoding(True)
        yielding.end()

    with_process(LONG, check)


@pytest.fixture
def hovering(tmp_path):
    """A server whose decoder is always asked, and that encodes a photo ahead.

    Its process, its client, the number of the process that encodes, and what stops the asking.
    """
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg", "coffee.jpg")
    with running.opened(folder, cache=tmp_path / "cache") as (process, client):
        held = running.encoded(client, "chelsea.jpg")
        rest = threading.Event()

        def hover():
            with running.client_of(process.address) as own, suppress(httpx.HTTPError):
                while not rest.is_set() and process.process.poll() is None:
                    own.post(f"/v1/embeddings/{held['id']}/decode", json={"points": [[200, 150]]})

        photo = running.photo_named(client, "coffee.jpg")
        client.post("/v1/encode", json={"photo": photo["id"], "ahead": True})
        children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children")
        (child,) = running.until(lambda: children.read_text().split())
        hand = threading.Thread(target=hover)
        hand.start()
        try:
            yield process, client, int(child), rest
        finally:
            rest.set()
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)  # else it would hold on to the server's pipes
            hand.join(30)


def stopped(child):
    running.until(lambda: state(child) == "T", step=0.001)


def test_a_photo_is_encoded_ahead_beside_decodes_as_without_them(hovering):
    _, client, child, rest = hovering
    stopped(child)
    rest.set()
    photo = running.photo_named(client, "coffee.jpg")
    done = client.post("/v1/encode", json={"photo": photo["id"]}).raise_for_status().json()
    assert done["encode_ms"] > 0
    path = f"/v1/embeddings/{done['embedding']['id']}/features?dtype=float32"
    _, found = frame(client.get(path).content)
    expected = sam_edge.load_model().encode_image(running.PHOTOS / "coffee.jpg")
    for name, tensor in expected.features.items():
        np.testing.assert_allclose(found[name], tensor, atol=1e-5)
    assert state(child) not in ("T", None)


def test_what_stands_still_does_not_outlive_a_killed_server(hovering):
    process, _, child, _ = hovering
    stopped(child)
    process.process.kill()
    process.process.wait()
    running.until(lambda: state(child) is None)


def test_what_stands_still_ends_with_the_server(hovering):
    process, _, child, _ = hovering
    stopped(child)
    code, errors = process.stop()
    assert (code, errors.count("Traceback")) == (0, 0)
    assert state(child) is None
