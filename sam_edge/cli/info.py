"""The command ``info``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sam_edge.bundle import GROUNDING, check_hashes, kind_of, manifest_text, read_spec
from sam_edge.cli.console import show
from sam_edge.cli.frame import Subparsers, add_command
from sam_edge.grounding.manifest import (
    check_grounding_hashes,
    grounding_manifest_text,
    read_grounding_spec,
)
from sam_edge.spec import BundleSpec, GroundingSpec, ModelSpec
from sam_edge.zoo.grounders import resolve_any


def add_commands(subparsers: Subparsers) -> None:
    """Add ``info`` to the command line."""
    info = add_command(
        subparsers,
        "info",
        "say what a bundle is",
        description="Say what a bundle is: model, files, provenance and measured fidelity.",
        examples="example:\n  sam-edge info vit_b_bundle --check",
    )
    info.add_argument(
        "model", nargs="?", metavar="BUNDLE", help="a folder or a name; default: nano, in the box"
    )
    info.add_argument("--json", action="store_true", help="print the manifest as JSON")
    info.add_argument("--check", action="store_true", help="compare every file with its sha256")
    info.set_defaults(run=run_info)


def run_info(arguments: argparse.Namespace) -> int:
    """Print what a bundle is."""
    directory = resolve_any(arguments.model)
    if kind_of(directory) == GROUNDING:
        grounding = read_grounding_spec(directory)
        text = grounding_manifest_text(grounding) if arguments.json else ""
        text = text or describe_grounding(directory, grounding)
        if arguments.check:
            check_grounding_hashes(directory, grounding)
    else:
        spec = read_spec(directory)
        text = manifest_text(spec) if arguments.json else describe(directory, spec)
        if arguments.check:
            check_hashes(directory, spec)
    show(text)
    if arguments.check and not arguments.json:
        show("every file has the sha256 that the manifest says")
    return 0


def describe(directory: Path, spec: ModelSpec) -> str:
    """Return a bundle's manifest as a text for people."""
    return _described(
        directory,
        spec,
        f"{spec.variant}, {spec.image_size} px, {spec.image.frame} frame, "
        f"{spec.precision}, {spec.decoder} decoder, opset {spec.opset}",
        "masks",
    )


def describe_grounding(directory: Path, spec: GroundingSpec) -> str:
    """Return a grounding bundle's manifest as a text for people."""
    return _described(
        directory,
        spec,
        f"{spec.variant}, boxes of words, {spec.image.size} px, {spec.precision}, phrases of up to "
        f"{spec.tokenizer.length} tokens, opset {spec.opset}",
        "boxes",
    )


def _described(directory: Path, spec: BundleSpec, model: str, answers: str) -> str:
    lines = [
        f"{directory}",
        f"  model      {model}",
        f"  source     {spec.source.file}, sha256 {spec.source.sha256[:12]}..., "
        f"licence {spec.source.licence}",
        f"  exporter   {', '.join(f'{name} {value}' for name, value in spec.exporter.items())}",
    ]
    if spec.source.random:
        lines.append(f"  note       random weights: its {answers} mean nothing")
    lines += [f"  note       {note}" for note in spec.notes]
    for graph in spec.graphs:
        engines = ", ".join(graph.engines) or "any engine"
        lines.append(
            f"  graph      {graph.file}, {graph.size_bytes / 1e6:.1f} MB, {graph.precision}, "
            f"for {engines}"
        )
        for arrow, tensors in (("<-", graph.inputs), ("->", graph.outputs)):
            for tensor in tensors:
                shape = ", ".join(map(str, tensor.shape))
                lines.append(f"               {arrow} {tensor.name} [{shape}] {tensor.dtype}")
    lines += [f"  int8       {line}" for line in _quantization(spec.quantization or {})]
    lines += [f"  fidelity   {_fidelity(entry)}" for entry in spec.fidelity]
    if not spec.fidelity:
        lines.append("  fidelity   not measured; measure it with: sam-edge verify")
    return "\n".join(lines) + "\n"


def _quantization(recipe: Mapping[str, Any]) -> list[str]:
    """Say what is in integers, how fast and from which photos."""
    lines = []
    for engine, entry in recipe.get("engines", {}).items():
        faster = entry["speedup_over_fp32"]
        speed = "speed not measured" if faster is None else f"{faster} times as fast as float32"
        kept = f"{len(entry['float'])} more kept float" if entry["float"] else "none kept float"
        lines.append(
            f"{engine}: {entry['recipe']}, {entry['products']} products in integers, {kept}; "
            f"{speed} on {recipe['made_on']}"
        )
    if recipe:
        calibration, ranges = recipe["calibration"], "ranges measured at run time"
        if calibration:
            ranges = f"ranges from {calibration['count']} photos ({calibration['photos']})"
        lines.append(
            f"{recipe['weight_bits']}-bit weights, {ranges}"
            + (f", masks held to a mean IoU of {recipe['min_iou']}" if recipe["min_iou"] else "")
        )
    return lines


def _fidelity(entry: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in entry.items()
    )
