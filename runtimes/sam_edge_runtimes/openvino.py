"""OpenVINO on the CPU, computing in float32 unless the graph itself says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import openvino as ov

from sam_edge_runtimes.errors import EngineError
from sam_edge_runtimes.session import Float32


def open_graph(
    path: Path,
    *,
    threads: int | None,
    input_shapes: Mapping[str, tuple[int | str, ...]],
    fixed: Mapping[str, int],
) -> OpenVinoSession:
    """Open an ONNX file; see ``sam_edge_runtimes.open_session``.

    Raises:
        EngineError: if OpenVINO refuses the graph.
    """
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Left alone, OpenVINO computes in bf16 or f16 where the CPU can, and masks move.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        core = ov.Core()
        model = core.read_model(path)
        shapes = {
            name: ov.PartialShape(
                [size if isinstance(size, int) else fixed.get(size, -1) for size in shape]
            )
            for name, shape in input_shapes.items()
            if any(size in fixed for size in shape)
        }
        if shapes:
            model.reshape(shapes)
        # Compiling may give a tensor that it merges with another one that one's name, too.
        outputs = [output.get_any_name() for output in model.outputs]
        compiled = core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise EngineError(f"openvino cannot open {path}: {_last_line(error)}") from error
    return OpenVinoSession(compiled, path, outputs)


class OpenVinoSession:
    """A graph opened by OpenVINO. A request serves one thread at a time, so it keeps a pool."""

    def __init__(self, compiled: ov.CompiledModel, path: Path, outputs: list[str]) -> None:
        self._compiled = compiled
        self._path = path
        self._idle: SimpleQueue[ov.InferRequest] = SimpleQueue()
        self._outputs = outputs

    def run(self, feeds: Mapping[str, Float32]) -> dict[str, Float32]:
        """Run the graph once; see ``Session.run``."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            results = request.infer(dict(feeds), share_inputs=True, share_outputs=False)
            return {name: np.asarray(results[index]) for index, name in enumerate(self._outputs)}
        except (RuntimeError, KeyError) as error:
            raise EngineError(f"openvino on {self._path}: {_last_line(error)}") from error
        finally:
            self._idle.put(request)


def _last_line(error: Exception) -> str:
    """OpenVINO's messages begin with source positions and end with what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
