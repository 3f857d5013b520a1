"""Programs in processes of their own, as every script here measures them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def answer_of(program: str, *words: object, environment: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - whatever the program says
    """Run Python in a fresh process; return its last line's JSON, None if it says nothing.

    Args:
        program: code, or the path of a ``.py`` file.
        words: its arguments.
        environment: None for this process's.
    """
    start = [program] if program.endswith(".py") else ["-c", program]
    command = [sys.executable, *start, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.stderr[-2000:]}")
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else None


@contextmanager
def served(*words: str, cache: str | None = None) -> Iterator[tuple[str, int]]:
    """Run ``sam-edge serve`` on a free port; yields its address and its process's number.

    Args:
        words: more of its command line.
        cache: the folder of its cache; None for the user's.
    """
    command = [sys.executable, "-P", "-m", "sam_edge.cli", "serve", *words]
    environment = {**os.environ, **({} if cache is None else {"SAM_EDGE_CACHE": cache})}
    process = subprocess.Popen(
        [*command, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.terminate()
        process.wait(20)


def processor_seconds() -> float:
    """Return what this process and all that came of it have used of processors; Linux alone.

    A hundredth of a second is the finest that the system says of each.
    """
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything; after it: state, parent, ...
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile, and its time is its parent's
            continue
        number = int(path.parent.name)
        parents[number] = int(fields[1])
        ticks[number] = sum(map(int, fields[11:15]))  # its own and that of children that ended
    family = {os.getpid()}
    while more := {n for n, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks[number] for number in family) / os.sysconf("SC_CLK_TCK")
