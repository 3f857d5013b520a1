"""The process's memory: how much it is, and giving back what was freed."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

ROOT = Path("/")


def give_back_freed() -> None:
    """Return freed heap to the system, where the C library is glibc; elsewhere do nothing.

    Once a program has freed one block of some megabytes (a photo), glibc serves blocks up to that
    size from its heap, and what an engine freed while it parsed a graph stays: 0.3 GB for ViT-B.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def resident_sizes(process: int | None = None) -> dict[str, int]:
    """Return the sizes in ``/proc/PID/status`` (man 5 proc) in bytes; empty but on Linux.

    Args:
        process: its number; None for this one.
    """
    return _sizes(system_text(Path("/proc") / str(process or "self") / "status"))


def memory_info(name: str, root: Path = ROOT) -> int | None:
    """Return a line of ``/proc/meminfo``, in bytes; None where it is not there.

    Args:
        name: ``MemTotal``, ``MemAvailable``, ...
        root: where ``proc`` is.
    """
    return _sizes(system_text(root / "proc" / "meminfo")).get(name)


def memory_limit(root: Path = ROOT) -> int | None:
    """Return how many bytes of memory this process's container may use, None for no limit.

    Args:
        root: where ``sys`` is.
    """
    groups = root / "sys" / "fs" / "cgroup"
    text = system_text(groups / "memory.max") or system_text(
        groups / "memory" / "memory.limit_in_bytes"
    )
    # Version 1 says "no limit" with a number near 2 ** 63.
    return int(text) if text.isdecimal() and int(text) < 2**60 else None


def peak_rss() -> int | None:
    """Return the largest resident size of this process's life in bytes, None on Windows.

    On Linux it is the largest since ``/proc/self/clear_refs`` last reset it.
    """
    sizes = resident_sizes()
    if "VmHWM" in sizes:
        return sizes["VmHWM"]
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _sizes(text: str) -> dict[str, int]:
    sizes = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[name] = int(value.split()[0]) * 1024
    return sizes


def system_text(path: Path) -> str:
    """Return what a file below ``/proc`` or ``/sys`` says; nothing where it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
