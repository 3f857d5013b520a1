"""Engines that report to their makers are kept from it: users hold patients' photos.

Left alone, ``import onnxruntime`` (1.32) writes a device id and a database under the user's home
and looks up its maker's host; ``import openvino`` writes a client id and sends an event. Both do so
while they are imported, so that nothing said afterwards comes in time.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import ModuleType

logger = logging.getLogger("sam_edge")

_LOCK = Lock()
_IMPORTED: set[str] = set()


def switch_off_telemetry() -> None:
    """Switch off what an engine reads from the environment; a user's own setting stays.

    It is for who imports an engine through a library that imports it. The variable is left set, so
    that worker processes are as quiet as this one.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def import_engine(engine: str) -> ModuleType:
    """Import an engine, which sends nothing and writes nothing while it is imported.

    One that the program imported before is as that program left it; a debug line says so.

    Args:
        engine: one of ``sam_edge_runtimes.ENGINES``.

    Raises:
        ImportError: if it is not installed.
    """
    with _LOCK:
        if engine in sys.modules and engine not in _IMPORTED:
            logger.debug("%s was imported before sam-edge could switch off its telemetry", engine)
        _IMPORTED.add(engine)
        switch_off_telemetry()
        if engine in sys.modules:
            return sys.modules[engine]
        # OpenVINO has a silent stand-in for it, which it takes where the package is missing.
        with _missing("openvino_telemetry"):
            return importlib.import_module(engine)


@contextmanager
def _missing(module: str) -> Iterator[None]:
    """Let a module be missing for a moment, and be what it was to who asks for it afterwards."""
    before = {module: sys.modules[module]} if module in sys.modules else {}
    sys.modules[module] = None  # type: ignore[assignment]  # importlib's word for "not there"
    try:
        yield
    finally:
        sys.modules.pop(module, None)
        sys.modules.update(before)
