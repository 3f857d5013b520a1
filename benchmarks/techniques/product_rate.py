"""How fast this machine multiplies matrices at best, so that a record can say what a floor is.

Large float32 products, and bfloat16 ones where the processor has them, by every library that is
installed: one process each, the best of ``RUNS`` of each shape. Nothing that a network computes is
faster than its products at that rate; a real one has smaller products, and more to do than those.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from processes import answer_of

from sam_edge_runtimes import FLOAT32, formats_of

SHAPES = (
    # Of a ViT-B over 3601 tokens: into the MLP, out of it, and the projections of an attention.
    (3601, 768, 3072),
    (3601, 3072, 768),
    (3601, 768, 2304),
    (2048, 2048, 2048),
    (4096, 4096, 1024),
)
"""Rows, what is summed over, and columns."""

RUNS = 5

LIBRARIES = ("numpy", "torch", "onnxruntime", "openvino")

PROGRAM = """
import json, sys, time
import numpy as np
library, format_, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
shapes, runs = json.loads(sys.argv[4]), int(sys.argv[5])
def product_of(left, right):
    if library == "numpy":
        out = np.empty((len(left), right.shape[1]), np.float32)
        return lambda: np.matmul(left, right, out=out)
    if library == "torch":
        import torch
        torch.set_num_threads(threads)
        a, b = torch.from_numpy(left), torch.from_numpy(right)
        out = torch.empty(len(left), right.shape[1])
        return lambda: torch.mm(a, b, out=out)
    from onnx import TensorProto, helper, numpy_helper
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", left.shape), ("y", (len(left), right.shape[1])))
    ]
    weights = numpy_helper.from_array(right, "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "product", values[:1], values[1:], [weights])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    if library == "onnxruntime":
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return lambda: session.run(None, {"x": left})
    import openvino
    core = openvino.Core()
    hint = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[format_]
    config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(core.read_model(model), "CPU", config).create_infer_request()
    return lambda: request.infer({"x": left}, share_inputs=True, share_outputs=True)
rates = []
for rows, inner, columns in shapes:
    draw = np.random.default_rng(0).standard_normal
    product = product_of(draw((rows, inner), np.float32), draw((inner, columns), np.float32))
    product()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        product()
        taken.append(time.perf_counter() - began)
    rates.append(2 * rows * inner * columns / min(taken) / 1e9)
print(json.dumps(rates))
"""


def rates(threads: int) -> Iterator[dict[str, Any]]:
    """Measure; yields a row a library and format: ``gflop_per_s`` of each of ``SHAPES``."""
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(limits, str(threads))}
    for library in LIBRARIES:
        for name in formats_of(library):
            words = (library, name, threads, str([*map(list, SHAPES)]), RUNS)
            found = answer_of(PROGRAM, *words, environment=environment)
            yield {
                "library": library,
                "format": name,
                "gflop_per_s": [round(rate, 1) for rate in found],
            }


def best(rows: Sequence[dict[str, Any]], name: str = FLOAT32) -> float:
    """Return the best rate of a format, in GFLOP/s; 0 where the processor has it not."""
    return max((max(row["gflop_per_s"]) for row in rows if row["format"] == name), default=0.0)
