"""Image towers whose products are in integers, a file an engine, each faster than float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx

from sam_edge.gates import refuse_slow, speedup
from sam_edge.grounding.pixels import preprocess
from sam_edge.new_bundle import provenance
from sam_edge.spec import IMAGE_TOWER, GroundingSpec
from sam_edge_export import trace
from sam_edge_export.manifest import added
from sam_edge_export.quantize.calibrate import calibration_photos, fingerprint, measure_ranges
from sam_edge_export.quantize.encoder import recipe_for, weight_bits
from sam_edge_export.quantize.equalize import equalize
from sam_edge_export.quantize.products import products
from sam_edge_export.quantize.recipes import Ranges, candidates, quantize
from sam_edge_runtimes.cpu import machine

FEWEST_COLUMNS = 64
"""Products with fewer outputs stay float: a logit or a box's side is all that they answer."""


def write_int8(
    spec: GroundingSpec,
    bundle: Path,
    scratch: Path,
    traceable: trace.Traceable,
    engines: Sequence[str],
    allow_slow: bool,
    progress: Callable[[str], None],
) -> GroundingSpec:
    """Write an image tower for each engine, and return the manifest with them.

    Boxes and scores are for who measures the bundle; here a tower must be faster than in float32.

    Args:
        spec: the manifest so far.
        bundle: the directory being written.
        scratch: for temporary files.
        traceable: the tower.
        engines: each gets a file.
        allow_slow: do not time it.
        progress: told what is being done.

    Raises:
        SlowError: if a tower is not faster than its float32 one.
    """
    progress(f"tracing {IMAGE_TOWER}")
    graph = trace.traced(traceable, scratch)
    equalize(graph)
    float_file = scratch / "float.onnx"
    trace.save_graph(trace.copied(graph), float_file, {})
    recipes = [recipe_for(engine, "linears") for engine in engines]
    ranges: Ranges = {}
    calibration = None
    if any(recipe.calibrated for recipe in recipes):
        photos = calibration_photos(None, ())
        prepare = partial(preprocess, spec=spec.image)
        save = partial(trace.save_graph, metadata={})
        ranges = measure_ranges(graph, photos, prepare, save, scratch, progress)
        calibration = {
            "photos": "drawn scenes (dead leaves)",
            "count": len(photos),
            "sha256": fingerprint(photos),
        }
    bits = weight_bits("here")
    small = _small(graph)
    records = {}
    for recipe in recipes:
        progress(f"writing integers for {recipe.engine}")
        path = bundle / f"{IMAGE_TOWER}.{recipe.engine}.onnx"
        rounded = trace.copied(graph)
        count = quantize(rounded, recipe, ranges, small, bits)
        trace.save_graph(rounded, path, provenance(spec), "fp16")
        faster = None
        if not allow_slow:
            progress(f"timing int8 against float32 on {recipe.engine}")
            side = spec.image.size
            faster = speedup(recipe.engine, float_file, path, (1, 3, side, side))
            refuse_slow(
                recipe.engine, faster, "name other engines with --engine, or keep it: --allow-slow"
            )
        spec = added(spec, path, IMAGE_TOWER, (recipe.engine,), "int8")
        kept = [product for product in candidates(graph, recipe) if product.name in small]
        records[recipe.engine] = {
            "recipe": recipe.name,
            "products": count,
            "float": [product.name for product in kept],
            "speedup_over_fp32": None if faster is None else round(faster, 2),
        }
    return replace(
        spec,
        quantization={
            "weights": "int8, symmetric, a scale an output channel",
            "activations": "uint8, a scale and a zero point a tensor",
            "equalized": "LayerNorm channels, from their gains",
            "always_float": "attention products, norms, softmax, patches, the heads' last products",
            "weight_bits": bits,
            "calibration": calibration,
            "min_iou": None,
            "target": "here",
            "made_on": machine(),
            "engines": records,
        },
    )


def _small(graph: onnx.ModelProto) -> list[str]:
    """Return the names of products that answer few numbers."""
    columns = {tensor.name: tensor.dims[-1] for tensor in graph.graph.initializer if tensor.dims}
    return [p.name for p in products(graph) if p.linear and columns[p.weights] < FEWEST_COLUMNS]
