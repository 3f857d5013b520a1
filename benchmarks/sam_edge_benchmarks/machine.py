"""The fingerprint of a machine: what a timing depends on, and nothing that names its owner."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sam_edge_runtimes.cpu import cpu_features

PACKAGES = (
    "sam-edge",
    "numpy",
    "pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "torchvision",
    "segment-anything",
    "mobilesam-mirror",
    "timm",
    "onnx",
    "nncf",
)


def fingerprint() -> dict[str, Any]:
    """Return what the machine is. A fact that it does not tell is None."""
    return {
        "cpu_model": cpu_model(_read("/proc/cpuinfo"), _read("/proc/device-tree/model")),
        "cpu_features": cpu_features(_read("/proc/cpuinfo")),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "memory_bytes": _meminfo("MemTotal"),
        "swap_bytes": _meminfo("SwapTotal"),
        "container": container_limits(),
        "os": platform.platform(),
    }


def software() -> dict[str, str]:
    """Return the versions of what takes part in a measurement, where it is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def cpu_model(cpuinfo: str, device_tree: str) -> str:
    r"""Name the processor; on a board without a processor's name, the board.

    >>> cpu_model("processor: 0\nmodel name\t: AMD EPYC 7742", "")
    'AMD EPYC 7742'
    >>> cpu_model("processor: 0", "Raspberry Pi 5 Model B Rev 1.0")
    'Raspberry Pi 5 Model B Rev 1.0'
    """
    names = _values(cpuinfo, "model name")
    if names:
        return names[0]
    return device_tree.strip("\0 \n") or platform.processor() or platform.machine()


def container_limits() -> dict[str, float | int | None]:
    """Return what a container may use: processors and bytes of memory, None for no limit."""
    quota, period = None, 100_000.0
    if two := _read("/sys/fs/cgroup/cpu.max").split():
        quota, period = _float(two[0]), _float(two[1]) or period
    else:
        quota = _float(_read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
        period = _float(_read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")) or period
    memory = _float(
        _read("/sys/fs/cgroup/memory.max") or _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")
    )
    return {
        "processors": None if quota is None or quota <= 0 else quota / period,
        # cgroup v1 says "no limit" with a number near 2 ** 63
        "memory_bytes": None if memory is None or memory >= 2**60 else int(memory),
    }


def load_average() -> list[float] | None:
    """Return how many processes wanted to run over the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def git_state() -> dict[str, str | bool] | None:
    """Return the commit of the checkout that runs, and whether code was changed since."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.strip()

    try:
        root = git("rev-parse", "--show-toplevel")
        if not (Path(root) / "benchmarks" / "sam_edge_benchmarks").is_dir():
            return None  # installed inside somebody else's repository
        changed = git("status", "--porcelain", "--untracked-files=no", "--", root)
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def _usable_cores() -> int | None:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _meminfo(name: str) -> int | None:
    values = _values(_read("/proc/meminfo"), name)
    return int(values[0].split()[0]) * 1024 if values else None


def _values(text: str, key: str) -> list[str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
