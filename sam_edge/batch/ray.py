"""A batch on a cluster: Ray Data hands out the photos, and each of its actors has a worker process.

A photo that kills a process is then reported as on one machine, and what a lost machine had under
way is done again elsewhere by Ray.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.batch.steady import SteadyWorker
from sam_edge.batch.values import BatchError, Job, Outcome, Settings
from sam_edge.bundle import MANIFEST_NAME
from sam_edge.cache import cache_directory
from sam_edge.errors import MissingDependencyError
from sam_edge_runtimes.threads import cores_here

PHOTOS_AT_ONCE = 50_000
"""Photos that are handed to Ray in one go: their prompts are in its memory then."""

LARGEST_BLOCK = 8
"""Photos that a worker is given at once, and a lost machine has to do again."""

ASKED_EVERY_S = 0.2
"""A worker that does many photos a second asks less often whether it is to stop."""

_Batch = dict[str, "NDArray[np.object_]"]


def run_ray(
    jobs: Iterator[Job],
    settings: Settings,
    *,
    address: str | None = None,
    processes: int | None = None,
    threads: int | None = None,
    limit: int | None = None,
    stop: threading.Event,
) -> Iterator[Outcome]:
    """Do photos on a Ray cluster, and yield what became of each, as they come.

    Args:
        jobs: taken by the thousand.
        settings: how photos are done.
        address: of the cluster; None takes the one that is connected or that ``RAY_ADDRESS``
            names, or starts one here.
        processes: workers of the whole cluster; None for as many as its cores have room for.
        threads: of the engine in each; None for 1.
        limit: in bytes, for the memory of the workers of one machine.
        stop: where it is set, what is under way is finished and no more is begun.

    Raises:
        MissingDependencyError: if Ray is not installed.
        BatchError: if the cluster cannot be reached.
    """
    ray = _connected(address)
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    threads = threads or 1
    nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    count = processes or max(1, int(sum(nodes)) // threads)
    if threads > max(nodes, default=0):
        raise BatchError(
            f"no machine of the cluster has {threads} cores, the largest has "
            f"{int(max(nodes, default=0))}; give fewer threads"
        )
    share = None if limit is None else limit // max(1, int(max(nodes)) // threads)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    flag = ray.remote(_Flag).options(num_cpus=0, scheduling_strategy=here).remote()
    folders = [settings.bundle, *([] if settings.words is None else [settings.words.bundle])]
    bundles = [_Bundle(_digest(Path(each)), ray.put(packed(Path(each)))) for each in folders]
    ended = threading.Event()

    def pass_on() -> None:
        while not ended.wait(timeout=0.2):
            if stop.is_set():
                ray.get(flag.set.remote())
                return

    watcher = threading.Thread(target=pass_on, daemon=True)
    watcher.start()
    try:
        while not stop.is_set() and (chosen := list(islice(jobs, PHOTOS_AT_ONCE))):
            rows = min(LARGEST_BLOCK, max(1, len(chosen) // (4 * count)))
            dataset = ray.data.from_items(
                [{"job": pickle.dumps(job)} for job in chosen],
                override_num_blocks=max(1, len(chosen) // rows),
            ).map_batches(
                _Actor,
                batch_size=None,
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(size=min(count, len(chosen))),
                num_cpus=threads,
                fn_constructor_args=(settings, bundles, threads, share, flag, os.getcwd()),
            )
            for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
                for content in batch["outcome"]:
                    outcome = pickle.loads(content)
                    if isinstance(outcome, Exception):
                        raise outcome
                    if outcome is not None:
                        yield outcome
    finally:
        ended.set()
        watcher.join()
        ray.kill(flag)


@dataclass(frozen=True, slots=True)
class _Bundle:
    """A bundle on its way: the digest of its manifest, and a reference of Ray's to its files."""

    digest: str
    files: Any


class _Flag:
    """Tells the workers, wherever they are, that no more photos are to be begun."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


class _Actor:
    """A worker process on a machine of the cluster."""

    def __init__(
        self,
        settings: Settings,
        bundles: Sequence[_Bundle],
        threads: int,
        share: int | None,
        flag: Any,  # noqa: ANN401 - an actor of Ray's
        folder: str,
    ) -> None:
        import ray

        with suppress(OSError):  # photos may be named from there
            os.chdir(folder)
        self._ray = ray
        self._flag = flag
        self._asked, self._stopped = -ASKED_EVERY_S, False
        self._threads, self._share = threads, share
        own, *of_words = [
            str(unpacked(each.digest, partial(ray.get, each.files))) for each in bundles
        ]
        words = settings.words
        if words is not None:
            words = replace(words, bundle=of_words[0])
        self._worker = SteadyWorker(replace(settings, bundle=own, words=words))

    def __call__(self, batch: _Batch) -> _Batch:
        answers = np.empty(len(batch["job"]), np.object_)
        for index, content in enumerate(batch["job"]):
            answers[index] = pickle.dumps(self._do(pickle.loads(content)))
        return {"outcome": answers}

    def _do(self, job: Job) -> Outcome | Exception | None:
        try:
            if time.monotonic() - self._asked > ASKED_EVERY_S:
                self._asked = time.monotonic()
                self._stopped = self._ray.get(self._flag.is_set.remote())
            if self._stopped:
                return None
            return self._worker.do(job, self._threads, self._share)
        except Exception as error:  # Ray would do it again for ever
            return error


def _digest(bundle: Path) -> str:
    return hashlib.sha256((bundle / MANIFEST_NAME).read_bytes()).hexdigest()


def packed(bundle: Path) -> dict[str, NDArray[np.uint8]]:
    """Return a bundle's files as arrays, which the workers of a machine share."""
    return {path.name: np.fromfile(path, np.uint8) for path in bundle.iterdir() if path.is_file()}


def unpacked(digest: str, fetch: Callable[[], Mapping[str, NDArray[np.uint8]]]) -> Path:
    """Return the folder of a bundle on this machine, put there by whoever comes first.

    Args:
        digest: of its manifest, which has those of its graphs.
        fetch: brings what ``packed`` returned.
    """
    folder = cache_directory() / "batch" / digest
    if (folder / MANIFEST_NAME).is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{digest[:12]}.") as work:
        place = Path(work) / "bundle"
        place.mkdir()
        for name, data in fetch().items():
            data.tofile(place / name)
        try:
            os.rename(place, folder)
        except OSError:  # another was faster
            if not (folder / MANIFEST_NAME).is_file():
                shutil.rmtree(folder, ignore_errors=True)
                os.rename(place, folder)
    return folder


def _connected(address: str | None) -> Any:  # noqa: ANN401 - the module
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            f"the engine ray needs Ray Data ({error}): pip install 'sam-edge[ray]'"
        ) from error
    if not ray.is_initialized():
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        own: dict[str, Any] = {}
        if address == "local":
            own = {"num_cpus": cores_here(), "include_dashboard": False}
        # Ray has a handler of its own, which ends the program in the middle of a photo.
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise BatchError(
                f"no connection to a Ray cluster at {address}: "
                f"{' '.join(str(error).split())[:300]}; it is not there, or wants a token that is "
                "not set here (RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)"
            ) from error
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
