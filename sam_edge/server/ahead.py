"""Encoding the next photo while the user looks at this one, in a process of its own.

At equal priority, and in the server's own process, it would double the time of a hover.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import EngineError, ImageError
from sam_edge.server.yielding import Yielding

IDLE_S = 120
"""After so long without work the process ends, and its encoder's memory is free."""


class AheadProcess:
    """Starts the process at the first photo, and again after it was stopped or has died.

    Args:
        choice: the arguments of ``load_model``, as JSON can hold them.
        yielding: stops it for decodes, where the system can see to it that it does not stay so.
    """

    def __init__(self, choice: Mapping[str, Any], yielding: Yielding) -> None:
        self._choice, self._yielding = choice, yielding
        self._process: asyncio.subprocess.Process | None = None
        self._stoppable = False
        self._idle: asyncio.TimerHandle | None = None

    @property
    def available(self) -> bool:
        """Whether there is a Python to start: a frozen program's executable is the program."""
        return not getattr(sys, "frozen", False)

    async def encode(
        self, path: Path, part: tuple[int, int, int, int] | None
    ) -> tuple[ImageEmbedding, tuple[int, int], float]:
        """Encode a photo, one at a time. Cancelled, it kills the process.

        Returns:
            The embedding, ``(height, width)`` of the whole photo, and how long it took in ms, but
            for when it was stopped.

        Raises:
            ImageError: if it is no photo.
            EngineError: if the process failed.
        """
        if self._idle is not None:
            self._idle.cancel()
        process = self._process or await self._start()
        with tempfile.TemporaryDirectory(prefix="sam-edge-ahead-") as folder:
            out = Path(folder) / "embedding.npz"
            if self._stoppable:
                self._yielding.begin(process)
            try:
                answer = await self._ask(
                    process, {"path": str(path), "part": part, "out": str(out)}
                )
            finally:
                stops = self._yielding.end()
            if "error" in answer:
                raise (ImageError if answer["kind"] == "photo" else EngineError)(answer["error"])
            embedding = await asyncio.to_thread(ImageEmbedding.load, out)
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end)
        height, width = answer["size"]
        start, end = answer["start"], answer["end"]
        stood = sum(max(0.0, min(end, till) - max(start, since)) for since, till in stops)
        return embedding, (height, width), 1000 * (end - start - stood)

    async def stop(self) -> None:
        """Kill the process, if there is one."""
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        # -P: photos' folder is often the current one, and must not be searched for modules.
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sam_edge.server.ahead_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._stoppable = (await self._ask(process, self._choice))["stoppable"]
        return process

    async def _ask(self, process: asyncio.subprocess.Process, words: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever it says
        """Say a line and wait for one. Cancelled, or if it has died, there is no process after."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(words).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except BaseException:
            await self.stop()
            raise
        if not line:
            await self.stop()
            raise EngineError("the process that encodes ahead has died; encode the photo itself")
        return json.loads(line)

    def _end(self) -> None:
        """End an idle process: it leaves when its stdin does."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process = None
