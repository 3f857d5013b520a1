"""The fingerprint of a machine: what a timing depends on, and nothing that names its owner."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from sam_edge.cli.doctor import cpu_model, installed, read_fact
from sam_edge_runtimes.cpu import features_here
from sam_edge_runtimes.memory import memory_info, memory_limit
from sam_edge_runtimes.threads import cgroup_quota, thread_limit

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
        "cpu_model": cpu_model(read_fact("/proc/cpuinfo"), read_fact("/proc/device-tree/model")),
        "cpu_features": features_here(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "thread_limit": thread_limit(),
        "governor": read_fact("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "memory_bytes": memory_info("MemTotal"),
        "swap_bytes": memory_info("SwapTotal"),
        "container": container_limits(),
        "os": platform.platform(),
    }


def software() -> dict[str, str]:
    """Return the versions of what takes part in a measurement, where it is installed."""
    return {"python": platform.python_version(), **installed(PACKAGES)}


def container_limits() -> dict[str, float | int | None]:
    """Return what a container may use: processors and bytes of memory, None for no limit."""
    return {"processors": cgroup_quota(), "memory_bytes": memory_limit()}


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
