"""Checkpoint -> bundle with numpy alone: templates filled, compared with float32, moved in place.

A float32 bundle holds the exporter's own graphs, proved equal to the byte when the templates were
made; it is compared with nothing here. Every other one is held to the masks of the float32 bundle
on the same engine, and integers to its speed, too.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sam_edge.checkpoints import Weights, open_checkpoint, weights_of
from sam_edge.errors import ArgumentError, MissingDependencyError, SamEdgeError
from sam_edge.fidelity import MASKS_ALONE, Fidelity, truth_of
from sam_edge.filling.graph import fill
from sam_edge.filling.template import Template, select, templates, weights_needed
from sam_edge.gates import (
    ON_SAME_ENGINE,
    FidelityError,
    SlowError,
    installed_engines,
    measure,
    measure_formats,
    refuse_misses,
    refuse_slow,
    speedup,
)
from sam_edge.loading import open_model
from sam_edge.new_bundle import (
    QUANTIZED,
    decoder_precision,
    new_spec,
    provenance,
    write_manifest,
)
from sam_edge.photos import photos_in
from sam_edge.spec import IMAGE_ENCODER, PRECISIONS, PROMPT_ENCODER_MASK_DECODER, ModelSpec
from sam_edge.staging import BUNDLE, SCRATCH, check_output, install, staging
from sam_edge.zoo.table import named_models
from sam_edge_runtimes.cpu import machine, saturates_here

logger = logging.getLogger("sam_edge")

NOTE = "filled from the exporter's graphs without PyTorch"

Progress = Callable[[str], None]


def fill_bundle(
    checkpoint: Path,
    output: Path,
    *,
    variant: str = "auto",
    image_size: int | None = None,
    precision: str = "fp32",
    verify: bool = True,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    min_iou: float | None = None,
    allow_slow: bool = False,
    random_weights: bool = False,
    force: bool = False,
    progress: Progress = lambda _: None,
) -> list[Fidelity]:
    """Make a bundle of a checkpoint, without torch.

    Args:
        checkpoint: as for ``sam_edge.checkpoints.open_checkpoint``, as are the next two.
        output: the bundle's directory. Written beside it and moved there when everything passed.
        variant: a name in the table of models, or ``auto``.
        image_size: one that there are templates for; None takes the checkpoint's own.
        precision: one of ``PRECISIONS``.
        verify: compare what is not float32 with float32, on the same engine.
        images: photos to compare on; None takes those in the box.
        engines: which to compare on; None takes every installed one.
        min_iou: what the mean IoU with float32's masks must reach; None is the precision's own
            limit, 0 accepts anything, and the manifest says so.
        allow_slow: keep integers that are slower than float32.
        random_weights: brand the bundle, and every picture of its masks: they mean nothing.
        force: replace a bundle that is already there.
        progress: told what is being done.

    Returns:
        What was measured, one entry an engine; empty for float32.

    Raises:
        CheckpointError: if the checkpoint is not what it should be.
        FidelityError: if a limit is missed; nothing is written then.
        SlowError: if integers are not faster than float32; nothing is written then.
        SamEdgeError: if there is no template, the disk is too full, or ``output`` holds what is not
            to be replaced.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if precision == "int8" and not verify and min_iou != 0:
        raise ArgumentError(
            "--precision int8 is proved by its masks: it needs verification, or --min-iou 0 to do "
            "without"
        )
    found = open_checkpoint(checkpoint, variant, image_size)
    place = check_output(output, [path for path in (checkpoint, images) if path is not None], force)
    known = templates(found.variant, found.image_size)
    judged_on = photos_in(images) if verify and precision != "fp32" else []
    chosen = _engines(known, precision, engines, needed=bool(judged_on))
    weights = weights_of(found, weights_needed(known))
    spec = new_spec(
        named_models()[found.variant], found.image_size, checkpoint, precision, known[0].exporter
    )
    spec = replace(
        spec,
        opset=known[0].opset,
        source=replace(spec.source, random=random_weights),
        notes=(*found.notes, NOTE),
    )
    oven = _Oven(known, weights, progress)
    _check_disk(place, oven, precision, chosen, with_float=bool(judged_on))
    with staging(place) as work:
        bundle, floats = work / BUNDLE, work / SCRATCH
        bundle.mkdir()
        spec = oven.bake(bundle, spec, chosen)
        gates = _Gates(bundle, floats, spec, judged_on, min_iou, allow_slow, progress)
        if judged_on:
            floats.mkdir()
            oven.bake(floats, replace(spec, precision="fp32"), chosen)
            chosen = gates.passing(chosen, insist=engines is not None or precision != "int8")
        if precision == "int8":
            quantization = _quantization(oven, chosen, gates.speeds, min_iou)
            spec = _without(replace(spec, quantization=quantization), bundle, chosen)
        results = [found for engine in chosen for found in gates.measured.get(engine, ())]
        spec = replace(spec, fidelity=tuple(result.record() for result in results))
        write_manifest(bundle, spec)
        install(work, place, force)
    return results


@dataclass
class _Oven:
    """Fills the templates of one checkpoint."""

    known: Sequence[Template]
    weights: Weights
    progress: Progress
    bits: int = field(default_factory=lambda: 7 if saturates_here() else 8)

    def chosen(self, precision: str, engines: Sequence[str]) -> list[Template]:
        """Return the templates of a bundle: the decoder's, then the encoders'."""
        stored = decoder_precision(precision)
        decoder = select(self.known, PROMPT_ENCODER_MASK_DECODER, stored)
        own = engines if precision == "int8" else (None,)
        encoders = [select(self.known, IMAGE_ENCODER, precision, engine) for engine in own]
        return [decoder, *encoders]

    def bake(self, directory: Path, spec: ModelSpec, engines: Sequence[str]) -> ModelSpec:
        """Write a bundle; return its manifest, which is written, too."""
        graphs = []
        for template in self.chosen(spec.precision, engines):
            name = ".".join((template.role, *template.engines, "onnx"))
            what = f"filling {template.role} in {template.precision}"
            graph = fill(
                template,
                self.weights,
                directory / name,
                provenance(spec),
                bits=self.bits,
                tick=_Ticker(what, template.size, self.progress).add,
            )
            graphs.append(graph)
        spec = replace(spec, graphs=tuple(graphs))
        write_manifest(directory, spec)
        return spec


