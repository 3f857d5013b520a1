"""Engines behind one small protocol. They know tensors, not images.

An engine is imported when its first session opens, so that this package costs nothing to import
and an engine that is not installed is missed only by who asks for it. It is imported through
``import_engine``, which keeps it from reporting to its maker.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sam_edge_runtimes.errors import ArgumentError, EngineError, MissingDependencyError
from sam_edge_runtimes.formats import FLOAT32, FORMATS, formats_of, refuse_emulation
from sam_edge_runtimes.memory import give_back_freed
from sam_edge_runtimes.session import (
    Array,
    DeferredSession,
    Float32,
    GraphSession,
    Session,
    ShapedSession,
)
from sam_edge_runtimes.telemetry import import_engine, switch_off_telemetry
from sam_edge_runtimes.threads import thread_limit

__all__ = [
    "ENGINES",
    "FLOAT32",
    "FORMATS",
    "Array",
    "DeferredSession",
    "EngineError",
    "Float32",
    "GraphSession",
    "MissingDependencyError",
    "Session",
    "ShapedSession",
    "choose_engine",
    "engine_version",
    "formats_of",
    "import_engine",
    "open_session",
    "switch_off_telemetry",
]

ENGINES: Mapping[str, str] = {"onnxruntime": "cpu", "openvino": "openvino"}
"""Every engine, in the order in which ``auto`` prefers them, and the extra that installs it."""


def choose_engine(runtime: str, among: Sequence[str] = ()) -> str:
    """Turn a runtime's name, or ``auto``, into an engine that is installed.

    Args:
        runtime: one of ``ENGINES``, or ``auto``.
        among: engines that ``auto`` prefers to the others, in this order.

    Raises:
        ArgumentError: if nobody knows the name.
        MissingDependencyError: if the engine, or for ``auto`` every engine, is not installed.
    """
    if runtime == "auto":
        for engine in (*among, *ENGINES):
            if importlib.util.find_spec(engine) is not None:
                return engine
        raise MissingDependencyError(
            "no engine is installed; run: pip install 'sam-edge[cpu]' (ONNX Runtime) "
            "or: pip install 'sam-edge[openvino]'"
        )
    if runtime not in ENGINES:
        raise ArgumentError(f"runtime {runtime!r} is not one of auto, {', '.join(ENGINES)}")
    if importlib.util.find_spec(runtime) is None:
        raise MissingDependencyError(
            f"{runtime} is not installed; run: pip install 'sam-edge[{ENGINES[runtime]}]'"
        )
    return runtime


def open_session(
    engine: str,
    path: Path,
    *,
    threads: int | None = None,
    compute: str = FLOAT32,
    input_shapes: Mapping[str, tuple[int | str, ...]] | None = None,
    fixed: Mapping[str, int] | None = None,
    pack_weights: bool = True,
    shrink: bool = False,
    cache: Path | None = None,
    content: Callable[[], bytes] | None = None,
) -> GraphSession:
    """Open a graph file on an engine. An engine that cannot open it never becomes another one.

    Args:
        engine: one of ``ENGINES``.
        path: the ONNX file.
        threads: how many the engine may use for one run; None leaves it the choice, up to the
            cores that this process may use (see ``thread_limit``).
        compute: the format of its products, one of ``FORMATS``. An engine that does not have it in
            this processor's instructions never takes another one.
        input_shapes: the graph's inputs as on disk, dynamic dimensions by name; of a part, those of
            the whole.
        fixed: dynamic dimensions to fix while opening, name -> size; an engine that knows a
            dimension plans its memory and picks its kernels once.
        pack_weights: keep a second copy of the weights in the order that the kernels read, where
            the engine leaves a choice. Products of few rows need it; those of thousands do not.
        shrink: give working memory back after each run, where the engine can; slower.
        cache: the graph's own folder for what the engine makes of it; it opens faster the next
            time. Its name must change with the graph's bytes.
        content: makes the bytes of an ONNX file, where the graph is a part of the one at ``path``;
            not called where the cache has it.

    Raises:
        EngineError: if the engine refuses the graph, or does not compute in that format here.
        MissingDependencyError: if the engine is not installed.
    """
    choose_engine(engine)
    refuse_emulation(engine, compute)
    import_engine(engine)  # before its adapter, which imports it plainly
    adapter = importlib.import_module(f"sam_edge_runtimes.{engine}")
    session: GraphSession = adapter.open_graph(
        path,
        threads=thread_limit() if threads is None else threads,
        compute=compute,
        input_shapes=input_shapes or {},
        fixed=fixed or {},
        pack_weights=pack_weights,
        shrink=shrink,
        cache=cache,
        content=content,
    )
    give_back_freed()
    return session


def engine_version(engine: str) -> str:
    """Return the version of an installed engine, for records."""
    version: str = import_engine(engine).__version__
    return version
