"""Worker processes on this machine: as many as its cores and its memory have room for."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from sam_edge.batch.steady import SteadyWorker
from sam_edge.batch.values import BatchError, Job, Outcome, Settings
from sam_edge.errors import SamEdgeError
from sam_edge_runtimes.memory import memory_info, memory_limit
from sam_edge_runtimes.threads import cores_here

SHARE_OF_FREE = 0.75
"""Of the memory that is free at the start, without a limit of the user's."""

ROOM = 1.25
"""Times what a worker holds after a photo: what it may need meanwhile, where it is limited."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many processes there are, and how many threads of the engine in each."""

    processes: int
    threads: int


def planned(
    cores: int, processes: int | None, threads: int | None, fitting: int | None = None
) -> Plan:
    """Share out cores: a process each, unless told otherwise or memory is short.

    An engine's second thread gains less than a second process, which also reads the next photo
    meanwhile: nano is a third faster so on ONNX Runtime and 45 % on OpenVINO, on two cores
    (``benchmarks/techniques/batch.json``, ``batch-bfloat16.json``). Where not all of them fit, as
    many as leave no core idle.

    Args:
        cores: that this process may use.
        processes: as the user says; None for as many as fit.
        threads: in each, as the user says; None for the cores' share.
        fitting: how many fit into the memory; None if that is not known.

    >>> planned(8, None, None), planned(8, None, None, fitting=5), planned(8, None, 2)
    (Plan(processes=8, threads=1), Plan(processes=4, threads=2), Plan(processes=4, threads=2))
    >>> planned(1, None, None), planned(3, None, None, fitting=0), planned(2, 2, None)
    (Plan(processes=1, threads=1), Plan(processes=1, threads=3), Plan(processes=2, threads=1))
    """
    most = cores if fitting is None else max(1, min(cores, fitting))
    if processes is None and threads is not None:
        processes = max(1, min(cores // threads, most))
    if processes is None:
        processes = max(range(1, most + 1), key=lambda count: (count * (cores // count), count))
    return Plan(processes, threads or max(1, cores // processes))


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
                    room = int(limit / ROOM) if limit else _free_memory()
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
