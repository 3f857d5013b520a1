"""Measure what each technique brings to the image encoder, and write the tables of performance.md.

    python benchmarks/techniques/techniques.py VERB vit_b

    measure  each technique, --rounds 3; needs minutes, and all of the machine
    whole    cold start, low memory, threads, frames
    int8     int8 against float32
    profile  where the time goes, by operator
    clicks   memory of 64 clicks and their masks
    photos   memory over 200 photos in a row
    write    (without a model) the JSON files beside this script -> docs/performance.md

Every row runs in processes of its own, one a round, the rows in turn: the machine's speed drifts,
so a row's time is divided by that of the official PyTorch encoder in the same round. Weights are
seeded: time and memory do not depend on their values. Preprocessing is outside all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from processes import answer_of

from sam_edge_runtimes import import_engine
from sam_edge_runtimes.memory import resident_sizes

RESULTS = Path(__file__).parent
PAGE = RESULTS.parents[1] / "docs" / "performance.md"
THREADS = 2
_COUNTED = json.loads((RESULTS / "flops.json").read_text())["graphs"]
GFLOP = {
    variant: row["encoder_gflop"]
    for variant in ("vit_b", "vit_l", "vit_h", "mobile_sam")
    for row in _COUNTED
    if (row["variant"], row["image_size"]) == (variant, 1024)
}
"""Of one encoder pass at 1024 px, two for a multiply-add: linears, products, convolutions."""

NO_REUSE = {"enable_mem_reuse": False, "enable_mem_pattern": False}
NO_PACKING = {"session.disable_prepacking": "1"}

Row = dict[str, Any]


def rows(variant: str) -> list[Row]:
    """Return what is measured: a label, the graph, the engine and its options."""
    straight, ours, whole = "straight", "ours", "unstripped"
    table: list[Row] = [
        {"label": "official PyTorch, eager", "engine": "torch"},
        {"label": "straight trace", "engine": "onnxruntime", "graph": straight},
        {
            "label": "straight trace, no buffer reuse",
            "engine": "onnxruntime",
            "graph": straight,
            "options": NO_REUSE,
        },
        {"label": "our graph", "engine": "onnxruntime", "graph": ours},
        {
            "label": "our graph, no memory pattern",
            "engine": "onnxruntime",
            "graph": ours,
            "options": {"enable_mem_pattern": False},
        },
        {
            "label": "our graph, no buffer reuse either",
            "engine": "onnxruntime",
            "graph": ours,
            "options": NO_REUSE,
        },
        {
            "label": "our graph, weights not packed twice",
            "engine": "onnxruntime",
            "graph": ours,
            "options": NO_REUSE | NO_PACKING,
        },
        {"label": "**as load_model opens it**", "engine": "onnxruntime", "graph": ours},
        {"label": "straight trace", "engine": "openvino", "graph": straight},
        {"label": "our graph", "engine": "openvino", "graph": ours},
        {"label": "**as load_model opens it**", "engine": "openvino", "graph": ours},
    ]
    if variant == "mobile_sam":
        table += [
            {
                "label": "our graph, its widest map whole instead of in strips",
                "engine": "onnxruntime",
                "graph": whole,
                "options": NO_REUSE | NO_PACKING,
            },
            {
                "label": "our graph, its widest map whole instead of in strips",
                "engine": "openvino",
                "graph": whole,
            },
        ]
    return table


def int8_rows() -> list[Row]:
    """Return what is measured of int8, with float32 in the same run."""
    return [
        {"label": "official PyTorch, eager", "engine": "torch"},
        {"label": "straight trace", "engine": "onnxruntime", "graph": "straight"},
        {
            "label": "straight trace, `quantize_dynamic`",
            "engine": "onnxruntime",
            "graph": "naive_int8",
        },
        *(
            {
                "label": f"{precision}, **as load_model opens it**",
                "engine": engine,
                "graph": "ours" if precision == "float32" else f"int8_{engine}",
            }
            for engine in ("onnxruntime", "openvino")
            for precision in ("float32", "int8")
        ),
    ]


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, run, rounds, runs, text in (
        ("measure", measure, 3, 3, "measure one model"),
        ("int8", measure, 3, 2, "measure int8 beside float32"),
        ("profile", measure_profile, 3, None, "where the time goes, by operator"),
        ("whole", measure_whole, 3, None, "cold start and memory of a whole bundle"),
        ("clicks", measure_memory, 3, None, "memory of 64 clicks and their masks"),
        ("photos", measure_memory, 1, None, "memory over 200 photos in a row"),
    ):
        measuring = verbs.add_parser(verb, help=text)
        measuring.add_argument("variant", choices=GFLOP)
        measuring.add_argument("--rounds", type=int, default=rounds)
        if runs:
            measuring.add_argument("--runs", type=int, default=runs, help="timed runs in a process")
        measuring.add_argument(
            "--work", type=Path, help="where graphs are kept; default: temporary"
        )
        measuring.set_defaults(run=run)
    one = verbs.add_parser("one", help="(one process of a measurement)")
    one.add_argument("request")
    one.set_defaults(
        run=lambda arguments: print(json.dumps(run_one(json.loads(arguments.request))))
    )
    writing = verbs.add_parser("write", help="write the tables into performance.md")
    writing.set_defaults(run=lambda _: write())
    arguments = parser.parse_args()
    arguments.run(arguments)


@contextmanager
def folders(arguments: argparse.Namespace) -> Iterator[tuple[Path, Path]]:
    """Give a temporary folder, and the one where graphs are kept."""
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        yield Path(temporary), work


def measure(arguments: argparse.Namespace) -> None:
    """Measure every row in turn, ``rounds`` times, and write the JSON."""
    with folders(arguments) as (_, work):
        graphs = prepare(arguments.variant, work)
        table, name = rows(arguments.variant), arguments.variant
        if arguments.verb == "int8":
            graphs |= prepare_int8(arguments.variant, work)
            table, name = int8_rows(), f"{arguments.variant}-int8"
        for row in table:
            row["rounds"] = []
        for number in range(arguments.rounds):
            for row in table:
                request = {**row, **graphs, "runs": arguments.runs, "variant": arguments.variant}
                row["rounds"].append(in_a_process(request))
                print(number, row["engine"], row["label"], row["rounds"][-1], flush=True)
        for row in table:
            if "graph" in row:
                row["file_mb"] = size_of(Path(graphs[row["graph"]])) / 1e6
    save(name, arguments.variant, table)


def size_of(graph: Path) -> int:
    """Return the bytes of a graph's file and of those that hold its weights."""
    import onnx

    tensors = onnx.load(graph, load_external_data=False).graph.initializer
    entries = [entry for tensor in tensors for entry in tensor.external_data]
    names = {entry.value for entry in entries if entry.key == "location"}
    return sum(path.stat().st_size for path in (graph, *(graph.parent / name for name in names)))


