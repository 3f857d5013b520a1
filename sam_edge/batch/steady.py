"""A worker process that is always there: opened at its first photo, replaced where it dies."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from sam_edge.batch.values import ALIVE, FAILED, WANTS_MEMORY, BatchError, Job, Outcome, Settings
from sam_edge.errors import SamEdgeError

MOST_DEATHS = 2
"""A photo that this many workers died of is reported."""

END_TIMEOUT = 20.0
"""Seconds for a process that has nothing left to do."""

RECYCLED_ABOVE = 0.9
"""Of its share: a worker that holds more between two photos is replaced."""

LEAST_SHARE = 250_000_000
"""In bytes. With less than Python and an engine take to begin with, engines neither open nor fail:
they try again, for ever."""

ENVIRONMENT = {
    # numpy's threads would be more than the cores, and each takes memory.
    "OPENBLAS_NUM_THREADS": "1",
    # Where glibc itself arrives once it has freed a block of 32 MB. Until then it gives the arrays
    # of each small photo back to the system, which clears them page by page for the next one.
    # Other C libraries do not know the names.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
}
"""Of a worker process, where the user's own does not say otherwise."""


class _DiedError(Exception):
    """A worker process is no longer there."""


class _Process:
    """One worker process, started when it is made. Used by one thread, but for ``kill``."""

    def __init__(self, patience: float) -> None:
        self.patience = patience  # in seconds, with one that makes no progress
        self._stalled = False
        # -P: photos' folder is often the current one, and must not be searched for modules. A
        # group of its own: Ctrl-C is for the parent, which lets this finish its photo.
        group: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sam_edge.batch.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**ENVIRONMENT, **os.environ},
            **group,
        )

    def open(self, settings: Settings, share: int | None) -> None:
        """Open the model.

        Raises:
            _DiedError: if it died of that.
            SamEdgeError: if it could not.
        """
        error = self._ask((settings, share))
        if error is not None:
            self.end()
            raise error

    def do(self, job: Job, share: int | None) -> tuple[Outcome, int]:
        """Do one photo, and say how much memory is held then, where there is a share.

        Raises:
            _DiedError: if the process did.
        """
        outcome, held = self._ask((job, share))
        return outcome, held

    def kill(self) -> None:
        """End it now; what it writes is not there then."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def end(self) -> None:
        """Let it end."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert stream is not None
                stream.close()
        try:
            self._process.wait(min(self.patience, END_TIMEOUT))
        except subprocess.TimeoutExpired:  # it hangs in an engine's end; all is written
            self.kill()
            self._process.wait()

    def _ask(self, content: object) -> Any:  # noqa: ANN401 - what the process pickles
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with self._watched():  # a large job waits until it is read
                pickle.dump(content, self._process.stdin)
                self._process.stdin.flush()
            while True:
                with self._watched():
                    answer = pickle.load(self._process.stdout)
                if answer != ALIVE:
                    return answer
        except (OSError, EOFError, pickle.UnpicklingError):
            self.kill()
            self.end()
            stalled = f"made no progress for {self.patience:g} s"
            death = stalled if self._stalled else _death(self._process.returncode)
            raise _DiedError(death) from None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """End the process if what is done meanwhile takes too long."""
        watch = threading.Timer(self.patience, self._stall)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _stall(self) -> None:
        # An engine that wants memory may try again for ever.
        self._stalled = True
        self.kill()


def _death(code: int) -> str:
    if code >= 0:
        return f"died (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"died of {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")


class SteadyWorker:
    """One worker process at a time: opened at its first photo, replaced where it dies.

    Args:
        settings: how photos are done.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: _Process | None = None
        self._threads: int | None = None
        self._held = 0  # by the process, after its last photo
        self._opened = False
        self._killed = False

    def do(self, job: Job, threads: int, share: int | None) -> Outcome | None:
        """Do one photo; None if this was killed meanwhile.

        Args:
            job: the photo.
            threads: of the engine; where there were others, the process is replaced.
            share: of memory, in bytes; None for no limit.

        Raises:
            BatchError: if no process can open the model.
            SamEdgeError: if the model cannot be opened.
        """
        # What a process holds more than its share, which may have become smaller, it cannot work
        # with: the next allocation fails, and engines may die of that, or stand still.
        if threads != self._threads or (share is not None and self._held > RECYCLED_ABOVE * share):
            self.end()
        while not self._killed:
            try:
                process = self._process or self._open(threads, share)
                outcome, self._held = process.do(job, share)
            except _DiedError as error:
                self._process = None
                if self._killed:
                    return None
                job = replace(job, attempt=job.attempt + 1)
                if job.attempt < MOST_DEATHS:
                    continue
                if not self._opened:
                    raise BatchError(
                        f"a worker process {error} while it opened the model, {MOST_DEATHS} times; "
                        "a smaller model, fewer processes or more memory may help"
                    ) from None
                reason = f"its worker process {error}, {MOST_DEATHS} times"
                reason += "" if share is None else f"; {WANTS_MEMORY}"
                return Outcome(job.item, FAILED, problems=job.problems, error=reason)
            return outcome
        return None

    def _open(self, threads: int, share: int | None) -> _Process:
        if share is not None and share < LEAST_SHARE:
            raise BatchError(
                f"a worker process would have {share / 1e6:.0f} MB of the memory limit, and needs "
                f"{LEAST_SHARE / 1e6:.0f} MB at least: give more, or fewer processes"
            )
        self._threads = threads
        process = self._process = _Process(self._settings.stall_timeout)
        if self._killed:  # meanwhile
            process.kill()
        try:
            process.open(replace(self._settings, threads=threads), share)
        except SamEdgeError as error:
            self._process = None
            if share is None:
                raise
            raise BatchError(
                f"{error}; a worker process may have {share / 1e6:.0f} MB of the memory limit: "
                "give more, or fewer processes"
            ) from error
        self._opened = True
        return process

    def kill(self) -> None:
        """End at once, from another thread."""
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Let the process end, once it has done its photo."""
        if self._process is not None:
            self._process.end()
        self._process, self._held = None, 0
