"""What might make an encoder faster next: measured, whatever came of it.

``python benchmarks/techniques/next_factor.py CHECKPOINT`` fills bundles of a checkpoint, float32
and ``int8-weights``, and writes ``next_factor.json`` beside this file. Every row is an encoder
opened in a process of its own, the rows in turn; ``faster`` is float32's time on the same engine
over the row's, ``embedding_rel_l2`` the error against float32 on ONNX Runtime.

- ``dynamic quantisation``: OpenVINO rounds float activations to 8 bits by itself, in groups of so
  many values, where weights are stored in 8 bits.
- ``MatMulNBits``: ONNX Runtime's product of 8-bit weights in blocks, activations rounded as well.
- ``two streams``: two photos at once on a thread each, a photo's share of the time.
- ``attention in 8 bits``: both products of attention, of float weights elsewhere. A scale a row
  is taken from the values as they come, of which ONNX Runtime alone makes integers; a scale a
  tensor from this photo beforehand, better than any calibration could know.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from processes import answer_of

from sam_edge.bundle import read_spec
from sam_edge.fidelity import relative_l2
from sam_edge.filling.bundle import fill_bundle
from sam_edge.image import preprocess, read_image
from sam_edge.photos import photos_in
from sam_edge.spec import IMAGE_ENCODER
from sam_edge_runtimes.compiled import processor

THREADS, ROUNDS, RUNS, BLOCK = 2, 3, 3, 64
WATCHED = 16
"""Values whose range is read in one run."""
RESULT = Path(__file__).with_suffix(".json")

Row = dict[str, Any]

ROWS: list[Row] = [
    {"label": "float32", "engine": "onnxruntime", "graph": "fp32"},
    {"label": "MatMulNBits", "engine": "onnxruntime", "graph": "nbits"},
    {"label": "attention in 8 bits, a scale a row", "engine": "onnxruntime", "graph": "rows"},
    {"label": "attention in 8 bits, a scale a tensor", "engine": "onnxruntime", "graph": "tensors"},
    {"label": "float32", "engine": "openvino", "graph": "fp32"},
    {"label": "attention in 8 bits, a scale a tensor", "engine": "openvino", "graph": "tensors"},
    {"label": "8-bit weights, float32", "engine": "openvino", "graph": "int8-weights"},
    *(
        {
            "label": f"dynamic quantisation, groups of {group}",
            "engine": "openvino",
            "graph": "int8-weights",
            "config": {"DYNAMIC_QUANTIZATION_GROUP_SIZE": group},
        }
        for group in (32, 64, 128)
    ),
    {
        "label": "bfloat16",
        "engine": "openvino",
        "graph": "fp32",
        "config": {"INFERENCE_PRECISION_HINT": "bf16"},
    },
    {
        "label": "dynamic quantisation, groups of 32, the rest in bfloat16",
        "engine": "openvino",
        "graph": "int8-weights",
        "config": {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 32, "INFERENCE_PRECISION_HINT": "bf16"},
    },
    {"label": "two streams", "engine": "openvino", "graph": "fp32", "streams": 2},
    {
        "label": "two streams, bfloat16",
        "engine": "openvino",
        "graph": "fp32",
        "streams": 2,
        "config": {"INFERENCE_PRECISION_HINT": "bf16"},
    },
]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        graphs = {}
        for precision in ("fp32", "int8-weights"):
            fill_bundle(arguments.checkpoint, work / precision, precision=precision, verify=False)
            graphs[precision] = str(work / precision / f"{IMAGE_ENCODER}.onnx")
        graphs["nbits"] = str(work / "nbits.onnx")
        in_blocks(Path(graphs["fp32"]), Path(graphs["nbits"]))
        spec = read_spec(work / "fp32")
        image = preprocess(read_image(photos_in(None)[0]), spec)
        np.save(work / "image.npy", image)
        for name in ("rows", "tensors"):
            graphs[name] = str(work / f"{name}.onnx")
        attention_by_rows(Path(graphs["fp32"]), Path(graphs["rows"]))
        attention_by_tensors(Path(graphs["fp32"]), Path(graphs["tensors"]), image)
        requests = [
            {**row, "path": graphs[row["graph"]], "image": str(work / "image.npy")} for row in ROWS
        ]
        seconds: list[list[float]] = [[] for _ in ROWS]
        errors = [0.0 for _ in ROWS]
        for _ in range(arguments.rounds):
            truth = None
            for index, request in enumerate(requests):
                output = str(work / f"{index}.npy")
                taken = answer_of(__file__, "--one", json.dumps({**request, "to": output}))
                seconds[index].append(taken)
                truth = np.load(output) if truth is None else truth
                errors[index] = relative_l2(np.load(output), truth)
                print(ROWS[index]["engine"], ROWS[index]["label"], taken, flush=True)
        table = []
        for row, times, error in zip(ROWS, seconds, errors, strict=True):
            base = next(
                one
                for other, one in zip(ROWS, seconds, strict=True)
                if other["engine"] == row["engine"] and other["label"] == "float32"
            )
            faster = statistics.median(a / b for a, b in zip(base, times, strict=True))
            table.append(
                {
                    "engine": row["engine"],
                    "what": row["label"],
                    "seconds": statistics.median(times),
                    "faster": faster,
                    "embedding_rel_l2": error,
                }
            )
        cpu = json.loads(processor())[2].get("model name", "")
        content = {
            "cpu": cpu,
            "variant": spec.variant,
            "image_size": spec.image_size,
            "threads": THREADS,
            "rows": table,
        }
        RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def in_blocks(source: Path, target: Path) -> None:
    """Write a graph whose linear layers are ``MatMulNBits`` of 8 bits, symmetric in blocks."""
    model = onnx.load(source)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in list(graph.node):
        tensor = weights.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if tensor is None or len(tensor.dims) != 2 or tensor.dims[0] % BLOCK:
            continue
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        matrix = (
            numpy_helper.to_array(tensor).T if not transposed else numpy_helper.to_array(tensor)
        )
        rows, depth = matrix.shape  # (N, K)
        blocks = matrix.reshape(rows, depth // BLOCK, BLOCK)
        scales = np.abs(blocks).max(axis=2) / 127
        packed = np.rint(blocks / np.maximum(scales, 1e-12)[..., None]) + 128
        names = [f"{node.output[0]}_packed", f"{node.output[0]}_scales"]
        for name, array in zip(names, (packed.astype(np.uint8), scales), strict=True):
            graph.initializer.append(numpy_helper.from_array(array, name))
        product = helper.make_node(
            "MatMulNBits",
            [node.input[0], *names],
            [f"{node.output[0]}_product" if len(node.input) > 2 else node.output[0]],
            domain="com.microsoft",
            K=depth,
            N=rows,
            bits=8,
            block_size=BLOCK,
            accuracy_level=4,  # activations in 8 bits, too
        )
        made = [product]
        if len(node.input) > 2:
            inputs = [product.output[0], node.input[2]]
            made.append(helper.make_node("Add", inputs, [node.output[0]]))
        replace_node(graph, node, made)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    onnx.save(model, target)


def attention_by_rows(source: Path, target: Path) -> None:
    """Write a graph whose products of two activations round each row, each column, to 8 bits."""
    model = onnx.load(source)
    graph = model.graph
    for name, value in (("most", 127), ("least", 1e-12)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    for product in products_of_activations(model):
        answer = product.output[0]
        made, scales, rounded = [], [], []
        for side, value in enumerate(product.input):
            stem = f"{answer}_{side}"
            steps = [
                ("Abs", [value]),
                ("ReduceMax", [f"{stem}_0"]),
                ("Div", [f"{stem}_1", "most"]),
                ("Max", [f"{stem}_2", "least"]),
                ("Div", [value, f"{stem}_3"]),
                ("Round", [f"{stem}_4"]),
            ]
            for step, (kind, inputs) in enumerate(steps):
                axis: Row = {"axes": [-1 - side]} if kind == "ReduceMax" else {}
                made.append(helper.make_node(kind, inputs, [f"{stem}_{step}"], **axis))
            to = onnx.TensorProto.INT8
            made.append(helper.make_node("Cast", [f"{stem}_5"], [f"{stem}_6"], to=to))
            scales.append(f"{stem}_3")
            rounded.append(f"{stem}_6")
        to = onnx.TensorProto.FLOAT
        made += [
            helper.make_node("MatMulInteger", rounded, [f"{answer}_sum"]),
            helper.make_node("Cast", [f"{answer}_sum"], [f"{answer}_float"], to=to),
            helper.make_node("Mul", [f"{answer}_float", scales[0]], [f"{answer}_half"]),
            helper.make_node("Mul", [f"{answer}_half", scales[1]], [answer]),
        ]
        replace_node(graph, product, made)
    onnx.save(model, target)


def attention_by_tensors(source: Path, target: Path, image: NDArray[np.float32]) -> None:
    """Write a graph whose products of two activations round them to 8 bits, a scale a tensor."""
    import onnxruntime as ort

    model = onnx.load(source)
    graph = model.graph
    products = products_of_activations(model)
    values = sorted({value for product in products for value in product.input})
    largest: dict[str, float] = {}
    for start in range(0, len(values), WATCHED):  # all of them at once are gigabytes
        some = values[start : start + WATCHED]
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        del watched.graph.output[:]
        watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in some)
        session = ort.InferenceSession(watched.SerializeToString())
        found = session.run(None, {graph.input[0].name: image})
        largest.update(zip(some, (float(np.abs(each).max()) for each in found), strict=True))
    for number, product in enumerate(products):
        made, inputs = [], []
        for side, value in enumerate(product.input):
            stem = f"attention_{number}_{side}"
            # what comes out of a softmax has no sign, so it gets all 8 bits
            unsigned = "Softmax" in value
            kind, most = (np.uint8, 255) if unsigned else (np.int8, 127)
            scale = np.array(max(largest[value], 1e-12) / most, np.float32)
            graph.initializer.append(numpy_helper.from_array(scale, f"{stem}_scale"))
            graph.initializer.append(numpy_helper.from_array(np.array(0, kind), f"{stem}_zero"))
            by = [f"{stem}_scale", f"{stem}_zero"]
            made += [
                helper.make_node("QuantizeLinear", [value, *by], [f"{stem}_q"]),
                helper.make_node("DequantizeLinear", [f"{stem}_q", *by], [f"{stem}_dq"]),
            ]
            inputs.append(f"{stem}_dq")
        made.append(helper.make_node("MatMul", inputs, list(product.output)))
        replace_node(graph, product, made)
    onnx.save(model, target)


def products_of_activations(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the products of which no side is stored."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and not stored.intersection(node.input)
    ]


def replace_node(graph: onnx.GraphProto, node: onnx.NodeProto, made: list[onnx.NodeProto]) -> None:
    """Put nodes where one was."""
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for offset, each in enumerate(made):
        graph.node.insert(place + offset, each)


def one(request: Row) -> None:
    """Run an encoder and print what a photo takes, in seconds."""
    image = np.load(request["image"])
    streams = request.get("streams", 1)
    if request["engine"] == "onnxruntime":
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        options.enable_mem_reuse = options.enable_mem_pattern = False
        session = ort.InferenceSession(request["path"], options)
        name = session.get_inputs()[0].name

        def run() -> Any:  # noqa: ANN401 - an array of the engine
            return session.run(None, {name: image})[0]
    else:
        import openvino as ov

        core = ov.Core()
        model = core.read_model(request["path"])
        model.reshape({model.inputs[0].get_any_name(): list(image.shape)})
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "INFERENCE_NUM_THREADS": THREADS,
            "NUM_STREAMS": streams,
            **request.get("config", {}),
        }
        compiled = core.compile_model(model, "CPU", config)
        requests = [compiled.create_infer_request() for _ in range(streams)]

        def run() -> Any:  # noqa: ANN401 - an array of the engine
            for each in requests:
                each.start_async({0: image})
            for each in requests:
                each.wait()
            return requests[0].get_output_tensor(0).data

    taken = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        answer = np.array(run())
        taken.append((time.perf_counter() - began) / streams)
    np.save(request["to"], answer)
    print(statistics.median(taken[1:]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(json.loads(sys.argv[2]))
    else:
        main()
