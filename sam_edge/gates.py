"""The gates that a bundle goes through before it gets its name: its masks, and its speed."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from sam_edge.bundle import MANIFEST_NAME, manifest_text, read_spec
from sam_edge.compute import Compute, format_name
from sam_edge.errors import SamEdgeError
from sam_edge.fidelity import LIMITS, MASKS_ALONE, Fidelity, Truth, compare, truth_of
from sam_edge.files import write_text
from sam_edge.loading import open_model
from sam_edge.spec import IMAGE_ENCODER, BundleSpec, ModelSpec
from sam_edge_runtimes import (
    ENGINES,
    FLOAT32,
    EngineError,
    Session,
    engine_version,
    formats_of,
    open_session,
)

logger = logging.getLogger("sam_edge")

ROUNDS = 5

ON_SAME_ENGINE = "float32 on the same engine"
"""What is compared with where there is no torch."""


class Measured(Protocol):
    """What was measured of a bundle on an engine, of whatever kind it is."""

    @property
    def engine(self) -> str:
        """The engine's name."""
        ...

    @property
    def compute(self) -> Mapping[str, str]:
        """The format that each graph computed in, by role."""
        ...

    def record(self) -> dict[str, Any]:
        """Return the manifest's entry."""
        ...


Measurement = TypeVar("Measurement", bound=Measured)


class FidelityError(SamEdgeError, ValueError):
    """A bundle that does not give the masks of what it is compared with."""


class SlowError(SamEdgeError):
    """An 8-bit graph that is not faster than float32."""


def refuse_slow(engine: str, faster: float, step: str) -> None:
    """Stop a bundle whose integers are not faster than float32.

    Args:
        engine: that was measured.
        faster: as ``speedup`` returns it.
        step: what to do then.

    Raises:
        SlowError: naming the engine.
    """
    if faster <= 1:
        raise SlowError(
            f"int8 takes {1 / faster:.2f} times as long as float32 here, on {engine}; "
            f"nothing was written; {step}"
        )


def installed_engines() -> list[str]:
    """Return the engines that are installed, in their order of preference."""
    return [engine for engine in ENGINES if find_spec(engine) is not None]