def measure_whole(arguments: argparse.Namespace) -> None:
    """Open a bundle without a cache, with an empty one and with a full one; also in low memory."""
    table: list[Row] = []
    with folders(arguments) as (temporary, work):
        bundles = {"square": prepare(arguments.variant, work)["bundle"]}
        bundles["photo"] = prepare_photo_frame(arguments.variant, work)
        for engine in ("onnxruntime", "openvino"):
            for label, state in STATES.items():
                row: Row = {"engine": engine, "label": label, "rounds": []}
                table.append(row)
                for number in range(arguments.rounds):
                    # "first" finds an empty cache each time; the others find what it left
                    name = f"{engine}-{number}" if label == FIRST else f"{engine}-0"
                    request = {
                        "whole": bundles[state.get("frame", "square")],
                        "engine": engine,
                        "memory": "normal",
                        "cache": False,
                        "threads": THREADS,
                        **state,
                    }
                    environment = {**os.environ, "SAM_EDGE_CACHE": f"{temporary}/{name}"}
                    row["rounds"].append(in_a_process(request, environment))
                    print(engine, label, row["rounds"][-1], flush=True)
        save(f"{arguments.variant}-whole", arguments.variant, table)


LABELS = {"clicks": "64 clicks, 192 masks", "photos": "RSS after each photo"}


