"""How much the graphs multiply, for a photo and for a click, and what it may mean on a board.

    python benchmarks/techniques/flops.py [--count]

``--count`` writes ``flops.json`` beside this file: for each variant and image size that the package
has graphs for, the products of the encoder, and of the decoder for one point (two tokens), two
floating-point operations for a multiply-add. Everything else a graph does (norms, softmax,
activations, copies) is left out, as is what the host does. Graphs are the exporter's own, filled
with zeros; ViT-H takes 3 GB of disk for a moment.

Without it, the table of ``docs/boards.md`` is written from that file: what is multiplied divided by
what a processor could multiply, of which engines reach a share. Nothing in it was measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

RESULT = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[2] / "docs" / "boards.md"
BEGIN, END = "<!-- flops -->", "<!-- /flops -->"

DIMENSIONS = {"batch": 1, "prompts": 1, "points": 2, "masks": 1}


@dataclass(frozen=True, slots=True)
class Processor:
    """A board's processor, from its data sheet.

    Attributes:
        name: of the board.
        cores: that compute.
        ghz: with all of them at work.
        per_cycle: float32 operations of one core and cycle: two for each lane of each unit that
            multiplies and adds.
    """

    name: str
    cores: int
    ghz: float
    per_cycle: int

    @property
    def peak(self) -> float:
        """In GFLOP/s."""
        return self.cores * self.ghz * self.per_cycle


BOARDS = (
    Processor("Raspberry Pi 4", 4, 1.8, 8),  # Cortex-A72: one unit of 128 bits
    Processor("Raspberry Pi 5", 4, 2.4, 16),  # Cortex-A76: two
    Processor("Jetson Orin Nano", 6, 1.5, 16),  # Cortex-A78AE: two
    Processor("N100", 4, 2.9, 16),  # Gracemont: two, 256 bits take both
)
SHARE = (0.2, 0.7)
"""What engines reach of that: small products and memory leave them less, large products more."""

SHOWN = (
    ("nano", 512),
    ("mobile_sam", 512),
    ("mobile_sam", 1024),
    ("vit_b", 512),
    ("vit_b", 1024),
)


def main() -> None:
    """Count, or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", action="store_true", help="count again: needs the exporter")
    if parser.parse_args().count:
        from sam_edge.filling.template import sizes

        rows = [row(variant, size) for variant in sizes() for size in sizes()[variant]]
        rows.sort(key=lambda entry: entry["encoder_gflop"])
        RESULT.write_text(json.dumps({"graphs": rows}, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def replaced(page: str) -> str:
    """Return the page with the table of what was counted."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["graphs"]
    return f"{before}{BEGIN}\n{table(rows)}{END}{after}"


def row(variant: str, image_size: int) -> dict[str, Any]:
    """Count a variant's graphs at an image size."""
    from sam_edge.filling.graph import fill
    from sam_edge.filling.template import select, templates, weights_needed
    from sam_edge.spec import IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER

    known = templates(variant, image_size)
    needed = weights_needed(known)
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in needed.items()}
    side = image_size // 16
    dimensions = {
        **DIMENSIONS,
        "grid_height": side,
        "grid_width": side,
        "mask_height": 4 * side,
        "mask_width": 4 * side,
    }
    found: dict[str, Any] = {"variant": variant, "image_size": image_size}
    with tempfile.TemporaryDirectory() as folder:
        for role, name in ((IMAGE_ENCODER, "encoder"), (PROMPT_ENCODER_MASK_DECODER, "decoder")):
            path = Path(folder) / "graph.onnx"
            fill(select(known, role, "fp32"), zeros, path, {})
            by_kind = counted(path, dimensions)
            found[f"{name}_gflop"] = round(sum(by_kind.values()) / 1e9, 2)
            found[f"{name}_by_operator"] = {
                kind: round(flop / 1e9, 2) for kind, flop in sorted(by_kind.items())
            }
    return found


def counted(path: Path, dimensions: Mapping[str, int]) -> Counter[str]:
    """Return the operations of a graph's products by the operator's name.

    Args:
        path: of the graph.
        dimensions: what those of its inputs' dimensions are that have names.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    for given in model.graph.input:
        for axis in given.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_value = dimensions[axis.dim_param]
    del model.graph.value_info[:]
    known = shapes_of(onnx.shape_inference.infer_shapes(model, data_prop=True).graph)
    products = [node for node in model.graph.node if node.op_type in OPERATIONS]
    unknown = [
        name
        for node in products
        for name in (*node.input[:2], *node.output)
        if 0 in known.get(name, (0,))
    ]
    if unknown:  # sizes that are computed in floats, which shapes are not inferred through
        known |= shapes_run(model, unknown)
    total: Counter[str] = Counter()
    for node in products:
        attributes = {
            entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute
        }
        left, right, answer = (known[name] for name in (*node.input[:2], node.output[0]))
        total[node.op_type] += 2 * prod(answer) * OPERATIONS[node.op_type](left, right, attributes)
    return total


Shape = tuple[int, ...]

OPERATIONS: Mapping[str, Callable[[Shape, Shape, Mapping[str, Any]], int]] = {
    "MatMul": lambda left, right, attributes: left[-1],
    "Gemm": lambda left, right, attributes: left[0 if attributes.get("transA") else 1],
    "Conv": lambda left, right, attributes: prod(right[1:]),
}
"""What multiplies: how many products one number of its output is the sum of."""


def shapes_of(graph: Any) -> dict[str, Shape]:  # noqa: ANN401 - onnx's graph
    """Return the shapes that a graph says, 0 for an axis that it does not."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return shapes


def shapes_run(model: Any, names: Sequence[str]) -> dict[str, Shape]:  # noqa: ANN401 - onnx's model
    """Return the shapes of tensors that a graph was run for, once."""
    import onnx
    import onnxruntime

    feeds = {
        given.name: np.zeros(shapes_of(model.graph)[given.name], np.float32)
        for given in model.graph.input
    }
    wanted = sorted(set(names))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    answers = session.run(wanted, feeds)
    return {name: answer.shape for name, answer in zip(wanted, answers, strict=True)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the page's table."""
    boards = " | ".join(board.name for board in BOARDS)
    lines = [
        f"| model | px | encode GFLOP | click GFLOP | {boards} |",
        "|---|---|---|---|" + "---|" * len(BOARDS),
        "| peak, GFLOP/s | | | | " + " | ".join(f"{board.peak:.0f}" for board in BOARDS) + " |",
    ]
    for entry in rows:
        if (entry["variant"], entry["image_size"]) in SHOWN:
            times = " | ".join(
                f"{rough(entry['encoder_gflop'] / board.peak / SHARE[1])} to "
                f"{rough(entry['encoder_gflop'] / board.peak / SHARE[0])} s"
                for board in BOARDS
            )
            lines.append(
                f"| {entry['variant']} | {entry['image_size']} | {entry['encoder_gflop']:.0f} | "
                f"{entry['decoder_gflop']:.1f} | {times} |"
            )
    return "\n".join(lines) + "\n"


def rough(seconds: float) -> str:
    """Round to one digit, as no more is known: 0.0372 is 0.04, 23.1 is 20."""
    return f"{float(f'{seconds:.0e}'):g}"


if __name__ == "__main__":
    main()
