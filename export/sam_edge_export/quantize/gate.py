"""The encoders of an int8 bundle: each goes through its gates, or nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sam_edge.fidelity import MASKS_ALONE, Fidelity, Truth
from sam_edge.gates import measure, missed, refuse_misses, refuse_slow, speedup
from sam_edge.new_bundle import QUANTIZED, provenance, write_manifest
from sam_edge.spec import IMAGE_ENCODER, ModelSpec
from sam_edge_export import trace
from sam_edge_export.manifest import added
from sam_edge_export.modules.sam import Sam
from sam_edge_export.quantize.encoder import (
    Source,
    fewest_floats,
    recipe_for,
    sensitive_first,
    source,
    weight_bits,
    write_encoder,
)
from sam_edge_export.quantize.recipes import Recipe, candidates
from sam_edge_runtimes.cpu import machine


@dataclass(frozen=True)
class Int8:
    """What is asked of an ``int8`` bundle.

    Attributes:
        recipe: a name from ``recipes.RECIPES``; None takes each engine's first.
        target: a key of ``encoder.TARGETS``: the kind of machine that it is for.
        calibration: a folder of photos; None draws scenes.
        allow_slow: do not time it against float32, keep it whatever its speed.
    """

    recipe: str | None = None
    target: str = "here"
    calibration: Path | None = None
    allow_slow: bool = False


def recipes_for(wishes: Int8, engines: Sequence[str]) -> tuple[Recipe, ...]:
    """Look up a recipe an engine, before anything takes time.

    Raises:
        SamEdgeError: if a name in ``wishes`` is unknown.
    """
    weight_bits(wishes.target)
    return tuple(recipe_for(engine, wishes.recipe) for engine in engines)


def write_int8(
    sam: Sam,
    spec: ModelSpec,
    bundle: Path,
    scratch: Path,
    wishes: Int8,
    recipes: Sequence[Recipe],
    photos: Sequence[NDArray[np.uint8]],
    truth: Truth | None,
    min_iou: float | None,
    progress: Callable[[str], None],
) -> list[Fidelity]:
    """Write an encoder for each recipe's engine, and the manifest.

    Args:
        sam: the loaded checkpoint.
        spec: the manifest so far, with the decoder.
        bundle: the directory being written.
        scratch: for temporary files.
        wishes: what was asked.
        recipes: from ``recipes_for``.
        photos: to calibrate on.
        truth: what masks are compared with; None leaves the gate out.
        min_iou: as for ``export_bundle``.
        progress: told what is being done.

    Returns:
        What was measured, one entry an engine.

    Raises:
        FidelityError: if not even float products give PyTorch's masks.
        SlowError: if an encoder is not faster than its float32 one.
    """
    described = None
    if any(recipe.calibrated for recipe in recipes):
        described = wishes.calibration.name if wishes.calibration else "drawn scenes (dead leaves)"
    progress(f"tracing {IMAGE_ENCODER}")
    graph = trace.traced(trace.encoder(sam, spec.image.frame), scratch)
    made_from = source(graph, spec, photos, described, wishes.target, scratch, progress)
    results: list[Fidelity] = []
    records = {}
    for recipe in recipes:
        path = bundle / f"{IMAGE_ENCODER}.{recipe.engine}.onnx"
        floats: Sequence[str] = ()
        if truth is not None:
            gate = _Gate(made_from, recipe, spec, bundle, path, truth, min_iou, progress)
            floats = gate.settle(scratch)
            results.append(gate.judged[len(floats)])
        else:
            write_encoder(made_from, recipe, floats, path, provenance(spec))
        faster = None
        if wishes.target == "here" and not wishes.allow_slow:
            progress(f"timing int8 against float32 on {recipe.engine}")
            faster = _speed_gate(made_from, recipe, path)
        spec = added(spec, path, IMAGE_ENCODER, (recipe.engine,), "int8")
        records[recipe.engine] = {
            "recipe": recipe.name,
            "products": len(candidates(graph, recipe)) - len(floats),
            "float": list(floats),
            "speedup_over_fp32": None if faster is None else round(faster, 2),
        }
    spec = replace(
        spec,
        quantization={
            **QUANTIZED,
            "weight_bits": made_from.bits,
            "calibration": made_from.calibration,
            "min_iou": MASKS_ALONE.mask_iou_mean if min_iou is None else min_iou,
            "target": wishes.target,
            "made_on": machine(),
            "engines": records,
        },
        fidelity=tuple(result.record() for result in results),
    )
    write_manifest(bundle, spec)
    return results


def _speed_gate(made_from: Source, recipe: Recipe, path: Path) -> float:
    faster = speedup(recipe.engine, made_from.file, path, made_from.photo.shape)
    refuse_slow(
        recipe.engine,
        faster,
        "see what is faster with: sam-edge quantize --search, name other engines with --engine, or "
        "keep it with --allow-slow",
    )
    return faster


@dataclass
class _Gate:
    """Builds an engine's encoder with some products float, and judges its masks.

    ``judged``: what was measured, by how many products were float.
    """

    made_from: Source
    recipe: Recipe
    spec: ModelSpec
    bundle: Path
    path: Path
    truth: Truth
    min_iou: float | None
    progress: Callable[[str], None]
    judged: dict[int, Fidelity] = field(default_factory=dict)

    def settle(self, scratch: Path) -> Sequence[str]:
        """Return the products that must stay float, the encoder without them being written."""
        if self.passes(()):
            return ()
        order = sensitive_first(self.made_from, self.recipe, scratch, self.progress)
        fewest = fewest_floats(order, self.passes)
        floats = order if fewest is None else fewest
        refuse_misses([self.judged[len(floats)]], self.min_iou)  # where even all of them float miss
        self._write(floats)  # the bisection's last trial may have been another one
        return floats

    def _write(self, floats: Sequence[str]) -> None:
        write_encoder(self.made_from, self.recipe, floats, self.path, provenance(self.spec))

    def passes(self, floats: Sequence[str]) -> bool:
        """Write the encoder, and compare its masks with PyTorch's."""
        engine = self.recipe.engine
        self._write(floats)
        tried = added(self.spec, self.path, IMAGE_ENCODER, (engine,), "int8")
        write_manifest(self.bundle, tried)
        (measured,) = measure(self.bundle, self.truth, [engine], self.progress)
        self.judged[len(floats)] = measured
        return not missed([measured], self.min_iou)
