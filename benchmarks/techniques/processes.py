"""Programs in processes of their own, as every script here measures them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
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
def listening(
    *command: str, environment: Mapping[str, str] | None = None, log: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server of Python's that says in its first line where it listens.

    Yields its process, which is ended afterwards if it still runs, and that line.

    Args:
        command: Python's arguments.
        environment: None for this process's.
        log: where its stderr goes; None for this process's.
    """
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@contextmanager
def served(*words: str, cache: str | None = None) -> Iterator[tuple[str, int]]:
    """Run ``sam-edge serve`` on a free port; yields its address and its process's number.

    Args:
        words: more of its command line.
        cache: the folder of its cache; None for the user's.
    """
    command = ["-P", "-m", "sam_edge.cli", "serve", *words, "--port", "0", "--no-browser"]
    environment = {**os.environ, **({} if cache is None else {"SAM_EDGE_CACHE": cache})}
    with listening(*command, environment=environment) as (process, address):
        yield address, process.pid


@contextmanager
def hosted(folder: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run Python's own server of files on a free port; yields its address, and what stops it."""
    command = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", folder]
    with listening(*command, log=subprocess.DEVNULL) as (process, said):

        def stop() -> None:
            process.kill()
            process.wait(10)

        yield f"http://127.0.0.1:{said.split()[5]}/", stop


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
