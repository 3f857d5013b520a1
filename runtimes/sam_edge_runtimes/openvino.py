"""OpenVINO on the CPU, computing in the format that it is told, unless the graph says otherwise."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from sam_edge_runtimes.compiled import drop, entry_of, is_whole, keep
from sam_edge_runtimes.errors import EngineError, RunStoppedError
from sam_edge_runtimes.formats import FLOAT32
from sam_edge_runtimes.memory import give_back_freed
from sam_edge_runtimes.session import Array, TensorType
from sam_edge_runtimes.stopping import current_stop

HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

PRODUCTS = ("FullyConnected", "MatMul", "Convolution")
"""What OpenVINO calls the layers that do most of the work."""

BLOB, NAMES = "model.blob", "outputs.json"


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
) -> OpenVinoSession:
    """Open an ONNX file; see ``sam_edge_runtimes.open_session``.

    OpenVINO always packs weights, and keeps a request's memory: ``pack_weights`` and ``shrink``
    change nothing.

    Raises:
        EngineError: if OpenVINO refuses the graph, or would compute in another format or by loops
            that no processor is quick at.
    """
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Left alone, OpenVINO computes in bf16 or f16 where the CPU can, and masks move.
        "INFERENCE_PRECISION_HINT": HINTS[compute],
        # Left alone, each process keeps its threads to the first cores, whoever else is on them:
        # two processes took twice the time on two cores. One alone is no faster by it.
        "ENABLE_CPU_PINNING": False,
        # Left alone, it rounds the inputs of a product to 8 bits where the weights are stored so.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    core = ov.Core()
    entry = None if cache is None else entry_of(cache, "openvino", ov.__version__, fixed, compute)
    if entry is not None and is_whole(entry):
        try:
            return _import(core, entry, path, config)
        except Exception as error:  # releases differ in what they take and in what they raise
            drop(entry, error)
    graph = path if content is None else content()
    try:
        model = core.read_model(graph)
        give_back_freed()  # what parsing left, before compiling needs as much again
        taken = {name for value in model.inputs for name in value.names}
        shapes = {
            name: ov.PartialShape(
                [size if isinstance(size, int) else fixed.get(size, -1) for size in shape]
            )
            for name, shape in input_shapes.items()
            if name in taken and any(size in fixed for size in shape)
        }
        if shapes:
            model.reshape(shapes)
        # Compiling may give a tensor that it merges with another one that one's name, too.
        outputs = [output.get_any_name() for output in model.outputs]
        compiled = core.compile_model(model, "CPU", config)
    except Exception as error:  # a damaged graph raises whatever its reader stumbles over
        raise EngineError(f"openvino cannot open {path}: {_last_line(error)}") from error
    computed_in = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if computed_in != HINTS[compute]:
        raise EngineError(f"openvino would compute {path} in {computed_in} here, not in {compute}")
    if compute != FLOAT32 and (slow := _without_a_kernel(compiled)):
        raise EngineError(
            f"openvino has no fast {compute} kernel on this CPU for {slow} of the products of "
            f"{path}: an answer would take hours; choose another number format"
        )
    del model  # its weights, before they are written from the compiled one
    give_back_freed()  # and before the first run needs memory
    if entry is not None:
        keep(entry, lambda folder: _export(compiled, outputs, folder))
    return OpenVinoSession(compiled, path, outputs)


def _without_a_kernel(compiled: ov.CompiledModel) -> int:
    """Count products that would run on the library's reference loops, a thousandth as fast.

    OpenVINO 2026.4 has nothing else for 8-bit products whose sums go on in float16.
    """
    kinds = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        about = node.get_rt_info()
        if about["layerType"].astype(str) in PRODUCTS:
            kinds.append(about["primitiveType"].astype(str))
    return sum(kind.startswith("ref") for kind in kinds)


def _import(core: ov.Core, entry: Path, path: Path, config: dict[str, Any]) -> OpenVinoSession:
    outputs = json.loads((entry / NAMES).read_text(encoding="utf-8"))
    # Mapped, not read: the weights in it are paged in as they are packed.
    blob = np.memmap(entry / BLOB, np.uint8, "c")
    try:
        compiled = core.import_model(ov.Tensor(blob, shared_memory=True), "CPU", config)
    except TypeError:  # before 2025.4 it takes bytes alone
        compiled = core.import_model(blob.tobytes(), "CPU", config)
    return OpenVinoSession(compiled, path, outputs, blob)


def _export(compiled: ov.CompiledModel, outputs: list[str], folder: Path) -> None:
    with (folder / BLOB).open("wb") as file:
        compiled.export_model(_IntoFile(file))
    (folder / NAMES).write_text(json.dumps(outputs), encoding="utf-8")


class _IntoFile(io.BytesIO):
    """A BytesIO, which OpenVINO insists on, that holds nothing: a blob is as large as its model."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        return self._file.write(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()


class OpenVinoSession:
    """A graph opened by OpenVINO. A request serves one thread at a time, so it keeps a pool.

    ``blob`` is memory that the compiled model points into, and must live as long.
    """

    def __init__(
        self,
        compiled: ov.CompiledModel,
        path: Path,
        outputs: list[str],
        blob: NDArray[np.uint8] | None = None,
    ) -> None:
        self._compiled = compiled
        self._path = path
        self._idle: SimpleQueue[ov.InferRequest] = SimpleQueue()
        self.inputs = [value.get_any_name() for value in compiled.inputs]
        self._outputs = outputs
        self._blob = blob

    @property
    def outputs(self) -> dict[str, TensorType]:
        """See ``GraphSession.outputs``."""
        return {
            name: _type(output)
            for name, output in zip(self._outputs, self._compiled.outputs, strict=True)
        }

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; see ``Session.run``."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        stop = current_stop()
        try:
            if stop is None:
                request.infer(dict(feeds), share_inputs=True, share_outputs=True)
            else:
                with stop.reaching(request.cancel):
                    request.start_async(dict(feeds), share_inputs=True)
                    if stop.asked:  # before it started, when OpenVINO forgets a cancel
                        request.cancel()
                    request.wait()
            tensors = enumerate(self._outputs)
            return {name: request.get_output_tensor(index).data.copy() for index, name in tensors}
        except RunStoppedError:
            raise
        except Exception as error:
            raise EngineError(f"openvino on {self._path}: {_last_line(error)}") from error
        finally:
            self._idle.put(request)


def _type(output: ov.ConstOutput) -> TensorType:
    shape = output.get_partial_shape()
    sizes = (None if size.is_dynamic else size.get_length() for size in shape)
    return TensorType(output.get_element_type().to_dtype().name, tuple(sizes))


def _last_line(error: Exception) -> str:
    """OpenVINO's messages begin with source positions and end with what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
