"""How many cores this process may use: not every machine is all ours.

``taskset``, cpusets and containers keep a process from some of a machine's cores, or from some of
their time. ONNX Runtime (1.32) sees neither: it starts a thread per core of the machine and pins
each to its own, outside of what was allowed if the kernel lets it. OpenVINO sees the first alone.
Threads that share a core wait for each other, which is slower than having fewer.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sam_edge_runtimes.memory import system_text

ROOT = Path("/")


def thread_limit(root: Path = ROOT) -> int | None:
    """Return how many threads an engine may have at most, for ``threads=None``.

    None where the whole machine may be used: an engine then knows better than to take a thread per
    core. ONNX Runtime pins its threads, OpenVINO leaves out the slow cores of a hybrid.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    allowed, online = _allowed(), _online(root)
    if allowed is None:
        return None
    cores = cores_here(root)
    return cores if allowed < online or cores < whole_cores(online, root) else None


def cores_here(root: Path = ROOT) -> int:
    """Return how many cores this process may use, at least 1.

    It is the least of: the cores that it may run on, two hyper-threads being one, as products of
    matrices gain nothing by the second; its control group's share of processor time, rounded up;
    and, from Python 3.13 on, ``PYTHON_CPU_COUNT``.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    allowed = _allowed()
    limits = [os.cpu_count() or 1 if allowed is None else whole_cores(allowed, root)]
    share = cgroup_quota(root)
    if share is not None:
        limits.append(math.ceil(share))
    if sys.version_info >= (3, 13):
        limits.append(os.process_cpu_count() or 1)
    return max(1, min(limits))


def cgroup_quota(root: Path = ROOT) -> float | None:
    """Return how many processors' time this process's control groups leave it, None for no limit.

    Every group above it limits it, too.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    groups = root / "sys" / "fs" / "cgroup"
    shares = []
    for folder in cgroup_folders(system_text(root / "proc" / "self" / "cgroup")):
        group = groups / folder
        for text in (
            system_text(group / "cpu.max"),
            f"{system_text(group / 'cpu.cfs_quota_us')} {system_text(group / 'cpu.cfs_period_us')}",
        ):
            share = quota(text)
            if share is not None:
                shares.append(share)
    return min(shares, default=None)


def cgroup_folders(membership: str) -> list[str]:
    r"""List where limits of processor time may stand, below ``/sys/fs/cgroup``.

    In a container the names may be the host's, which are not there, and the container's own limits
    stand at the top; so every folder on the way up is listed.

    Args:
        membership: the text of ``/proc/self/cgroup``: version 2's line begins with ``0::``, others
            are version 1's.

    >>> cgroup_folders("0::/user/app")
    ['user/app', 'user', '.', 'unified/user/app', 'unified/user', 'unified']
    >>> cgroup_folders("9:memory:/app\n3:cpu,cpuacct:/app")
    ['cpu,cpuacct/app', 'cpu,cpuacct', 'cpu/app', 'cpu']
    """
    folders = []
    for line in membership.splitlines():
        controllers, _, name = line.partition(":")[2].partition(":")
        if controllers == "":
            mounts = [".", "unified"]
        elif "cpu" in controllers.split(","):
            mounts = list(dict.fromkeys((controllers, "cpu")))
        else:
            continue
        # A process outside of its namespace's root is shown with leading "..".
        inside = PurePosixPath(*(part for part in name.split("/") if part not in ("", "..")))
        for mount in mounts:
            folders += [str(PurePosixPath(mount) / group) for group in (inside, *inside.parents)]
    return folders


def quota(text: str) -> float | None:
    """Read a quota and its period, both in microseconds, as processors; None for no limit.

    >>> quota("150000 100000"), quota("max 100000"), quota("-1 100000"), quota(" ")
    (1.5, None, None, None)
    """
    numbers = text.split()
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        return None
    share, period = map(int, numbers)
    return share / period if share and period else None


def whole_cores(processors: Iterable[int], root: Path = ROOT) -> int:
    """Count the cores that logical processors are halves of.

    Args:
        processors: the system's numbers.
        root: where ``sys`` is. A processor of which it does not tell is a core.
    """
    folder = root / "sys" / "devices" / "system" / "cpu"
    return len(
        {
            system_text(folder / f"cpu{number}" / "topology" / "thread_siblings_list")
            or str(number)
            for number in processors
        }
    )


def processor_list(text: str) -> frozenset[int]:
    """Read the kernel's form of a set of processors.

    >>> sorted(processor_list("0-2,5"))
    [0, 1, 2, 5]
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _online(root: Path) -> frozenset[int]:
    online = processor_list(system_text(root / "sys" / "devices" / "system" / "cpu" / "online"))
    return online or frozenset(range(os.cpu_count() or 1))


def _allowed() -> frozenset[int] | None:
    """Return the processors that this process may run on; None where the system sets no limits."""
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return None
