"""A queue before one thread: bounded, in order, and left by whoever no longer waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sam_edge.server.refusals import RefusedError, SupersededError, TimedOutError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    work: Callable[[], Any]
    answer: asyncio.Future[Any]
    owner: str | None


class Lane:
    """Does one thing at a time, in a thread of its own. Used from one event loop.

    Unbounded, each of many requests at once would take the engine's working memory.

    Args:
        name: of the thread.
        most_waiting: beyond the one that runs.
        full: what more are refused with.
        message: what they are told.
        busy: is told when it has something to do, and when it has nothing any more.
    """

    def __init__(
        self,
        name: str,
        most_waiting: int,
        full: type[RefusedError],
        message: str,
        busy: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: deque[_Entry] = deque()
        self._busy = False
        self._most_waiting = most_waiting
        self._full = full
        self._message = message
        self._tell = busy

    @property
    def ahead(self) -> int:
        """How many would be before a new one."""
        return len(self._waiting) + self._busy

    async def run(
        self, work: Callable[[], T], *, owner: str | None = None, seconds: float | None = None
    ) -> T:
        """Do work when its turn comes. Cancelled while it waits, it never starts.

        Args:
            work: called in the lane's thread. What runs is not interrupted.
            owner: whoever has the same is refused as ``SupersededError``, if it still waits.
            seconds: for waiting and work together.

        Raises:
            RefusedError: if too many wait, or it takes too long.
        """
        for entry in self._waiting:
            if owner is not None and entry.owner == owner and not entry.answer.done():
                entry.answer.set_exception(SupersededError("a newer request of this client came"))
        self._drop_done()
        if len(self._waiting) >= self._most_waiting:
            raise self._full(self._message)
        loop = asyncio.get_running_loop()
        entry = _Entry(work, loop.create_future(), owner)
        self._waiting.append(entry)
        self._next()
        try:
            async with asyncio.timeout(seconds):
                answer: T = await entry.answer
                return answer
        except TimeoutError:
            raise TimedOutError(f"it took longer than {seconds:g} s; try again later") from None
        finally:
            entry.answer.cancel()
            self._drop_done()

    def close(self) -> None:
        """Start nothing more. What runs goes on to its end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _drop_done(self) -> None:
        if any(entry.answer.done() for entry in self._waiting):
            self._waiting = deque(entry for entry in self._waiting if not entry.answer.done())

    def _next(self) -> None:
        self._drop_done()
        if self._busy or not self._waiting:
            return
        entry = self._waiting.popleft()
        self._busy = True
        self._tell(True)
        running = asyncio.get_running_loop().run_in_executor(self._thread, entry.work)
        running.add_done_callback(lambda done: self._finish(entry, done))

    def _finish(self, entry: _Entry, done: asyncio.Future[Any]) -> None:
        self._busy = False
        if done.cancelled():
            entry.answer.cancel()
        elif error := done.exception():
            if not entry.answer.done():
                entry.answer.set_exception(error)
        elif not entry.answer.done():
            entry.answer.set_result(done.result())
        self._next()
        if not self._busy:
            self._tell(False)