def measure(
    bundle: Path,
    truth: Truth,
    engines: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> list[Fidelity]:
    """Measure a bundle on engines, all of which must run it; see ``verify_bundle``."""
    results = []
    for engine in engines:
        progress(f"opening {engine}")
        candidate = open_model(bundle, engine, cache=False)
        results.append(compare(truth, candidate, engine_version(engine), progress))
    return results


def measure_formats(
    bundle: Path,
    truth: Truth,
    engines: Sequence[str],
    progress: Callable[[str], None] = lambda _: None,
) -> list[Fidelity]:
    """Measure a bundle in every reduced format that engines have on this processor.

    Where the masks miss the gate with all graphs in it, the encoder is tried alone: its products
    are most of the work, the decoder's the last before the masks.

    Returns:
        An entry a format and engine. What misses the gate even so is an entry, too: ``auto`` then
        leaves that format alone, and who asks for it is told.
    """

    def measured(engine: str, compute: Compute) -> Fidelity:
        candidate = open_model(bundle, engine, compute, cache=False)
        return compare(truth, candidate, engine_version(engine), progress)

    everywhere = [*dict.fromkeys(graph.role for graph in read_spec(bundle).graphs)]
    tries = (everywhere, [IMAGE_ENCODER])
    return in_each_format(tries, engines, measured, MASKS_ALONE.missed, progress)


def in_each_format(
    tries: Sequence[Sequence[str]],
    engines: Sequence[str],
    measured: Callable[[str, Compute], Measurement],
    missed: Callable[[Measurement], list[str]],
    progress: Callable[[str], None],
) -> list[Measurement]:
    """Measure each reduced format that engines have on this processor; see ``measure_formats``.

    Args:
        tries: the roles that are computed in the format, and then which instead where it misses
            the gate so.
        engines: that run it.
        measured: measures the bundle on an engine, in formats.
        missed: says what a measurement misses of the gate for fewer bits.
        progress: told what is being done.

    Returns:
        An entry a format and engine; what an engine refuses is left out, with a line in the log.
    """
    results = []
    for engine in engines:
        for name in formats_of(engine)[1:]:
            progress(f"opening {engine} in {name}")
            try:
                for roles in tries:
                    formats = {role: name if role in roles else FLOAT32 for role in tries[0]}
                    result = measured(engine, Compute(formats, "to be measured"))
                    if not missed(result):
                        break
            except EngineError as error:  # not for this graph
                logger.warning("%s in %s is left out: %s", engine, name, error)
                continue
            results.append(result)
    return results


def formats_against_float32(
    bundle: Path,
    photos: Sequence[Path],
    engines: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Fidelity]:
    """Measure a bundle's reduced formats against its own float32, which needs no torch.

    Args:
        bundle: the directory.
        photos: the files.
        engines: None takes every installed one.
        progress: told what is being done.

    Raises:
        EngineError: if none of the engines has another format on this processor.
        SamEdgeError: if no photo can be read.
    """
    spec = read_spec(bundle)
    results = []
    for engine in able_engines(spec, engines):
        model = open_model(bundle, engine, cache=False)
        truth = truth_of(model, photos, spec, progress, ON_SAME_ENGINE)
        results += measure_formats(bundle, truth, [engine], progress)
    return results


def engines_of(spec: BundleSpec, engines: Sequence[str] | None) -> Sequence[str]:
    """Return the engines that were named, or else those installed that run the bundle."""
    return engines or [engine for engine in installed_engines() if spec.runs_on(engine)]


def able_engines(spec: BundleSpec, engines: Sequence[str] | None) -> list[str]:
    """Return which engines compute in more than float32 on this processor.

    Args:
        spec: of the bundle that they are to run.
        engines: among these; None takes every installed one.

    Raises:
        EngineError: if there is none.
    """
    chosen = engines_of(spec, engines)
    able = [engine for engine in chosen if len(formats_of(engine)) > 1]
    if not able:
        raise EngineError(
            f"{' and '.join(chosen) or 'no engine'} computes in nothing but float32 on this CPU; "
            "to compare that with PyTorch, name --checkpoint"
        )
    return able


def missed(results: Sequence[Fidelity], min_iou: float | None = None) -> list[str]:
    """Say which limits are missed, by engine; ``min_iou`` replaces that of the masks' mean."""
    found = []
    for result in results:
        limits = LIMITS[result.precision] if result.frame == "square" else MASKS_ALONE
        if min_iou is not None:
            lower = min(min_iou, limits.mask_iou_p05)
            limits = replace(limits, mask_iou_mean=min_iou, mask_iou_p05=lower)
        found += [f"{result.engine}: {line}" for line in limits.missed(result)]
    return found


def refused_formats(
    results: Sequence[Measurement], missed: Callable[[Measurement], list[str]]
) -> list[str]:
    """Say which reduced formats ``auto`` leaves alone.

    Args:
        results: of a bundle.
        missed: says what a measurement misses of the gate for fewer bits.
    """
    return [
        f"--compute auto will not take {format_name(result.compute)} on {result.engine}: {line}"
        for result in results
        if format_name(result.compute) != FLOAT32
        for line in missed(result)
    ]


def refuse_misses(results: Sequence[Fidelity], min_iou: float | None = None) -> None:
    """Stop an export whose measurements miss a limit.

    Raises:
        FidelityError: naming engines and limits.
    """
    failures = missed(results, min_iou)
    if failures:
        photo = results[0].frame == "photo"
        step = "; leave --frame photo out, or allow less with --min-iou" if photo else ""
        raise FidelityError(
            f"the bundle does not give the masks of {results[0].reference} "
            f"({'; '.join(failures)}); nothing was written{step}"
        )


def record(bundle: Path, spec: ModelSpec, results: Sequence[Fidelity]) -> None:
    """Write what was measured into a bundle's manifest, in place of what it said of the same.

    Raises:
        OSError: if it cannot be written.
    """
    updated = replace(spec, fidelity=updated_fidelity(spec, results))
    write_text(bundle / MANIFEST_NAME, manifest_text(updated))


def updated_fidelity(
    spec: BundleSpec, results: Sequence[Measured]
) -> tuple[Mapping[str, Any], ...]:
    """Return a manifest's entries with what was measured in place of what it said of the same."""
    measured = {(result.engine, format_name(result.compute)) for result in results}
    kept = [
        entry
        for entry in spec.fidelity
        if (entry["engine"], format_name(entry.get("compute", {}))) not in measured
    ]
    return (*kept, *(result.record() for result in results))


def open_encoder(
    engine: str,
    path: Path,
    sides: tuple[int, ...],
    threads: int | None = None,
    compute: str = FLOAT32,
) -> Session:
    """Open an encoder for one image at a time.

    Args:
        engine: an installed one.
        path: the graph's file.
        sides: height and width of its image.
        threads: None leaves it to the engine.
        compute: the format of its products.
    """
    return open_session(
        engine,
        path,
        threads=threads,
        compute=compute,
        input_shapes={"image": ("batch", 3, "height", "width")},
        fixed={"batch": 1, **dict(zip(("height", "width"), sides, strict=True))},
        pack_weights=False,
    )


def speedup(engine: str, float_graph: Path, graph: Path, shape: tuple[int, ...]) -> float:
    """Measure how much faster a graph is than its float32 one, here and now.

    Args:
        engine: an installed one.
        float_graph: the float32 encoder.
        graph: the same in fewer bits.
        shape: of ``image``.

    Returns:
        The ratio of the medians of runs taken in turn, after one to warm up.
    """
    image = np.random.default_rng(0).standard_normal(shape, np.float32)
    sessions = [open_encoder(engine, path, image.shape[2:]) for path in (float_graph, graph)]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for session, taken in zip(sessions, times, strict=True):
            began = time.perf_counter()
            session.run({"image": image})
            if turn:
                taken.append(time.perf_counter() - began)
    return statistics.median(times[0]) / statistics.median(times[1])


def table(results: Sequence[Fidelity]) -> str:
    """Return the measurements as a text table."""
    rows = [
        ("embedding relative L2", "embedding_rel_l2", ".2e"),
        ("logits relative L2", "logits_rel_l2", ".2e"),
        ("equal mask pixels", "equal_pixels", ".6f"),
        ("mask IoU, mean", "mask_iou_mean", ".6f"),
        ("mask IoU, 5th percentile", "mask_iou_p05", ".6f"),
        ("score, largest error", "score_max_error", ".2e"),
    ]
    first = results[0]
    head = f"against {first.reference}: {first.photos} photos, {first.prompts} prompts"
    lines = [f"{head:<46}" + "".join(f"{result.name:>15}" for result in results)]
    for label, name, form in rows:
        values = "".join(f"{format(getattr(result, name), form):>15}" for result in results)
        lines.append(f"  {label:<44}{values}")
    return "\n".join(lines) + "\n"
