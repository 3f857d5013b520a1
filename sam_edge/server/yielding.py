"""What encodes ahead stands still while somebody hovers.

Low priority alone does not keep it out of the way: on few cores its threads hold one when a
decode's are about to start, and its data is in the caches.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

AFTER_S = 0.1
"""How long it stands still after a decode: a hand that moves asks for the next one soon."""

MOST_S = 0.4
LEAST_S = 0.1
"""However much is decoded, of MOST_S + LEAST_S it has LEAST_S to itself."""


class Yielding:
    """Stops a process at its work for decodes, and lets it go on. Used from one event loop."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._decoding = False
        self._room_s = MOST_S  # for which it may still stand still; grows while it works
        self._since = 0.0  # when it was last stopped, or went on
        self._stopped = False
        self._stops: list[tuple[float, float]] = []
        self._rest: asyncio.TimerHandle | None = None
        self._turn: asyncio.TimerHandle | None = None

    def begin(self, process: asyncio.subprocess.Process) -> None:
        """A process works from now on."""
        self._process, self._stops = process, []
        self._stop_if_due()

    def end(self) -> list[tuple[float, float]]:
        """Its work is done, or given up; return when it stood still: from, to, of this clock."""
        self._go_on()
        self._cancel_turn()
        self._process = None
        return self._stops

    def decoding(self, under_way: bool) -> None:
        """Be told when decodes begin, and when none is left."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if under_way:
            self._decoding = True
            self._stop_if_due()
        else:
            self._rest = asyncio.get_running_loop().call_later(AFTER_S, self._all_quiet)

    def _all_quiet(self) -> None:
        self._decoding, self._rest = False, None
        if self._stopped:
            self._cancel_turn()
            self._go_on()

    def _stop_if_due(self) -> None:
        if self._process is None or self._stopped or self._turn is not None or not self._decoding:
            return
        self._send(signal.SIGSTOP)
        ran = self._now() - self._since
        self._room_s = min(MOST_S, self._room_s + ran * MOST_S / LEAST_S)
        self._stopped, self._since = True, self._now()
        self._turn = asyncio.get_running_loop().call_later(self._room_s, self._its_turn)

    def _go_on(self) -> None:
        if not self._stopped:
            return
        self._send(signal.SIGCONT)
        since, now = self._since, self._now()
        self._stops.append((since, now))
        self._room_s -= now - since
        self._stopped, self._since = False, now

    def _its_turn(self) -> None:
        self._go_on()
        self._turn = asyncio.get_running_loop().call_later(LEAST_S, self._turn_over)

    def _turn_over(self) -> None:
        self._turn = None
        self._stop_if_due()

    def _cancel_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _send(self, which: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(which)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
