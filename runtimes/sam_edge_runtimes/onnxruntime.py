"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import onnxruntime as ort

from sam_edge_runtimes.compiled import drop, entry_of, is_whole, keep
from sam_edge_runtimes.errors import EngineError
from sam_edge_runtimes.session import Array, TensorType
from sam_edge_runtimes.stopping import current_stop

GRAPH, WEIGHTS = "graph.onnx", "graph.data"

DTYPES = {"float": "float32", "double": "float64"}
"""Numpy's names of types where ONNX Runtime has others."""


def open_graph(
    path: Path,
    *,
    threads: int | None,
    compute: str,
    input_shapes: Mapping[str, tuple[int | str, ...]],
    fixed: Mapping[str, int],
    pack_weights: bool,
    shrink: bool,
    cache: Path | None,
    content: Callable[[], bytes] | None = None,
) -> OnnxRuntimeSession:
    """Open an ONNX file; see ``sam_edge_runtimes.open_session``.

    Raises:
        EngineError: if ONNX Runtime refuses the graph.
    """
    options = partial(_options, threads, input_shapes, fixed, pack_weights)
    entry = (
        None if cache is None else entry_of(cache, "onnxruntime", ort.__version__, fixed, compute)
    )
    if entry is not None and is_whole(entry):
        kept = options()
        kept.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return OnnxRuntimeSession(_session(str(entry / GRAPH), kept), path, shrink)
        except Exception as error:
            drop(entry, error)
    graph = str(path) if content is None else content()
    sessions: list[ort.InferenceSession] = []

    def optimise_into(folder: Path) -> None:
        # The weights go into a file of their own, which is mapped when it is opened again.
        saving = options()
        saving.optimized_model_filepath = str(folder / GRAPH)
        saving.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", WEIGHTS
        )
        saving.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
        )
        sessions.append(_session(graph, saving))

    if entry is not None:
        keep(entry, optimise_into)
    try:
        session = sessions[0] if sessions else _session(graph, options())
        return OnnxRuntimeSession(session, path, shrink)
    except Exception as error:  # ONNX Runtime's exceptions share no public base but Exception
        raise EngineError(f"onnxruntime cannot open {path}: {_first_line(error)}") from error


def _options(
    threads: int | None,
    input_shapes: Mapping[str, tuple[int | str, ...]],
    fixed: Mapping[str, int],
    pack_weights: bool,
) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors come back as exceptions; warnings are for exporters
    # With reuse, the planner hands a buffer on to the next tensor of the same shape. In a
    # transformer that one is a block away: a buffer of every shape then lives to the last block,
    # and ViT-B needs five times the memory. The pattern would reserve all of it once more.
    options.enable_mem_reuse = False
    options.enable_mem_pattern = False
    # Threads of one graph that wait for its next run would take the cores from the other graph's.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not pack_weights:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    dynamic = {size for shape in input_shapes.values() for size in shape if isinstance(size, str)}
    for name, size in fixed.items():
        if name in dynamic:
            options.add_free_dimension_override_by_name(name, size)
    return options


def _session(graph: str | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class OnnxRuntimeSession:
    """A graph opened by ONNX Runtime, whose ``run`` is safe to call from several threads.

    ``shrink``: empty the arena after each run.
    """

    def __init__(self, session: ort.InferenceSession, path: Path, shrink: bool) -> None:
        self._shrink = shrink
        self._options = self._run_options() if shrink else None
        self._session = session
        self._path = path
        self.inputs = [value.name for value in session.get_inputs()]
        self._outputs = [output.name for output in session.get_outputs()]

    @property
    def outputs(self) -> dict[str, TensorType]:
        """See ``GraphSession.outputs``."""
        return {output.name: _type(output) for output in self._session.get_outputs()}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; see ``Session.run``."""
        stop = current_stop()
        if stop is None:
            return self._answer(feeds, self._options)
        options = self._run_options()
        with stop.reaching(partial(setattr, options, "terminate", True)):
            return self._answer(feeds, options)

    def _answer(
        self, feeds: Mapping[str, Array], options: ort.RunOptions | None
    ) -> dict[str, Array]:
        try:
            arrays = self._session.run(self._outputs, dict(feeds), options)
        except Exception as error:
            raise EngineError(f"onnxruntime on {self._path}: {_first_line(error)}") from error
        return dict(zip(self._outputs, arrays, strict=True))

    def _run_options(self) -> ort.RunOptions:
        options = ort.RunOptions()
        if self._shrink:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options


def _type(output: ort.NodeArg) -> TensorType:
    """Read ``tensor(float)`` and a shape whose dynamic dimensions are names or None."""
    dtype = output.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in output.shape)
    return TensorType(DTYPES.get(dtype, dtype), shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