def measure_memory(arguments: argparse.Namespace) -> None:
    """Ask a fresh process an engine what clicks, or photos, do to its memory."""
    verb = arguments.verb
    table: list[Row] = []
    with folders(arguments) as (temporary, work):
        bundle = prepare(arguments.variant, work)["bundle"]
        environment = {**os.environ, "SAM_EDGE_CACHE": f"{temporary}/cache"}
        for engine in ("onnxruntime", "openvino"):
            request = {verb: bundle, "engine": engine}
            rounds = [in_a_process(request, environment) for _ in range(arguments.rounds)]
            table.append({"engine": engine, "label": LABELS[verb], "rounds": rounds})
            print(engine, rounds, flush=True)
        save(f"{arguments.variant}-{verb}", arguments.variant, table)


def measure_profile(arguments: argparse.Namespace) -> None:
    """Ask each engine how long its operators took, in a process a round."""
    table: list[Row] = []
    with folders(arguments) as (_, work):
        graphs = prepare(arguments.variant, work) | prepare_int8(arguments.variant, work)
        for engine in ("onnxruntime", "openvino"):
            for label, graph in (
                ("straight trace", "straight"),
                ("float32", "ours"),
                ("int8", f"int8_{engine}"),
            ):
                request = {"profile": graphs[graph], "engine": engine}
                rounds = [in_a_process(request) for _ in range(arguments.rounds)]
                table.append({"engine": engine, "label": label, "rounds": rounds})
                print(engine, label, rounds[-1], flush=True)
        save(f"{arguments.variant}-profile", arguments.variant, table)


