"""Write the bundle in the box: 8 bits for the weights that masks notice least, float16 for others.

    python export/training/box.py

Each weight of a product is rounded alone, and the answers (logits of the masks, scores) compared
with float32's, on scenes drawn as for calibration. Rounding errors are as good as independent, so
their squares add up: the weights that cost least per byte go into 8 bits until all of them together
cost ``MOST_ERROR``. The bundle is then verified as every export is.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from sam_edge.fidelity import prompts_for, relative_l2
from sam_edge.filling.arithmetic import integers_along
from sam_edge.gates import table
from sam_edge.image import input_shape
from sam_edge.model import Model
from sam_edge.prompts import sparse_prompts
from sam_edge.spec import IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER, ModelSpec
from sam_edge_export import trace
from sam_edge_export.load import load_checkpoint
from sam_edge_export.manifest import blank
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.quantize.calibrate import calibration_photos
from sam_edge_export.quantize.products import large_weights
from sam_edge_runtimes import Float32, Session, open_session

HERE = Path(__file__).parent
CHECKPOINT = HERE / "nano.safetensors"
BOX = HERE.parents[1] / "sam_edge" / "assets" / "nano"

MOST_ERROR = 7.2e-3
"""Of the answers, relative L2, root mean square over prompts."""

FEWEST_VALUES = 2**13
"""Of a weight in 8 bits: smaller ones save too little for two more nodes in the graph."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What a weight in 8 bits saves and costs.

    Attributes:
        role: of its graph.
        name: of the initializer.
        values: bytes that 8 bits save.
        error: of the answers, as ``MOST_ERROR``.
    """

    role: str
    name: str
    values: int
    error: float


def opened(graph: onnx.ModelProto) -> Session:
    """Open a graph on one thread: what is compared is numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph, path)
        return open_session("onnxruntime", path, threads=1)


def answers(model: Model, photos: Iterable[NDArray[np.uint8]]) -> list[Float32]:
    """Return what a model answers to every prompt, and to it again with its first mask."""
    found = []
    for photo in photos:
        size = (photo.shape[0], photo.shape[1])
        embedding = model.encode_image(photo)
        for prompt in prompts_for(*size):
            asked = sparse_prompts(prompt, size, input_shape(*size, model.spec.image))
            coords, labels = (part[None] for part in asked)
            logits, scores = model.decode_tensors(embedding, coords, labels)
            again, more = model.decode_tensors(embedding, coords, labels, logits[:, :1])
            found += [logits, scores, again, more]
    return found


def rounded(graph: onnx.ModelProto, name: str, axis: int) -> onnx.ModelProto:
    """Return a copy with a weight as 8 bits hold it, in float32."""
    copy = trace.copied(graph)
    (tensor,) = (each for each in copy.graph.initializer if each.name == name)
    integers, scale = integers_along(numpy_helper.to_array(tensor), axis)
    shape = [1] * integers.ndim
    shape[axis] = -1
    tensor.CopyFrom(numpy_helper.from_array(integers * scale.reshape(shape), name))
    return copy


def costs(
    graphs: Mapping[str, onnx.ModelProto], spec: ModelSpec, photos: Iterable[NDArray[np.uint8]]
) -> Iterator[Weight]:
    """Round each weight alone, and say what that does."""
    plain = {role: opened(graph) for role, graph in graphs.items()}
    exact = answers(Model(spec, plain, "onnxruntime"), photos)
    for role, graph in graphs.items():
        sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.graph.initializer}
        for name, axis in large_weights(graph, FEWEST_VALUES).items():
            sessions = {**plain, role: opened(rounded(graph, name, axis))}
            found = answers(Model(spec, sessions, "onnxruntime"), photos)
            errors = [relative_l2(one, other) for one, other in zip(found, exact, strict=True)]
            yield Weight(role, name, sizes[name], math.sqrt(np.mean(np.square(errors))))


def chosen(weights: list[Weight]) -> dict[str, list[str]]:
    """Return the weights that cost least per byte, ``MOST_ERROR`` in all: role -> names."""
    names: dict[str, list[str]] = {weight.role: [] for weight in weights}
    error = 0.0
    for weight in sorted(weights, key=lambda each: each.error**2 / each.values):
        if error + weight.error**2 > MOST_ERROR**2:
            break
        error += weight.error**2
        names[weight.role].append(weight.name)
    return names


def main() -> int:
    """Measure, choose, write."""
    sam, _ = load_checkpoint(CHECKPOINT, "auto", None)
    spec = blank(sam, CHECKPOINT, "fp32", "native")
    with tempfile.TemporaryDirectory() as scratch:
        graphs = {
            PROMPT_ENCODER_MASK_DECODER: trace.traced(trace.decoder(sam, "native"), Path(scratch)),
            IMAGE_ENCODER: trace.traced(trace.encoder(sam), Path(scratch)),
        }
    weights = []
    for weight in costs(graphs, spec, calibration_photos(None, [])):
        sys.stdout.write(f"{weight.role} {weight.name}: {weight.values}, {weight.error:.2e}\n")
        weights.append(weight)
    names = chosen(weights)
    small = sum(each.values for each in weights if each.name in names[each.role])
    sys.stdout.write(f"8 bits for {small} of {sum(each.values for each in weights)} values\n")
    results = export_bundle(CHECKPOINT, BOX, precision="int8-weights", rounded=names, force=True)
    sys.stdout.write(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
