"""Measure the towers that find words: time, memory and files, beside transformers.

    python benchmarks/techniques/grounding.py    # 40 minutes; writes grounding.json beside it
    python benchmarks/techniques/grounding.py --kinds owlvit --rounds 1 --output /tmp/smoke.json
    python benchmarks/techniques/grounding.py --table    # grounding.json -> docs/text.md

Weights are random, of the published B models' sizes, in the directories that the tests make, too:
speed and memory are exact on them, boxes mean nothing (so ``int8`` is exported with ``--min-iou``
0, and no IoU is recorded). Each figure is of a fresh process with 2 threads: it opens a subject,
looks at a photo once to warm up, and then times ``--rounds`` looks, one phrase and 20 phrases. Its
peaks are VmHWM, after the looks (our text tower is not open then) and at the end. Peers:
transformers, eager, and the straight ONNX trace of its whole model (photo and phrases at once) on
ONNX Runtime as it comes. Ours are measured in each number format that the processor has.

``product_rates`` is how fast this machine multiplies large matrices at best, before and after, and
``image_tower_gflop`` what an image tower multiplies: one over the other is the floor of a look in
that format, whoever computes it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import product_rate
from flops import counted
from processes import answer_of

from sam_edge.files import json_text, write_text
from sam_edge_benchmarks.machine import fingerprint, load_average
from sam_edge_runtimes import ENGINES, FLOAT32, FORMATS, formats_of

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).parent / "grounding.json"
PAGE = ROOT / "docs" / "text.md"
BEGIN, END = "<!-- grounding -->", "<!-- /grounding -->"
TITLES = {"owlvit": "OWL-ViT B/32", "owlv2": "OWLv2 B/16"}
THREADS = 2
KINDS = ("owlvit", "owlv2")
PRECISIONS = ("fp32", "fp16", "int8")
MANY = 20
"""Phrases."""

MAKE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import owl
owl.owl_directory(sys.argv[2], Path(sys.argv[3]), owl.FULL[sys.argv[2]])
"""

TIMED = """
import json, sys, time
import numpy as np
from sam_edge.image import read_image
from sam_edge.photos import photos_in
from sam_edge_runtimes.memory import peak_rss
ROUNDS = int(sys.argv[2])
PHOTO = read_image(photos_in(None)[1])
def seconds(work, rounds=ROUNDS):
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken
def finish(look, one, many):
    answer = {"look_s": seconds(look), "look_peak_bytes": peak_rss(), "one_phrase_s": seconds(one)}
    answer["many_phrases_s"] = seconds(many)
    print(json.dumps({**answer, "peak_bytes": peak_rss()}))
"""

OURS = (
    TIMED
    + f"""
from sam_edge.grounding.opening import load_grounder
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER
from sam_edge.grounding.pixels import preprocess
grounder = load_grounder(
    sys.argv[1], sys.argv[3], {THREADS}, cache=False, compute=sys.argv[4]
)
image = preprocess(PHOTO, grounder.spec.image)
tokens = np.ones(({MANY}, 16), np.int64)
look = lambda: grounder.sessions[IMAGE_TOWER].run({{"image": image}})
read = lambda count: grounder.sessions[TEXT_TOWER].run({{"input_ids": tokens[:count]}})
finish(look, lambda: read(1), lambda: read({MANY}))
"""
)

EAGER = (
    TIMED
    + f"""
import torch
import transformers
torch.set_num_threads({THREADS})
directory = sys.argv[1]
kind = json.load(open(directory + "/config.json"))["model_type"]
model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(directory).eval()
side = model.config.vision_config.image_size
image = torch.zeros(1, 3, side, side)
tokens = torch.ones({MANY}, 16, dtype=torch.int64)
inner = getattr(model, kind)
def look():
    with torch.inference_mode():
        features, _ = model.image_embedder(image)
        flat = features.flatten(1, 2)
        model.box_predictor(flat, features)
        model.class_head(flat, torch.zeros(1, 1, model.config.projection_dim), None)
def read(count):
    with torch.inference_mode():
        inner.get_text_features(tokens[:count])
finish(look, lambda: read(1), lambda: read({MANY}))
"""
)

