"""Encoding for many clients: one at a time, shared by whoever asks the same, ahead where asked."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from sam_edge.errors import EngineError
from sam_edge.image import read_image
from sam_edge.model import Model
from sam_edge.server.ahead import AheadProcess
from sam_edge.server.answers import Emit
from sam_edge.server.embeddings import EmbeddingCache, Held
from sam_edge.server.lane import Lane
from sam_edge.server.library import Library, ServedPhoto, Signature
from sam_edge.server.refusals import BadRequestError, SupersededError, TimedOutError
from sam_edge_runtimes.stopping import Stop

Part: TypeAlias = "tuple[int, int, int, int] | None"

MOST_AHEAD = 8
"""Clients that may each have one photo waiting to be encoded ahead."""

RESTART_MS = 1500.0
"""What is nearly done is not worth a new start of the process."""

logger = logging.getLogger("sam_edge")


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be encoded: a state of a file, and the part of it."""

    path: Path
    signature: Signature
    part: Part


@dataclass(slots=True, eq=False)
class _Job:
    """One encode that runs or waits, for all who asked for it."""

    task: asyncio.Task[Held]
    stop: Stop
    waiters: set[asyncio.Future[Held]] = field(default_factory=set)
    emits: list[Emit] = field(default_factory=list)


class Encoder:
    """Turns photos into embeddings that are held.

    Args:
        model: encodes.
        name: the model's.
        library: knows the photos' sizes.
        cache: takes the embeddings.
        lane: where encoding takes its turn.
        ahead: the process for what is encoded ahead.
        timeout_s: for one encode and its wait.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        library: Library,
        cache: EmbeddingCache,
        lane: Lane,
        ahead: AheadProcess,
        timeout_s: float,
    ) -> None:
        self._model, self._name = model, name
        self._library, self._cache = library, cache
        self._lane, self._process = lane, ahead
        self._timeout_s = timeout_s
        self._jobs: dict[Target, _Job] = {}
        self._of_client: dict[str, asyncio.Future[Held]] = {}
        self._times_ms: deque[float] = deque(maxlen=9)
        self._ahead: _Ahead | None = None
        self._ahead_waiting: OrderedDict[str, Target] = OrderedDict()

    async def target(self, photo: ServedPhoto, part: Part) -> Target:
        """Say what is to be encoded, once it is there and not too large.

        Raises:
            ImageError: if it is no photo.
            BadRequestError: if the part is not inside it.
        """
        height, width = await asyncio.to_thread(self._library.size, photo)
        if part is not None:
            x0, y0, x1, y1 = part
            if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
                raise BadRequestError(
                    f"part {list(part)} is not inside the photo's {width} x {height}"
                )
            part = None if part == (0, 0, width, height) else part
        return Target(photo.path, photo.signature(), part)

    def held(self, target: Target) -> Held | None:
        """Return a target's embedding, if there is one."""
        return self._cache.of(target)

    async def encode(self, target: Target, client: str | None, emit: Emit) -> Held:
        """Encode a target, or wait until somebody else has.

        Args:
            target: what.
            client: whose older encode, if it still waits, is refused as ``SupersededError``.
            emit: is told how far it is.
        """
        held = self.held(target)
        job = self._jobs.get(target)
        older = None if client is None else self._of_client.pop(client, None)
        if older is not None and not older.done():
            older.set_exception(SupersededError("a newer encode of this client came"))
        if held is not None:
            return held
        if job is None:
            job = self._start(target)
        waiter: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        job.waiters.add(waiter)
        job.emits.append(emit)
        if client is not None:
            self._of_client[client] = waiter
        emit({"event": "queued", "position": self._lane.ahead})
        try:
            async with asyncio.timeout(self._timeout_s):
                return await waiter
        except TimeoutError:
            raise TimedOutError(f"encoding took longer than {self._timeout_s:g} s") from None
        finally:
            job.waiters.discard(waiter)
            job.emits.remove(emit)
            if client is not None and self._of_client.get(client) is waiter:
                del self._of_client[client]
            if not job.waiters:
                job.stop.ask()
                job.task.cancel()
                if self._jobs.get(target) is job:
                    del self._jobs[target]

    def encode_ahead(self, target: Target, client: str | None) -> None:
        """Encode a target when nothing is before it. The newest of each client counts."""
        now = self._ahead
        under_way = target in self._jobs or (now is not None and now.target == target)
        if under_way or not self._process.available:
            return
        name = client or ""
        self._ahead_waiting.pop(name, None)
        self._ahead_waiting[name] = target
        if len(self._ahead_waiting) > MOST_AHEAD:
            self._ahead_waiting.popitem(last=False)
        if now is not None and now.client == name and now.target not in self._jobs:
            expected = self._expected_ms()
            passed_ms = 1000 * (time.monotonic() - now.since)
            if expected is not None and expected - passed_ms > RESTART_MS:
                now.task.cancel()
        self._advance_ahead()

    async def close(self) -> None:
        """Stop the process that encodes ahead."""
        self._ahead_waiting.clear()
        if self._ahead is not None:
            self._ahead.task.cancel()
        await self._process.stop()

    def _start(self, target: Target) -> _Job:
        stop = Stop()
        job = _Job(asyncio.create_task(self._work(target, stop)), stop)
        self._jobs[target] = job
        job.task.add_done_callback(partial(self._finish, target, job))
        return job

    async def _work(self, target: Target, stop: Stop) -> Held:
        if self._ahead is not None and self._ahead.target == target:
            try:
                return await asyncio.shield(self._ahead.task)
            except EngineError as error:
                logger.warning("%s", error)
        held = await self._lane.run(
            partial(self._encode_here, target, stop, asyncio.get_running_loop())
        )
        self._cache.put(held, target)
        return held

    def _encode_here(self, target: Target, stop: Stop, loop: asyncio.AbstractEventLoop) -> Held:
        """Runs in the lane's thread."""
        loop.call_soon_threadsafe(self._tell, target, {"event": "reading"})
        pixels = read_image(target.path)
        height, width = pixels.shape[:2]
        if target.part is not None:
            x0, y0, x1, y1 = target.part
            pixels = pixels[y0:y1, x0:x1].copy()
        encoding = {"event": "encoding", "expected_ms": self._expected_ms()}
        loop.call_soon_threadsafe(self._tell, target, encoding)
        start = time.perf_counter()
        embedding = self._model.encode_image(pixels, cancel=stop)
        took = 1000 * (time.perf_counter() - start)
        self._times_ms.append(took)
        return Held.of(embedding, (height, width), target.part, self._name, took)

    def _tell(self, target: Target, event: dict[str, Any]) -> None:
        job = self._jobs.get(target)
        for emit in [] if job is None else job.emits:
            emit(event)

    def _finish(self, target: Target, job: _Job, done: asyncio.Task[Held]) -> None:
        if self._jobs.get(target) is job:
            del self._jobs[target]
        for waiter in job.waiters:
            if waiter.done():
                continue
            if done.cancelled():
                waiter.cancel()
            elif error := done.exception():
                waiter.set_exception(error)
            else:
                waiter.set_result(done.result())
        if not done.cancelled():
            done.exception()  # seen, also where nobody waits any more

    def _expected_ms(self) -> float | None:
        times = list(self._times_ms)
        return round(statistics.median(times), 1) if times else None

    def _advance_ahead(self) -> None:
        while self._ahead is None and self._ahead_waiting:
            client, target = self._ahead_waiting.popitem(last=False)
            if target not in self._jobs and self.held(target) is None:
                task = asyncio.create_task(self._work_ahead(target))
                self._ahead = _Ahead(target, client, task, time.monotonic())
                task.add_done_callback(self._finish_ahead)

    async def _work_ahead(self, target: Target) -> Held:
        embedding, size, encode_ms = await self._process.encode(target.path, target.part)
        self._times_ms.append(encode_ms)
        held = Held.of(embedding, size, target.part, self._name, encode_ms)
        self._cache.put(held, target)
        return held

    def _finish_ahead(self, done: asyncio.Task[Held]) -> None:
        self._ahead = None
        if not done.cancelled() and (error := done.exception()):
            logger.info("not encoded ahead: %s", error)
        self._advance_ahead()


@dataclass(frozen=True, slots=True, eq=False)
class _Ahead:
    target: Target
    client: str
    task: asyncio.Task[Held]
    since: float
