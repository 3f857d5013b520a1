"""Worker processes on this machine: replaced where they die, and held to their memory."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sam_edge.batch.values import FAILED, BatchError, Job, Outcome, Settings
from sam_edge.errors import SamEdgeError
from sam_edge_runtimes.memory import memory_info, memory_limit
from sam_edge_runtimes.threads import cores_here

MOST_DEATHS = 2
"""A photo that this many workers died of is reported."""

SHARE_OF_FREE = 0.75
"""Of the memory that is free at the start, without a limit of the user's."""

RECYCLED_ABOVE = 0.9
"""Of its share: a worker that holds more between two photos is replaced."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many processes there are, and how many threads of the engine in each."""

    processes: int
    threads: int


def planned(
    cores: int, processes: int | None, threads: int | None, fitting: int | None = None
) -> Plan:
    """Share out cores: a process a core, unless told otherwise or memory is short.

    A thread of its own for each photo is the fastest use of a core: what no engine's threads
    share (reading, resizing, run lengths) is then shared, too. ``benchmarks/techniques/batch.json``
    has the measurement.

    Args:
        cores: that this process may use.
        processes: as the user says; None for as many as fit.
        threads: in each, as the user says; None for the cores' share.
        fitting: how many fit into the memory; None if that is not known.

    >>> planned(8, None, None), planned(8, None, None, fitting=3), planned(8, None, 4)
    (Plan(processes=8, threads=1), Plan(processes=3, threads=2), Plan(processes=2, threads=4))
    """
    count = processes or max(1, cores // (threads or 1))
    if processes is None and fitting is not None:
        count = max(1, min(count, fitting))
    return Plan(count, threads or max(1, cores // count))


class _DiedError(Exception):
    """A worker process is no longer there."""


class _Process:
    """One worker process, started when it is made. Used by one thread.

    Raises:
        _DiedError: if it died while it opened the model.
        SamEdgeError: if it could not open it.
    """

    def __init__(self, settings: Settings, share: int | None) -> None:
        # -P: photos' folder is often the current one, and must not be searched for modules. A
        # group of its own: Ctrl-C is for the parent, which lets this finish its photo.
        group: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sam_edge.batch.worker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # numpy's threads would be more than the cores, and each takes memory.
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
            **group,
        )
        error = self._ask((settings, share))
        if error is not None:
            self.end()
            raise error

    def do(self, job: Job, share: int | None) -> tuple[Outcome, int]:
        """Do one photo, and say how much memory is held then.

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
        self._process.wait()

    def _ask(self, content: object) -> Any:  # noqa: ANN401 - what the process pickles
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(content, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.kill()
            self.end()
            raise _DiedError(_death(self._process.returncode)) from None


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
        if threads != self._threads:
            self.end()
        while not self._killed:
            try:
                if self._process is None:
                    self._threads = threads
                    self._process = _Process(replace(self._settings, threads=threads), share)
                    self._opened = True
                outcome, held = self._process.do(job, share)
            except _DiedError as error:
                self._process = None
                job = replace(job, attempt=job.attempt + 1)
                if job.attempt < MOST_DEATHS:
                    continue
                if not self._opened:
                    raise BatchError(
                        f"a worker process {error} while it opened the model, {MOST_DEATHS} times; "
                        "a smaller model, or more memory, may help"
                    ) from None
                reason = f"its worker process {error}, {MOST_DEATHS} times"
                return Outcome(job.item, FAILED, problems=job.problems, error=reason)
            if share is not None and held > RECYCLED_ABOVE * share:
                self.end()
            return outcome
        return None

    def kill(self) -> None:
        """End at once, from another thread."""
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Let the process end, once it has done its photo."""
        process, self._process = self._process, None
        if process is not None:
            process.end()


class _Crew:
    """Threads with a worker each, which share jobs and memory."""

    def __init__(
        self,
        jobs: Iterator[Job],
        settings: Settings,
        plan: Plan,
        limit: int | None,
        stop: threading.Event,
    ) -> None:
        self.outcomes: queue.Queue[Outcome | Exception | None] = queue.Queue()
        self._jobs = jobs
        self._jobs_lock = threading.Lock()
        self._settings = settings
        self._limit = limit
        self._stop = stop
        self._plan = Plan(0, 1)
        self._workers: list[SteadyWorker] = []
        self._threads: list[threading.Thread] = []
        self.grow(plan)

    def grow(self, plan: Plan) -> int:
        """Add workers up to a plan, and say how many were added; the others take its threads."""
        self._plan = plan
        added = max(0, plan.processes - len(self._workers))
        for _ in range(added):
            worker = SteadyWorker(self._settings)
            thread = threading.Thread(target=self._run, args=(worker,), daemon=True)
            self._workers.append(worker)
            self._threads.append(thread)
            thread.start()
        return added

    def kill(self) -> None:
        """End at once."""
        for worker in self._workers:
            worker.kill()

    def join(self) -> None:
        """Wait until all that is under way is done; Ctrl-C kills it."""
        try:
            for thread in self._threads:
                while thread.is_alive():
                    thread.join(timeout=0.5)
        except KeyboardInterrupt:
            self.kill()
            raise

    def _run(self, worker: SteadyWorker) -> None:
        try:
            while (job := self._next()) is not None:
                plan = self._plan
                share = None if self._limit is None else self._limit // plan.processes
                outcome = worker.do(job, plan.threads, share)
                if outcome is not None:
                    self.outcomes.put(outcome)
        except Exception as error:
            self._stop.set()
            self.outcomes.put(error)
        finally:
            worker.end()
            self.outcomes.put(None)

    def _next(self) -> Job | None:
        with self._jobs_lock:
            return None if self._stop.is_set() else next(self._jobs, None)


def run_local(
    jobs: Iterator[Job],
    settings: Settings,
    *,
    processes: int | None = None,
    threads: int | None = None,
    limit: int | None = None,
    stop: threading.Event,
) -> Iterator[Outcome]:
    """Do photos in worker processes, and yield what became of each, as they come.

    The first photo is done by one process; how much memory that took says how many fit.

    Args:
        jobs: taken one by one, from other threads.
        settings: how photos are done.
        processes: how many; None for one a core, as far as memory allows.
        threads: of the engine in each; None for the cores' share.
        limit: in bytes, for the memory of all of them.
        stop: where it is set, no more jobs are taken, and what is under way is finished.

    Raises:
        BatchError: if worker processes cannot be had.
        SamEdgeError: if the model cannot be opened.
    """
    if getattr(sys, "frozen", False):
        raise BatchError("a frozen program has no Python that worker processes could run")
    cores = cores_here()
    # Alone, the first may have all of the memory.
    plan = Plan(1, planned(cores, processes, threads).threads)
    crew = _Crew(jobs, settings, plan, limit, stop)
    running = 1
    first = True
    failure: Exception | None = None
    try:
        while running:
            try:
                # Timed, so that Ctrl-C is answered where a wait would not be.
                found = crew.outcomes.get(timeout=0.5)
            except queue.Empty:
                continue
            if found is None:
                running -= 1
            elif isinstance(found, Exception):
                failure = failure or found
            else:
                if first:
                    first = False
                    room = limit or _free_memory()
                    fitting = room // found.peak_bytes if room and found.peak_bytes else None
                    running += crew.grow(planned(cores, processes, threads, fitting))
                yield found
    except BaseException as error:
        if stop.is_set() and isinstance(error, KeyboardInterrupt):
            crew.kill()  # the second time: what was under way is not waited for
        stop.set()
        crew.join()
        raise
    if failure is not None:
        if isinstance(failure, SamEdgeError):
            raise failure
        raise BatchError(f"unforeseen: {type(failure).__name__}: {failure}") from failure


def _free_memory() -> int | None:
    """Return how many bytes may be used without others noticing; None where it is not known."""
    known = [size for size in (memory_info("MemAvailable"), memory_limit()) if size is not None]
    return int(SHARE_OF_FREE * min(known)) if known else None