TRACE = """
import sys
import torch
import transformers
directory, output = sys.argv[1:]
model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(
    directory, attn_implementation="eager"
).eval()
side = model.config.vision_config.image_size
class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
    def forward(self, pixel_values, input_ids, attention_mask):
        answer = self.model(
            pixel_values=pixel_values, input_ids=input_ids, attention_mask=attention_mask
        )
        return answer.logits, answer.pred_boxes
ids = torch.ones(2, 16, dtype=torch.int64)
torch.onnx.export(
    Whole(), (torch.zeros(1, 3, side, side), ids, torch.ones_like(ids)), output,
    input_names=["pixel_values", "input_ids", "attention_mask"],
    output_names=["logits", "pred_boxes"], opset_version=17, dynamo=False,
    dynamic_axes={"input_ids": {0: "phrases"}, "attention_mask": {0: "phrases"}},
)
print("null")
"""

STRAIGHT = (
    TIMED
    + f"""
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {THREADS}
session = onnxruntime.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
shape = session.get_inputs()[0].shape
image = np.zeros(shape, np.float32)
def whole(count):
    ids = np.ones((count, 16), np.int64)
    session.run(None, {{"pixel_values": image, "input_ids": ids, "attention_mask": ids}})
finish(lambda: whole(1), lambda: whole(1), lambda: whole({MANY}))
"""
)


def main() -> None:
    """Make, export and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument(
        "--table", action="store_true", help="write the page's table, measure nothing"
    )
    arguments = parser.parse_args()
    if arguments.table:
        record = json.loads(RESULT.read_text(encoding="utf-8"))
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")
        return
    before = load_average()
    rates = [[*product_rate.rates(THREADS)]]
    rows: list[dict[str, Any]] = []
    gflop: dict[str, float] = {}
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as folder:
            for row in rows_of(kind, Path(folder), arguments.precisions, arguments.rounds):
                rows.append({"kind": kind, **row})
                print(summary(rows, kind), file=sys.stderr, flush=True)
            if (found := gflop_of(Path(folder))) is not None:
                gflop[kind] = found
    rates.append([*product_rate.rates(THREADS)])
    record = {
        "machine": fingerprint(),
        "threads": THREADS,
        "phrases": MANY,
        "load_average": [before, load_average()],
        "weights": "random, of the published sizes: no box means anything",
        "product_shapes": product_rate.SHAPES,
        "product_rates": rates,
        "image_tower_gflop": gflop,
        "rows": rows,
    }
    write_text(arguments.output, json_text(record, indent=1))
    print(floors(record), file=sys.stderr)


def rows_of(
    kind: str, folder: Path, precisions: list[str], rounds: int
) -> Iterator[dict[str, Any]]:
    """Measure one kind: the peers, then ours in each precision on each engine."""
    directory = folder / kind
    directory.mkdir()
    answer_of(MAKE, ROOT / "tests" / "export", kind, directory)
    yield {"subject": "transformers eager", **answer_of(EAGER, directory, rounds)}
    straight = folder / "straight.onnx"
    answer_of(TRACE, directory, straight)
    yield {
        "subject": "straight trace, onnxruntime",
        **answer_of(STRAIGHT, straight, rounds),
        "bytes": straight.stat().st_size,
    }
    for precision in precisions:
        bundle = folder / f"{kind}-{precision}"
        command = [sys.executable, "-m", "sam_edge.cli", "export", directory, "-o", bundle]
        words = ["--precision", precision, "--min-iou", "0", "--random-weights"]
        # Speed is what is measured here, so nothing is refused for it.
        words += ["--allow-slow"] if precision == "int8" else ["--no-verify"]
        subprocess.run([*map(str, command), *words], check=True, stdout=subprocess.DEVNULL)
        for engine in ENGINES:
            graphs = [path for path in bundle.glob("*.onnx") if _is_for(path, engine)]
            for name in formats_of(engine):
                yield {
                    "subject": f"{precision}, {engine}" + (f", {name}" if name != FLOAT32 else ""),
                    **answer_of(OURS, bundle, rounds, engine, name),
                    "bytes": sum(path.stat().st_size for path in graphs),
                }


def _is_for(path: Path, engine: str) -> bool:
    own = [name for name in ENGINES if f".{name}." in path.name]
    return not own or engine in own


def gflop_of(folder: Path) -> float | None:
    """Return what a float image tower of the bundles in a folder multiplies, in GFLOP."""
    for tower in folder.glob("*/image_tower.onnx"):
        return round(sum(counted(tower, {"batch": 1}).values()) / 1e9, 1)
    return None


def summary(rows: list[dict[str, Any]], kind: str) -> str:
    """Return the last row's line, with ratios against eager transformers."""
    eager = next(row for row in rows if row["kind"] == kind)
    row = rows[-1]
    look, first = (statistics.median(entry["look_s"]) for entry in (row, eager))
    one, many = (
        1000 * statistics.median(row[f"{name}_s"]) for name in ("one_phrase", "many_phrases")
    )
    size = f"{row['bytes'] / 1e6:5.0f} MB" if "bytes" in row else "        "
    return (
        f"{kind:<7} {row['subject']:<30} look {look:6.2f} s ({first / look:4.1f}x)  a phrase "
        f"{one:5.0f} ms, {MANY} {many:5.0f} ms  peak {row['look_peak_bytes'] / 1e9:5.2f} GB, "
        f"with words {row['peak_bytes'] / 1e9:5.2f} GB  {size}"
    )


