"""The process's memory: how much it is, and giving back what was freed."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


def give_back_freed() -> None:
    """Return freed heap to the system, where the C library is glibc; elsewhere do nothing.

    Once a program has freed one block of some megabytes (a photo), glibc serves blocks up to that
    size from its heap, and what an engine freed while it parsed a graph stays: 0.3 GB for ViT-B.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def resident_sizes() -> dict[str, int]:
    """Return the sizes in ``/proc/self/status`` (man 5 proc) in bytes; empty but on Linux."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    sizes = {}
    for line in lines:
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[name] = int(value.split()[0]) * 1024
    return sizes


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