def run_profile(request: dict[str, Any]) -> dict[str, float]:
    """Return milliseconds by kind of operator, of the second run."""
    image = np.random.default_rng(0).standard_normal((1, 3, 1024, 1024)).astype(np.float32)
    spent: dict[str, float] = {}
    if request["engine"] == "openvino":
        openvino = import_engine("openvino")

        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
        core = openvino.Core()
        model = core.read_model(request["profile"])
        model.reshape({"image": list(image.shape)})
        compiled = core.compile_model(model, "CPU", {**settings, "PERF_COUNT": True})
        inference = compiled.create_infer_request()
        for _ in range(2):
            inference.infer({"image": image})
        for node in inference.get_profiling_info():
            spent[node.node_type] = spent.get(node.node_type, 0) + node.real_time.total_seconds()
        return {kind: 1e3 * seconds for kind, seconds in spent.items()}
    onnxruntime = import_engine("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = THREADS, 3
    options.enable_mem_reuse = options.enable_mem_pattern = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_free_dimension_override_by_name("batch", 1)
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/profile"
        session = onnxruntime.InferenceSession(
            request["profile"], options, providers=["CPUExecutionProvider"]
        )
        for _ in range(2):
            session.run(None, {"image": image})
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event for event in events if event["name"].endswith("_kernel_time")]
    for event in nodes[len(nodes) // 2 :]:
        kind = event["args"]["op_name"]
        spent[kind] = spent.get(kind, 0) + event["dur"] / 1e3
    return spent


def text_of_profile(record: dict[str, Any]) -> str:
    """Return one model's shares of time as Markdown, the largest first."""
    lines = [
        title_of(record),
        "",
        "| engine | | sum ms | by operator |",
        "|---|---|---|---|",
    ]
    for row in record["rows"]:
        kinds = {kind for entry in row["rounds"] for kind in entry}
        middle = {
            kind: statistics.median(entry.get(kind, 0) for entry in row["rounds"]) for kind in kinds
        }
        total = sum(middle.values())
        largest = sorted(middle, key=lambda kind: -middle[kind])
        shares = ", ".join(
            f"{kind} {middle[kind] / total:.0%}" for kind in largest if middle[kind] > 0.015 * total
        )
        lines.append(f"| {row['engine']} | {row['label']} | {total:.0f} | {shares} |")
    return "\n".join(lines) + "\n\n"


def run_clicks(request: dict[str, Any]) -> dict[str, Any]:
    """Return this process's memory after one call, its masks still held."""
    import sam_edge

    photo = np.random.default_rng(0).integers(0, 256, (1200, 1800, 3), np.uint8)
    model = sam_edge.load_model(request["clicks"], request["engine"], THREADS)
    embedding = model.encode_image(photo)
    before = memory()["peak_rss_mb"]
    places = [(100 + index % 8 * 200, 80 + index // 8 * 130) for index in range(64)]
    results = model.decode_batch(embedding, [sam_edge.Prompt.of([place]) for place in places])
    masks = sum(result.masks.nbytes for result in results) / 1e6
    return {"peak_before_mb": before, "masks_mb": masks, **memory()}


def run_photos(request: dict[str, Any]) -> dict[str, Any]:
    """Return this process's resident size after each of 200 photos."""
    import sam_edge

    generator = np.random.default_rng(0)
    model = sam_edge.load_model(request["photos"], request["engine"], THREADS)
    sizes = []
    for _ in range(200):
        height, width = generator.integers(300, 2000, 2)
        photo = generator.integers(0, 256, (height, width, 3), np.uint8)
        model.decode(model.encode_image(photo), points=[(width // 2, height // 2)])
        sizes.append(round(resident_sizes()["VmRSS"] / 1e6, 1))
    return {"rss_mb": sizes, **memory()}


FIRST = "first, keeps what the engine made"
STATES: dict[str, dict[str, Any]] = {
    "without a cache": {},
    FIRST: {"cache": True},
    "from the cache": {"cache": True},
    "from the cache, low memory": {"cache": True, "memory": "low"},
    "without a cache, one thread": {"threads": 1},
    "without a cache, `--frame photo`": {"frame": "photo"},
}


def in_a_process(request: dict[str, Any], environment: dict[str, str] | None = None) -> Row:
    """Run one measurement in a process of its own."""
    answer: Row = answer_of(__file__, "one", json.dumps(request), environment=environment)
    return answer


def save(name: str, variant: str, table: list[Row]) -> None:
    """Write a record."""
    from sam_edge_benchmarks.machine import fingerprint

    machine = fingerprint()
    record = {
        "variant": variant,
        "image_size": 1024,
        "threads": THREADS,
        "machine": {"processor": machine["cpu_model"], "cores": machine["cores"]},
        "rows": table,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def run_whole(request: dict[str, Any]) -> dict[str, Any]:
    """Open both graphs, encode a photo, decode a click, twice."""
    import sam_edge
    from sam_edge.bundle import read_spec
    from sam_edge.loading import graph_opener
    from sam_edge.model import Model
    from sam_edge.spec import ROLES

    directory, engine, cache = Path(request["whole"]), request["engine"], request["cache"]
    threads = request["threads"]
    photo = np.random.default_rng(0).integers(0, 256, (1200, 1800, 3), np.uint8)
    import_engine(engine)  # Python's part, the same for every state
    facts = {}
    spec = read_spec(directory)
    if request["memory"] == "normal" and spec.image.frame == "square":
        began = time.perf_counter()
        sessions = {
            role: graph_opener(directory, spec, role, engine, threads, cache=cache)()
            for role in ROLES
        }
        facts["load_s"] = time.perf_counter() - began
        model = Model(spec, sessions, engine)
    else:
        model = sam_edge.load_model(directory, engine, threads, request["memory"], cache)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        embedding = model.encode_image(photo)
        times.append(time.perf_counter() - began)
        model.decode(embedding, points=[(900, 600)])
    return {**facts, "encode_s": times, **memory()}


def prepare(variant: str, work: Path) -> dict[str, str]:
    """Make the seeded checkpoint, the straight trace and our graphs, unless they are there."""
    from sam_edge_export import trace
    from sam_edge_export.load import load_checkpoint
    from sam_edge_export.modules import tiny_vit
    from sam_edge_export.pipeline import export_bundle
    from sam_edge_export.seeded import seeded_checkpoint

    checkpoint = work / f"seeded_{variant}.pth"
    if not checkpoint.exists():
        seeded_checkpoint(variant, 1024, 0, checkpoint)
    bundle = work / f"{variant}-bundle"
    paths = {"ours": bundle / "image_encoder.onnx", "unstripped": work / f"{variant}-whole.onnx"}
    if not bundle.exists():
        export_bundle(checkpoint, bundle, verify=False, random_weights=True)
    if variant == "mobile_sam" and not paths["unstripped"].exists():
        rows_of_a_strip, tiny_vit.STRIP_ROWS = tiny_vit.STRIP_ROWS, 10**9
        sam, _ = load_checkpoint(checkpoint, "auto", None)  # built with strips as tall as the map
        tiny_vit.STRIP_ROWS = rows_of_a_strip
        trace.write_graph(trace.encoder(sam), paths["unstripped"], {}, precision="fp32")
    straight = work / f"{variant}-straight"
    if not straight.exists():
        from sam_edge_benchmarks.subjects import naive_onnx

        naive_onnx.prepare(
            {
                "checkpoint": str(checkpoint),
                "variant": variant,
                "image_size": 1024,
                "precision": "fp32",
                "output": str(straight),
            }
        )
    return {
        "checkpoint": str(checkpoint),
        "bundle": str(bundle),
        "straight": str(straight / "encoder.onnx"),
        **{name: str(path) for name, path in paths.items()},
    }


def prepare_photo_frame(variant: str, work: Path) -> str:
    """Make a bundle whose encoder takes what is in the photo, after ``prepare``."""
    from sam_edge_export.pipeline import export_bundle

    bundle = work / f"{variant}-photo-frame"
    if not bundle.exists():
        export_bundle(
            work / f"seeded_{variant}.pth", bundle, frame="photo", verify=False, min_iou=0
        )
    return str(bundle)


def prepare_int8(variant: str, work: Path) -> dict[str, str]:
    """Make int8 encoders, ours and what ``quantize_dynamic`` makes of the straight trace.

    The gate is off: on seeded weights masks cannot pass it, and no product goes back to float.
    """
    from sam_edge_benchmarks.subjects import bundle, naive_onnx

    request = {
        "checkpoint": str(work / f"seeded_{variant}.pth"),
        "variant": variant,
        "image_size": 1024,
        "precision": "int8",
    }
    ours, naive = work / f"{variant}-int8", work / f"{variant}-naive-int8"
    if not ours.exists():
        bundle.prepare({**request, "output": str(ours)})
    if not naive.exists():
        naive_onnx.prepare({**request, "output": str(naive)})
    return {
        "naive_int8": str(naive / "encoder.onnx"),
        **{
            f"int8_{engine}": str(ours / f"image_encoder.{engine}.onnx")
            for engine in ("onnxruntime", "openvino")
        },
    }


def run_one(request: dict[str, Any]) -> dict[str, Any]:
    """Load, warm up, run; say how long it took and how much memory this process needed."""
    if "whole" in request:
        return run_whole(request)
    if "clicks" in request:
        return run_clicks(request)
    if "photos" in request:
        return run_photos(request)
    if "profile" in request:
        return run_profile(request)
    image = np.random.default_rng(0).standard_normal((1, 3, 1024, 1024)).astype(np.float32)
    began = time.perf_counter()
    own = "load_model" in request["label"]
    encode, facts = (open_ours if own else OPENERS[request["engine"]])(request, image)
    facts["load_s"] = time.perf_counter() - began
    encode()
    times = []
    for _ in range(request["runs"]):
        began = time.perf_counter()
        encode()
        times.append(time.perf_counter() - began)
    return {"encode_s": times, **facts, **memory()}


def open_torch(
    request: dict[str, Any], image: NDArray[np.float32]
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The official encoder."""
    import torch

    from sam_edge_benchmarks.subjects import official

    torch.set_num_threads(THREADS)
    sam = official.build(request["variant"], 1024, request["checkpoint"])
    tensor = torch.from_numpy(image)

    def encode() -> None:
        with torch.no_grad():
            sam.image_encoder(tensor)

    return encode, {"sgemm_gflop_s": sgemm()}


def sgemm() -> dict[str, float]:
    """What this machine reaches at this moment with a product of 3072 x 3072, by library."""
    import onnx

    onnxruntime = import_engine("onnxruntime")
    import torch

    side = 3072
    square = np.random.default_rng(0).random((side, side), np.float32)
    tensor = torch.from_numpy(square)
    value = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (side, side))
        for name in "ab"
    ]
    node = onnx.helper.make_node("MatMul", ["a", "a"], ["b"])
    graph = onnx.helper.make_graph([node], "sgemm", value[:1], value[1:])
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    products: dict[str, Callable[[], Any]] = {
        "torch": lambda: torch.mm(tensor, tensor),
        "onnxruntime": lambda: session.run(None, {"a": square}),
    }
    rates = {}
    for name, product in products.items():
        times = []
        for _ in range(6):
            began = time.perf_counter()
            product()
            times.append(time.perf_counter() - began)
        rates[name] = 2e-9 * side**3 / min(times)
    return rates


def open_ours(
    request: dict[str, Any], image: NDArray[np.float32]
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A graph as ``load_model`` opens it for the first time."""
    from sam_edge_runtimes import open_session

    session = open_session(
        request["engine"],
        Path(request[request["graph"]]),
        threads=THREADS,
        input_shapes={"image": ("batch", 3, 1024, 1024)},
        fixed={"batch": 1},
        pack_weights=False,
    )
    return lambda: session.run({"image": image}), {}


def open_onnxruntime(
    request: dict[str, Any], image: NDArray[np.float32]
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A graph with ONNX Runtime's defaults but for the options of the row."""
    onnxruntime = import_engine("onnxruntime")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = THREADS, 3
    for name, value in request.get("options", {}).items():
        if "." in name:
            options.add_session_config_entry(name, value)
        else:
            setattr(options, name, value)
    options.add_free_dimension_override_by_name("batch", 1)
    session = onnxruntime.InferenceSession(
        request[request["graph"]], options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"image": image}), {}


def open_openvino(
    request: dict[str, Any], image: NDArray[np.float32]
) -> tuple[Callable[[], Any], dict[str, Any]]:
    """A graph on OpenVINO in float32."""
    openvino = import_engine("openvino")

    core = openvino.Core()
    model = core.read_model(request[request["graph"]])
    model.reshape({"image": list(image.shape)})
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", {**settings, "INFERENCE_NUM_THREADS": THREADS})
    del model
    inference = compiled.create_infer_request()
    return lambda: inference.infer({"image": image}, share_inputs=True), {}


OPENERS = {"torch": open_torch, "onnxruntime": open_onnxruntime, "openvino": open_openvino}


def memory() -> dict[str, float]:
    """Return this process's peak RSS and its anonymous part now, in MB (Linux)."""
    sizes = resident_sizes()
    return {"peak_rss_mb": sizes["VmHWM"] / 1e6, "anonymous_mb": sizes["RssAnon"] / 1e6}


def write() -> None:
    """Put the tables of every record between the marks of the page."""
    page = PAGE.read_text()
    for mark, name, text in (
        ("techniques", "{}.json", text_of),
        ("int8", "{}-int8*.json", text_of),  # of more than one machine
        ("profile", "{}-profile.json", text_of_profile),
        ("whole", "{}-whole.json", text_of_whole),
        ("photos", "{}-photos.json", text_of_photos),
    ):
        patterns = [name.format(variant) for variant in GFLOP]
        found = [path for pattern in patterns for path in sorted(RESULTS.glob(pattern))]
        tables = "\n".join(text(json.loads(path.read_text())) for path in found)
        before, begin, rest = page.partition(f"<!-- {mark} -->")
        _, end, after = rest.partition(f"<!-- /{mark} -->")
        if not end:
            sys.exit(f"{PAGE.name} has no marks of {mark}")
        page = f"{before}{begin}\n{tables}{end}{after}"
    PAGE.write_text(page)


def title_of(record: dict[str, Any]) -> str:
    """Return what a record is of, as Markdown."""
    return (
        f"**{record['variant']}**, {record['image_size']} px, {record['threads']} threads, "
        f"{record['machine']['processor']}"
    )


def text_of_whole(record: dict[str, Any]) -> str:
    """Return one model's table of cold start and memory as Markdown."""
    lines = [
        title_of(record),
        "",
        "| engine | opened | load ms | encode ms | peak RSS MB | anonymous MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        middle = {
            key: statistics.median(entry[key] for entry in row["rounds"])
            for key in ("load_s", "peak_rss_mb", "anonymous_mb")
            if key in row["rounds"][0]
        }
        load = f"{middle['load_s'] * 1e3:.0f}" if "load_s" in middle else "with the photo"
        encode = statistics.median(entry["encode_s"][-1] for entry in row["rounds"])
        lines.append(
            f"| {row['engine']} | {row['label']} | {load} | {encode * 1e3:.0f} | "
            f"{middle['peak_rss_mb']:.0f} | {middle['anonymous_mb']:.0f} |"
        )
    return "\n".join(lines) + "\n\n"


def text_of_photos(record: dict[str, Any]) -> str:
    """Return how a process's size changed over many photos as Markdown."""
    after = (1, 50, 100, 150, 200)
    lines = [
        title_of(record),
        "",
        f"| engine | {' | '.join(f'RSS MB after {count}' for count in after)} | peak |",
        "|---|" + "---|" * (len(after) + 1),
    ]
    for row in record["rows"]:
        answer = row["rounds"][0]
        sizes = " | ".join(f"{answer['rss_mb'][count - 1]:.0f}" for count in after)
        lines.append(f"| {row['engine']} | {sizes} | {answer['peak_rss_mb']:.0f} |")
    return "\n".join(lines) + "\n\n"


def text_of(record: dict[str, Any]) -> str:
    """Return one model's table as Markdown."""
    reference = record["rows"][0]["rounds"]
    peak = statistics.median(max(entry["sgemm_gflop_s"].values()) for entry in reference)
    sized = any("file_mb" in row for row in record["rows"])
    lines = [
        f"{title_of(record)}, {len(reference)} rounds; sgemm {peak:.0f} GFLOP/s",
        "",
        "| engine | what | encode ms | faster than eager | of the sgemm peak | peak RSS MB | "
        "anonymous MB |" + " file MB |" * sized,
        "|---|---|---|---|---|---|---|" + "---|" * sized,
    ]
    for row in record["rows"]:
        seconds = [statistics.median(entry["encode_s"]) for entry in row["rounds"]]
        ratios = [
            statistics.median(theirs["encode_s"]) / ours
            for theirs, ours in zip(reference, seconds, strict=True)
        ]
        middle = statistics.median(seconds)
        share = GFLOP[record["variant"]] / middle / peak
        rss, anonymous = (
            statistics.median(entry[key] for entry in row["rounds"])
            for key in ("peak_rss_mb", "anonymous_mb")
        )
        lines.append(
            f"| {row['engine']} | {row['label']} | {middle * 1e3:.0f} | "
            f"{statistics.median(ratios):.2f}x | {share:.0%} | {rss:.0f} | {anonymous:.0f} |"
            + (f" {row['file_mb']:.1f} |" if "file_mb" in row else " |" * sized)
        )
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main()
