"""``sam-edge doctor``: what this machine is and which engines work on it, in a form to paste.

Nothing in it names who uses the machine: the home folder is ``~``, the user ``USER``. It asks no
network, and engines run in processes of their own: one that was built for another processor dies
of an illegal instruction, and is reported instead of taking the report with it.
"""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sam_edge._version import __version__
from sam_edge.cache import CacheError, cache_directory
from sam_edge.cli import Subparsers, add_command
from sam_edge.cli.console import show
from sam_edge.cli.frame import FAILED
from sam_edge.files import json_text
from sam_edge_runtimes import ENGINES
from sam_edge_runtimes.cpu import X86, features_here, saturates_here
from sam_edge_runtimes.memory import memory_info, memory_limit
from sam_edge_runtimes.threads import cgroup_quota, cores_here, thread_limit

PACKAGES = ("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "onnx")
"""What masks and speed depend on. Only their versions are looked up: torch takes seconds."""

PROBE_SECONDS = 120
"""Long enough for a slow board that is busy, too."""

NEEDS = {"nano": 0.2e9, "mobile_sam": 0.25e9, "vit_b in int8": 0.55e9, "vit_b": 0.8e9}
"""About what a process takes at its peak, in bytes, on ONNX Runtime at the models' own image sizes:
``docs/performance.md``, measured on a PC."""

ARM64 = frozenset({"aarch64", "arm64"})

EXAMPLES = """\
examples:
  what to paste into an issue:
    sam-edge doctor
  whether a new machine, container or image of a board can segment:
    sam-edge doctor > /dev/null && echo ready
  one fact, for a script:
    sam-edge doctor --json | python -c "import json, sys; print(json.load(sys.stdin)['cores'])"

Read it from the bottom: a line that begins with "engine" says whether that engine opened the model
in the box and segmented with it. "threads" is how many an engine uses unless --threads says
otherwise: a container's quota, taskset and cpusets are obeyed. "int8" says whether a bundle with
full 8-bit weights is exact on this processor. "missing" names what this machine lacks, and what
that costs. "cache" is where downloads, exports and what engines
made of graphs stay; all of it may be deleted, and SAM_EDGE_CACHE moves it.

exit codes: 0 an engine works, 1 none does (the last line says what to do)
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add ``doctor`` to the command line."""
    doctor = add_command(
        subparsers,
        "doctor",
        "say what this machine is and which engines work on it",
        description="Say what this machine is and which engines work on it, in a form to paste "
        "into an issue. No user name, no home folder, no network.",
        examples=EXAMPLES,
    )
    doctor.add_argument("--json", action="store_true", help="print it as JSON")
    doctor.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print the report; exit code 0 if an engine works."""
    facts = examine()
    show(json_text(facts, indent=2) if arguments.json else report(facts))
    return 0 if facts["next_step"] is None else FAILED


def examine() -> dict[str, Any]:
    """Find out what there is to tell. A fact that the system does not tell is None.

    Returns:
        What ``--json`` prints: ``sam_edge``, ``python``, ``platform``, ``packages`` (name ->
        version), ``cpu``, ``cores``, ``memory`` in bytes, ``engines`` (name -> ``seconds`` to open
        the model in the box and segment with it, or the ``error``), ``missing`` (what the machine
        lacks, a line each), ``cache``, ``environment``, and ``next_step`` where no engine works.
    """
    engines = {engine: try_engine(engine) for engine in ENGINES}
    bits = platform.architecture()[0]  # 32-bit systems run on 64-bit boards
    memory = {
        "total": memory_info("MemTotal"),
        "available": memory_info("MemAvailable"),
        "limit": memory_limit(),
    }
    features = features_here()
    facts: dict[str, Any] = {
        "sam_edge": __version__,
        "python": ", ".join((platform.python_version(), platform.python_implementation(), bits)),
        "platform": platform.platform(),
        "packages": installed(PACKAGES),
        "cpu": {
            "model": cpu_model(read_fact("/proc/cpuinfo"), read_fact("/proc/device-tree/model")),
            "architecture": platform.machine(),
            "features": features,
            "int8_saturates": saturates_here(),
        },
        "cores": {
            "processors": os.cpu_count(),
            "usable": cores_here(),
            "quota": cgroup_quota(),
            "thread_limit": thread_limit(),
        },
        "memory": memory,
        "engines": engines,
        "missing": missing(bits, platform.machine(), features, memory),
        "cache": cache_state(),
        "environment": {
            name: without_secrets(value)
            for name, value in sorted(os.environ.items())
            if name.startswith("SAM_EDGE_")
        },
        "next_step": next_step(engines, bits),
    }
    nameless: dict[str, Any] = without_names(facts, os.path.expanduser("~"), _user())
    return nameless


def report(facts: Mapping[str, Any]) -> str:
    """Return what ``examine`` found as lines of a name and a value."""
    cpu, cores, memory, cache = (facts[name] for name in ("cpu", "cores", "memory", "cache"))
    limit = cores["thread_limit"]
    rows = [
        ("sam-edge", facts["sam_edge"]),
        ("python", facts["python"]),
        ("platform", facts["platform"]),
        *facts["packages"].items(),
        ("processor", f"{cpu['model']}, {cpu['architecture']}"),
        ("features", " ".join(cpu["features"]) or "not known"),
        ("int8", "8-bit weights saturate" if cpu["int8_saturates"] else "8-bit weights are exact"),
        (
            "cores",
            f"{cores['usable']} for this process; the machine has {cores['processors']} processors"
            + ("" if cores["quota"] is None else f", its quota is {cores['quota']:g}"),
        ),
        ("threads", "as many as the engine wants" if limit is None else f"at most {limit}"),
        (
            "memory",
            f"{_size(memory['available'])} available of {_size(memory['total'])}"
            + ("" if memory["limit"] is None else f", limited to {_size(memory['limit'])}"),
        ),
        ("cache", _cache_line(cache)),
        *((name, value) for name, value in facts["environment"].items()),
        *(("missing", lack) for lack in facts["missing"]),
    ]
    for name, engine in facts["engines"].items():
        works = engine["error"] is None
        rows.append(
            (
                "engine",
                f"{name}: "
                + (
                    f"works; took {engine['seconds']} s with its start"
                    if works
                    else engine["error"]
                ),
            )
        )
    if facts["next_step"] is not None:
        rows.append(("next step", facts["next_step"]))
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows)


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed, without importing any."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def cpu_model(cpuinfo: str, device_tree: str) -> str:
    r"""Name the processor; on a board without a processor's name, the board.

    >>> cpu_model("processor: 0\nmodel name\t: AMD EPYC 7742", "")
    'AMD EPYC 7742'
    >>> cpu_model("processor: 0", "Raspberry Pi 5 Model B Rev 1.0")
    'Raspberry Pi 5 Model B Rev 1.0'
    """
    names = _values(cpuinfo, "model name")
    if names:
        return names[0]
    return device_tree.strip("\0 \n") or platform.processor() or platform.machine()


def read_fact(path: str) -> str:
    """Return what a file of the system says, and nothing where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def try_engine(engine: str, seconds: float = PROBE_SECONDS) -> dict[str, Any]:
    """Open the model in the box on an engine and segment with it, in a process of its own.

    Args:
        engine: one of ``ENGINES``.
        seconds: when to give it up.

    Returns:
        ``seconds`` that it took and ``error``, one of which is None.
    """
    error = None
    if find_spec(engine) is None:
        error = f"not installed; run: pip install 'sam-edge[{ENGINES[engine]}]'"
        return {"seconds": None, "error": error}
    # -P: a file in the current folder that is called like a package is not that package.
    command = [
        sys.executable,
        "-P",
        "-c",
        "from sam_edge.cli import doctor; doctor.probe()",
        engine,
    ]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        error = f"gave no answer within {seconds:g} s"
    except OSError as failure:
        error = f"cannot be tried: {failure.strerror}"
    else:
        if done.returncode:
            error = _death(done.returncode) or _last_line(done.stderr) or "failed without a word"
    taken = round(time.perf_counter() - started, 2)
    return {"seconds": taken if error is None else None, "error": error}


def probe() -> None:
    """Segment a black photo on the engine that the command line names; for ``try_engine``."""
    import numpy as np

    from sam_edge.loading import load_model

    model = load_model(runtime=sys.argv[1], cache=False)
    embedding = model.encode_image(np.zeros((48, 64, 3), np.uint8))
    model.decode(embedding, points=[(32, 24)])


def cache_state() -> dict[str, Any]:
    """Say where the cache is, what is in it, and whether it can be written."""
    try:
        folder = cache_directory()
    except CacheError as error:
        return {"error": str(error)}
    size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # somebody else's download may end meanwhile
                size += os.lstat(os.path.join(where, name)).st_size
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return {
        "error": None,
        "folder": str(folder),
        "writable": existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        "bytes": size,
        "entries": {kind: _count(folder / kind) for kind in ("checkpoints", "bundles", "compiled")},
    }


def missing(
    bits: str, machine: str, features: Sequence[str], memory: Mapping[str, int | None]
) -> list[str]:
    """Name what a machine lacks for segmenting well, and what that costs; see ``docs/boards.md``.

    Args:
        bits: of Python, ``64bit``.
        machine: ``platform.machine()``.
        features: the processor's instruction sets; of an empty list nothing is known.
        memory: ``total``, ``available`` and ``limit`` in bytes, or None.

    >>> missing("64bit", "x86_64", ["AVX2"], {})
    []
    >>> missing("32bit", "aarch64", ["NEON", "NEON-DOTPROD"], {})
    ['a 64-bit system: this Python has 32 bits, for which no engine is packaged']
    """
    lacks = []
    if bits != "64bit":
        lacks.append("a 64-bit system: this Python has 32 bits, for which no engine is packaged")
    if features and machine.lower() in X86 and "AVX2" not in features:
        lacks.append("AVX2: engines use older instructions and take several times as long")
    if features and machine.lower() in ARM64 and "NEON-DOTPROD" not in features:
        lacks.append("8-bit dot products: int8 may gain nothing over float32; measure both")
    room = min((size for size in memory.values() if size is not None), default=None)
    if room is not None:
        too_large = [f"{name} ({size / 1e9:g} GB)" for name, size in NEEDS.items() if size > room]
        if too_large:
            lacks.append(
                f"memory for {', '.join(too_large)}: {_size(room)} are there; free some, add swap, "
                "or take a smaller model"
            )
    return lacks


def next_step(engines: Mapping[str, Mapping[str, Any]], bits: str = "64bit") -> str | None:
    """Return what to do where no engine works, None where one does."""
    if any(engine["error"] is None for engine in engines.values()):
        return None
    if bits != "64bit":
        return "install a 64-bit system (on a Raspberry Pi 3 or newer) or a 64-bit Python"
    if all(engine["error"].startswith("not installed") for engine in engines.values()):
        return "no engine is installed; run: pip install 'sam-edge[cpu]'"
    return (
        "no engine works; try a new environment (python -m venv) with the other engine or another "
        "version of this one, and report it with these lines"
    )


def without_secrets(text: str) -> str:
    """Leave out what an address may say in confidence.

    >>> without_secrets("https://me:word@mirror.example/sam?token=1")
    'https://***@mirror.example/sam?***'
    """
    if "://" not in text:
        return text
    return re.sub(r"[?#].*", "?***", re.sub(r"://.*@", "://***@", text))


def without_names(value: Any, home: str, user: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Put ``~`` for the home folder and ``USER`` for the user's name as a part of a path.

    >>> without_names({"at": ["/home/ada/x", "/run/ada/y", "adamant"]}, "/home/ada", "ada")
    {'at': ['~/x', '/run/USER/y', 'adamant']}
    """
    if isinstance(value, dict):
        return {name: without_names(entry, home, user) for name, entry in value.items()}
    if isinstance(value, list):
        return [without_names(entry, home, user) for entry in value]
    if not isinstance(value, str):
        return value
    if len(home) > 1:  # a service's home may be /
        value = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", value)
    return re.sub(rf"(?<=[/\\]){re.escape(user)}(?![\w.-])", "USER", value) if user else value


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return ""


def _death(returncode: int) -> str | None:
    """Say what killed a process, None if it ended by itself."""
    if returncode in (-signal.SIGABRT, -signal.SIGSEGV):
        return f"crashed ({signal.Signals(-returncode).name}); try another version of it"
    if sys.platform != "win32" and returncode == -signal.SIGILL:
        return "crashed (SIGILL): it uses instructions that this processor lacks"
    if returncode == 0xC000001D:
        return "crashed (illegal instruction): this processor lacks what it uses"
    if sys.platform != "win32" and returncode == -signal.SIGKILL:
        return "was killed (SIGKILL), as a system does that runs out of memory"
    if returncode < 0:
        return f"was killed by signal {-returncode}"
    return None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


def _count(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0


def _cache_line(cache: Mapping[str, Any]) -> str:
    if cache["error"] is not None:
        return str(cache["error"])
    counts = ", ".join(f"{count} {kind}" for kind, count in cache["entries"].items())
    writable = "writable" if cache["writable"] else "NOT writable"
    return f"{cache['folder']}, {writable}, {_size(cache['bytes'])}: {counts}"


def _size(size: int | None) -> str:
    """Say an amount of memory.

    >>> _size(3 * 2**30), _size(5 * 2**19), _size(None)
    ('3.0 GiB', '2.5 MiB', 'not known')
    """
    if size is None:
        return "not known"
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


def _values(text: str, key: str) -> list[str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return [value.strip() for name, _, value in pairs if name.strip() == key]