@dataclass
class _Ticker:
    """Says how much of a file is written, at every hundredth."""

    what: str
    total: int
    progress: Progress
    done: int = 0
    said: int = -1

    def add(self, size: int) -> None:
        self.done += size
        percent = 100 * self.done // max(self.total, 1)
        if percent > self.said:
            self.said = percent
            self.progress(f"{self.what}: {percent} %")


def _engines(
    known: Sequence[Template], precision: str, engines: Sequence[str] | None, *, needed: bool
) -> list[str]:
    """Return the engines that a bundle is for and compared on.

    Raises:
        SamEdgeError: if none is installed that is needed, or has no template of its own.
    """
    chosen = list(engines or installed_engines())
    if precision != "int8":
        if needed and not chosen:
            raise MissingDependencyError(
                "there is no engine to compare on; run: pip install 'sam-edge[cpu]'"
            )
        return chosen
    own = {engine for template in known for engine in template.engines}
    fitting = [engine for engine in chosen if engine in own]
    if not fitting or (engines and len(fitting) < len(chosen)):
        raise SamEdgeError(
            f"int8 for {' and '.join(e for e in chosen if e not in own) or 'an engine'} needs "
            "calibration, which the exporter does; run: pip install 'sam-edge[export]', or "
            f"take int8 for {', '.join(sorted(own))} or fp32"
        )
    return fitting


def _check_disk(
    place: Path, oven: _Oven, precision: str, engines: Sequence[str], *, with_float: bool
) -> None:
    """Say how much disk is needed, before anything is written.

    Raises:
        SamEdgeError: if there is less.
    """
    needed = sum(template.size for template in oven.chosen(precision, engines))
    if with_float:
        needed += sum(template.size for template in oven.chosen("fp32", engines))
    oven.progress(f"needs {needed / 1e6:,.0f} MB of disk")
    folder = next(parent for parent in (place, *place.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SamEdgeError(
            f"{place} needs {needed / 1e6:,.0f} MB of disk while it is made, and {folder} has "
            f"{free / 1e6:,.0f} MB; make room, or name another place"
        )


@dataclass
class _Gates:
    """Compares a bundle with its float32 one, an engine at a time.

    ``measured`` and ``speeds``: what came of it, by engine.
    """

    bundle: Path
    floats: Path
    spec: ModelSpec
    photos: Sequence[Path]
    min_iou: float | None
    allow_slow: bool
    progress: Progress
    measured: dict[str, list[Fidelity]] = field(default_factory=dict)
    speeds: dict[str, float] = field(default_factory=dict)

    def passing(self, engines: Sequence[str], *, insist: bool) -> list[str]:
        """Return the engines that pass; all of them, if they are insisted on.

        Raises:
            FidelityError: if an engine that is insisted on, or every one, gives other masks.
            SlowError: the same of its speed.
        """
        passed: list[str] = []
        for engine in engines:
            try:
                self._try(engine)
            except (FidelityError, SlowError) as error:
                if insist or (engine == engines[-1] and not passed):
                    raise
                reason = str(error).partition("; nothing was written")[0]
                logger.warning("%s is left out: %s", engine, reason)
            else:
                passed.append(engine)
        return passed

    def _try(self, engine: str) -> None:
        model = open_model(self.floats, engine, cache=False)
        truth = truth_of(model, self.photos, self.spec, self.progress, ON_SAME_ENGINE)
        exact = measure(self.bundle, truth, [engine], self.progress)
        refuse_misses(exact, self.min_iou)
        if self.spec.precision == "int8" and not self.allow_slow:
            self.progress(f"timing int8 against float32 on {engine}")
            size = self.spec.image_size
            float_graph = self.floats / f"{IMAGE_ENCODER}.onnx"
            graph = self.bundle / self.spec.graph(IMAGE_ENCODER, engine).file
            faster = speedup(engine, float_graph, graph, (1, 3, size, size))
            refuse_slow(engine, faster, "take --precision fp32, or fp16 for half the disk")
            self.speeds[engine] = round(faster, 2)
        reduced = measure_formats(self.bundle, truth, [engine], self.progress)
        self.measured[engine] = [*exact, *reduced]


def _without(spec: ModelSpec, bundle: Path, engines: Sequence[str]) -> ModelSpec:
    """Remove the encoders of engines that are left out."""
    kept = [graph for graph in spec.graphs if not graph.engines or graph.engines[0] in engines]
    for graph in spec.graphs:
        if graph not in kept:
            (bundle / graph.file).unlink()
    return replace(spec, graphs=tuple(kept))


def _quantization(
    oven: _Oven, engines: Sequence[str], speeds: dict[str, float], min_iou: float | None
) -> dict[str, Any]:
    return {
        **QUANTIZED,
        "weight_bits": oven.bits,
        "calibration": None,
        "min_iou": MASKS_ALONE.mask_iou_mean if min_iou is None else min_iou,
        "target": "here",
        "made_on": machine(),
        "engines": {
            engine: {
                **(select(oven.known, IMAGE_ENCODER, "int8", engine).quantization or {}),
                "speedup_over_fp32": speeds.get(engine),
            }
            for engine in engines
        },
    }
