"""Everything that nobody waits for any more ends, whatever its threads were about to ask for."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

import sam_edge
from sam_edge.automatic import CancelledError
from sam_edge.prompts import Prompt, sparse_prompts

pytest.importorskip("starlette")

from sam_edge.server.everything import Everything
from sam_edge.server.lane import Lane
from sam_edge.server.refusals import TooManyDecodesError
from tests.sam_edge.server.running import PHOTOS


class Late:
    """A generator that decodes only once it is let to, and tells how that ended."""

    def __init__(self, embedding):
        self.began, self.may, self.ended, self.free = (threading.Event() for _ in range(4))
        self.embedding = embedding
        self.error = None

    def __call__(self, model):
        self.model = model
        return self

    def generate(self, pixels, progress, cancelled):
        self.began.set()
        assert self.may.wait(60)
        sizes = (self.embedding.original_size, self.embedding.input_size)
        coords, labels = sparse_prompts(Prompt.of(points=[[200, 150]]), *sizes)
        try:
            return self.model.decode_tensors(self.embedding, coords[None], labels[None])
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()


@pytest.fixture(scope="module")
def model():
    return sam_edge.load_model()


@pytest.fixture(scope="module")
def embedding(model):
    return model.encode_image(PHOTOS / "chelsea.jpg")


async def cancelled_find(model, late, lanes, before_it_is_cancelled):
    photo = SimpleNamespace(path=PHOTOS / "chelsea.jpg")
    held = SimpleNamespace(embedding=late.embedding)
    everything = Everything(model, *lanes)
    finding = asyncio.ensure_future(everything.find(photo, held, late, lambda event: None))
    while not late.began.is_set():
        await asyncio.sleep(0.01)
    await before_it_is_cancelled(lanes[-1])
    finding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finding


def how_it_ended(late, model, before_it_is_cancelled, after):
    """Cancel in a loop that is stopped then and not closed: it takes what it never does."""
    names = ("everything", "encodes", "decodes")
    lanes = [Lane(name, 4, TooManyDecodesError, "full") for name in names]
    loop = asyncio.new_event_loop()
    loop.run_until_complete(cancelled_find(model, late, lanes, before_it_is_cancelled))
    after()
    ended = late.ended.wait(10)
    late.free.set()
    while tasks := asyncio.all_tasks(loop):
        loop.run_until_complete(asyncio.wait(tasks))
    for lane in lanes:
        lane.close()
    loop.close()
    return ended


def test_a_loop_that_stopped_keeps_no_thread_waiting(model, embedding):
    late = Late(embedding)

    async def nothing(decodes):
        pass

    assert how_it_ended(late, model, nothing, late.may.set)
    assert isinstance(late.error, CancelledError)


def test_who_waits_for_a_turn_when_it_is_cancelled_waits_no_longer(model, embedding):
    late = Late(embedding)

    async def another_decodes(decodes):
        late.other = asyncio.ensure_future(decodes.run(lambda: late.free.wait(60)))
        while decodes.ahead < 1:
            await asyncio.sleep(0.01)
        late.may.set()
        while decodes.ahead < 2:
            await asyncio.sleep(0.01)

    assert how_it_ended(late, model, another_decodes, lambda: None)
    assert isinstance(late.error, CancelledError)
