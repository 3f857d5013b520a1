"""What a process can say about itself: memory, processor time, and how warm the board is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from sam_edge_benchmarks.work import Opaque
from sam_edge_runtimes.memory import peak_rss, resident_sizes

CLEAR_PEAK = "5"
"""What resets VmHWM when written to ``/proc/self/clear_refs`` (man 5 proc)."""


class Memory:
    """Peak memory of this process, phase by phase where the system allows it."""

    def __init__(self) -> None:
        self.resets = False

    def start_phase(self) -> None:
        """Forget the peaks so far, where that is allowed."""
        try:
            Path("/proc/self/clear_refs").write_text(CLEAR_PEAK, encoding="ascii")
            self.resets = True
        except OSError:
            self.resets = False
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()

    def end_phase(self) -> dict[str, int | bool | None]:
        """Return peaks since ``start_phase``, in bytes.

        Returns:
            ``peak_rss_bytes``: the largest resident size; ``peak_is_of_phase``: False where the
            system cannot reset it, so that it is the largest of the process's life;
            ``anonymous_rss_bytes``: resident memory behind no file, at the phase's end;
            ``cuda_peak_bytes``: ``torch.cuda.max_memory_allocated``, None without CUDA.
        """
        status = resident_sizes()
        cuda = _cuda()
        return {
            "peak_rss_bytes": peak_rss(),
            "peak_is_of_phase": self.resets and "VmHWM" in status,
            "anonymous_rss_bytes": status.get("RssAnon"),
            "cuda_peak_bytes": None if cuda is None else int(cuda.max_memory_allocated()),
        }


def _cuda() -> Opaque:
    """``torch.cuda`` if this process uses it. Never imports torch by itself."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return torch.cuda


def read_board() -> dict[str, float | str]:
    """Return temperatures, clocks and throttling, as far as the board tells.

    Returns:
        ``temperature_celsius.<zone>``, ``clock_hertz.cpu<N>`` and, on a Raspberry Pi,
        ``throttled``: the firmware's bits, ``0x0`` when it never throttled.
    """
    found: dict[str, float | str] = {}
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        temperature = _number(zone / "temp")
        if temperature is not None:
            kind = (_text(zone / "type") or zone.name)[:40]
            found[f"temperature_celsius.{kind}"] = temperature / 1000
    for clock in sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")):
        frequency = _number(clock)
        if frequency is not None:
            found[f"clock_hertz.{clock.parent.parent.name}"] = frequency * 1000
    if (tool := shutil.which("vcgencmd")) is not None:
        answer = subprocess.run(
            [tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=False
        )
        if answer.returncode == 0:
            found["throttled"] = answer.stdout.strip().removeprefix("throttled=")[:40]
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _number(path: Path) -> float | None:
    try:
        return float(_text(path) or "")
    except ValueError:
        return None
