"""The clock: phases one after another, warm-up apart, every sample kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sam_edge_benchmarks.probes import Memory
from sam_edge_benchmarks.work import Settings

Clock = Callable[[], float]


@dataclass(slots=True)
class Stopwatch:
    """Times calls, and the memory and processor time they take.

    Attributes:
        clock: wall time in seconds.
        cpu_clock: processor time of the whole process in seconds, all its threads together.
        memory: see ``Memory``.
    """

    clock: Clock = time.perf_counter
    cpu_clock: Clock = time.process_time
    memory: Memory = field(default_factory=Memory)

    def once(self, name: str, call: Callable[[], Any]) -> tuple[dict[str, Any], Any]:
        """Time what happens once in a process's life. Returns the phase and the call's answer."""
        answers: list[Any] = []
        only = Settings(0, 1, 1, 0.0, 0, 0)
        phase = self.repeated(name, lambda: answers.append(call()), only)
        return phase, answers[0]

    def repeated(
        self, name: str, call: Callable[[], Any], settings: Settings, prompts: int | None = None
    ) -> dict[str, Any]:
        """Time a call over and over.

        Warm-up calls are made and thrown away; every other sample is kept, in order. The phase
        ends after ``settings.repeats`` samples, or after ``min_repeats`` once the samples sum up to
        ``budget_seconds``. On CUDA, ``call`` must synchronise before it returns.

        Args:
            name: of the phase.
            call: what is timed.
            settings: how often.
            prompts: how many prompts the call answers, for the record.

        Returns:
            A phase as ``docs/benchmark-record.md`` describes it.
        """
        for _ in range(settings.warmup):
            call()
        samples: list[float] = []
        self.memory.start_phase()
        cpu_start = self.cpu_clock()
        while len(samples) < settings.repeats and (
            len(samples) < settings.min_repeats or sum(samples) < settings.budget_seconds
        ):
            start = self.clock()
            call()
            samples.append(self.clock() - start)
        return {
            "name": name,
            "prompts": prompts,
            "warmup": settings.warmup,
            "samples_seconds": samples,
            "cpu_seconds": self.cpu_clock() - cpu_start,
            **self.memory.end_phase(),
        }
