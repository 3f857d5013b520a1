"""The parent's side of a worker process: start it, ask it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sam_edge_benchmarks.work import Request


class Worker:
    """One process that measures one subject. A context manager, so that none is left behind.

    Args:
        log: where the process's standard error goes; None throws it away.
    """

    def __init__(self, log: Path | None = None) -> None:
        with (log or Path(os.devnull)).open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sam_edge_benchmarks.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
                text=True,
                # Ctrl-C reaches the parent alone, which then decides what becomes of the worker.
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died, which its answers have told
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a message and give the answers as they come.

        A process that dies, for example because memory ran out, answers ``failed``.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then the reading below ends at once
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            answer = json.loads(line)
            if "end" in answer:
                return
            yield answer
        code = self._process.wait()
        reason = "killed, probably because memory ran out" if code == -9 else f"exit code {code}"
        yield {"failed": f"the worker process died: {reason}"}

    def measure(self, request: Request, task: str = "measure") -> Iterator[dict[str, Any]]:
        """Ask for ``measure``, ``open`` or ``masks``."""
        return self.ask({"do": task, "request": request.to_json()})

    def sample(self, phase: str, prompts: int | None) -> dict[str, Any]:
        """Take one sample of a phase of the subject that was opened."""
        answers = list(self.ask({"do": "sample", "phase": phase, "prompts": prompts}))
        return answers[0]


def _environment() -> dict[str, str]:
    """The parent's environment, with our packages where the parent found them."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
