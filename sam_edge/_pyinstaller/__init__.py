"""What PyInstaller must know to freeze a program of yours: it asks by the entry point below.

sam-edge imports most of its modules, and the engine, when they are first needed, and by name, which
an analysis of the code cannot see.
"""

from __future__ import annotations

from pathlib import Path


def hook_directories() -> list[str]:
    """Return where the hooks lie; the entry point ``hook-dirs`` of the group ``pyinstaller40``."""
    return [str(Path(__file__).parent)]