def replaced(page: str, record: Mapping[str, Any]) -> str:
    """Return the page with the table of a record, and what the products take at the least."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(record['rows'])}\n{floors(record)}{END}{after}"


def table(rows: list[dict[str, Any]]) -> str:
    """Return the page's table."""
    lines = [
        "| | a photo, s | faster than eager | 1 phrase, ms | 20 phrases, ms | peak GB, photo | "
        "with words | files MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first: dict[str, float] = {}
    for row in rows:
        look, one, many = (
            statistics.median(row[name]) for name in ("look_s", "one_phrase_s", "many_phrases_s")
        )
        name = row["subject"].replace("transformers eager", "transformers, eager")
        for word, shown in {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}.items():
            name = name.replace(word, shown)
        name = name.replace("fp32", "float32")
        if row["kind"] not in first:
            name = f"**{TITLES[row['kind']]}**, {name}"
        eager = first.setdefault(row["kind"], look)
        size = f"{row['bytes'] / 1e6:.0f} " if "bytes" in row else ""
        lines.append(
            f"| {name} | {look:.2f} | {eager / look:.1f}x | {1000 * one:.0f} | {1000 * many:.0f} | "
            f"{row['look_peak_bytes'] / 1e9:.2f} | {row['peak_bytes'] / 1e9:.2f} | {size}|"
        )
    return "\n".join(lines) + "\n"


def floors(record: Mapping[str, Any]) -> str:
    """Return what the products of an image tower take at the least on that machine, as text."""
    rates = [row for rows in record["product_rates"] for row in rows]
    known = [(name, product_rate.best(rates, name)) for name in FORMATS]
    fastest = ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in known if rate)
    lines = [
        f"{TITLES[kind]}'s {gflop:.0f} GFLOP take "
        + " and ".join(f"{gflop / rate:.2f} s in {name}" for name, rate in known if rate)
        for kind, gflop in record["image_tower_gflop"].items()
    ]
    return (
        f"Large products reach at most {fastest} on that machine, so "
        f"{', and '.join(lines)} at the least.\n"
    )


if __name__ == "__main__":
    main()
