"""The gates that a bundle goes through before it gets its name: its masks, and its speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sam_edge.errors import SamEdgeError
from sam_edge.fidelity import LIMITS, MASKS_ALONE, Fidelity, Truth, compare
from sam_edge.loading import load_model
from sam_edge_runtimes import ENGINES, Session, engine_version, open_session

ROUNDS = 5


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
        candidate = load_model(bundle, runtime=engine, cache=False)
        results.append(compare(truth, candidate, engine_version(engine), progress))
    return results


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


def open_encoder(
    engine: str, path: Path, sides: tuple[int, ...], threads: int | None = None
) -> Session:
    """Open an encoder for one image at a time.

    Args:
        engine: an installed one.
        path: the graph's file.
        sides: height and width of its image.
        threads: None leaves it to the engine.
    """
    return open_session(
        engine,
        path,
        threads=threads,
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
    lines = [f"{head:<46}" + "".join(f"{result.engine:>14}" for result in results)]
    for label, name, form in rows:
        values = "".join(f"{format(getattr(result, name), form):>14}" for result in results)
        lines.append(f"  {label:<44}{values}")
    return "\n".join(lines) + "\n"
