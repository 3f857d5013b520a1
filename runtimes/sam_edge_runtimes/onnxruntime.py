"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from sam_edge_runtimes.errors import EngineError
from sam_edge_runtimes.session import Float32


def open_graph(
    path: Path,
    *,
    threads: int | None,
    input_shapes: Mapping[str, tuple[int | str, ...]],
    fixed: Mapping[str, int],
) -> OnnxRuntimeSession:
    """Open an ONNX file; see ``sam_edge_runtimes.open_session``.

    Raises:
        EngineError: if ONNX Runtime refuses the graph.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors come back as exceptions; warnings are for exporters
    if threads is not None:
        options.intra_op_num_threads = threads
    dynamic = {size for shape in input_shapes.values() for size in shape if isinstance(size, str)}
    for name, size in fixed.items():
        if name in dynamic:
            options.add_free_dimension_override_by_name(name, size)
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base but Exception
        raise EngineError(f"onnxruntime cannot open {path}: {_first_line(error)}") from error
    return OnnxRuntimeSession(session, path)


class OnnxRuntimeSession:
    """A graph opened by ONNX Runtime, whose ``run`` is safe to call from several threads."""

    def __init__(self, session: ort.InferenceSession, path: Path) -> None:
        self._session = session
        self._path = path
        self._outputs = [output.name for output in session.get_outputs()]

    def run(self, feeds: Mapping[str, Float32]) -> dict[str, Float32]:
        """Run the graph once; see ``Session.run``."""
        try:
            arrays = self._session.run(self._outputs, dict(feeds))
        except Exception as error:
            raise EngineError(f"onnxruntime on {self._path}: {_first_line(error)}") from error
        return dict(zip(self._outputs, arrays, strict=True))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
