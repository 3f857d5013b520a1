"""Stopping a run from another thread, where the engine can: a photo that nobody waits for any more.

``Session.run`` stays what it is. Whoever may want to stop runs says so around them:

>>> stop = Stop()
>>> with stoppable_by(stop):  # here session.run(...)
...     pass
>>> stop.ask()  # in another thread: the run raises RunStoppedError, soon
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from sam_edge_runtimes.errors import RunStoppedError


class Stop:
    """Asks runs to stop. Used once, from any thread.

    Attributes:
        asked: whether it was asked.
    """

    def __init__(self) -> None:
        self.asked = False
        self._lock = Lock()
        self._engine: Callable[[], None] | None = None

    def ask(self) -> None:
        """Stop the run that goes on, and those that follow."""
        with self._lock:
            self.asked = True
            if self._engine is not None:
                self._engine()

    def check(self) -> None:
        """Raise if it was asked.

        Raises:
            RunStoppedError: if it was.
        """
        if self.asked:
            raise RunStoppedError("the run was stopped")

    @contextmanager
    def reaching(self, engine: Callable[[], None]) -> Iterator[None]:
        """Reach a run's engine while it runs.

        Args:
            engine: stops it; called from the thread that asks.

        Raises:
            RunStoppedError: if it was asked before, or while the engine ran and so failed.
        """
        with self._lock:
            self.check()
            self._engine = engine
        try:
            yield
        except Exception as error:
            if self.asked:
                raise RunStoppedError("the run was stopped") from error
            raise
        finally:
            with self._lock:
                self._engine = None


_CURRENT: ContextVar[Stop | None] = ContextVar("sam_edge_stop", default=None)


@contextmanager
def stoppable_by(stop: Stop) -> Iterator[None]:
    """Let ``stop`` reach the runs of this thread."""
    token = _CURRENT.set(stop)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_stop() -> Stop | None:
    """Return what may stop the runs of this thread, for engines' adapters."""
    return _CURRENT.get()
