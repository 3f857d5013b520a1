"""Prove that a bundle gives PyTorch's masks, and write what was measured into its manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from sam_edge.bundle import MANIFEST_NAME, manifest_text, read_spec
from sam_edge.checkpoints import source_sha256
from sam_edge.errors import MissingDependencyError, SamEdgeError
from sam_edge.fidelity import LIMITS, MASKS_ALONE, Fidelity, Truth, compare, truth_of
from sam_edge.files import write_text
from sam_edge.loading import load_model
from sam_edge.photos import photos_in
from sam_edge.spec import ModelSpec
from sam_edge_export.load import load_checkpoint
from sam_edge_export.reference import reference_model
from sam_edge_runtimes import ENGINES, engine_version


class FidelityError(SamEdgeError, ValueError):
    """A bundle that does not give PyTorch's masks."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of verifying a bundle.

    Attributes:
        spec: the bundle's manifest as it was.
        results: one an engine that could be measured.
        failed: the error of each engine that could not.
    """

    spec: ModelSpec
    results: tuple[Fidelity, ...]
    failed: Mapping[str, Exception]


def verify_bundle(
    bundle: Path,
    checkpoint: Path,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Measure a bundle against its checkpoint; ``record`` writes it into the manifest.

    Args:
        bundle: the directory.
        checkpoint: the file that it was exported from.
        images: a folder of photos; None takes those in the box.
        engines: None takes every installed one.
        progress: told what is being done.

    Returns:
        What was measured, and which engines could not be.

    Raises:
        FidelityError: if the checkpoint is not the bundle's.
        SamEdgeError: if no photo can be read, or what the only engine says.
    """
    spec = read_spec(bundle)
    digest = source_sha256(checkpoint)
    if digest != spec.source.sha256:
        raise FidelityError(
            f"{checkpoint} has sha256 {digest[:12]}..., the bundle was exported from "
            f"{spec.source.file} with {spec.source.sha256[:12]}...; name that file"
        )
    if spec.decoder != "native":
        raise FidelityError(
            f"a bundle with the {spec.decoder} decoder is for the official notebook's clients; "
            "verify the same checkpoint with --decoder native"
        )
    chosen = engines or [engine for engine in installed_engines() if spec.runs_on(engine)]
    if not chosen:
        raise MissingDependencyError(
            "no engine to verify on; run: pip install 'sam-edge[cpu,openvino]'"
        )
    photos = photos_in(images)
    sam, _ = load_checkpoint(checkpoint, spec.variant, spec.image_size)
    truth = truth_of(reference_model(sam, spec), photos, spec, progress)
    results: list[Fidelity] = []
    failed: dict[str, Exception] = {}
    for engine in chosen:
        try:
            results += measure(bundle, truth, [engine], progress)
        except (SamEdgeError, OSError, MemoryError) as error:
            if len(chosen) == 1:
                raise
            failed[engine] = error
    return Verification(spec, tuple(results), failed)


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


def record(bundle: Path, spec: ModelSpec, results: Sequence[Fidelity]) -> None:
    """Write what was measured into a bundle's manifest, in place of what it said of these engines.

    Raises:
        OSError: if it cannot be written.
    """
    measured = {result.engine for result in results}
    kept = [entry for entry in spec.fidelity if entry["engine"] not in measured]
    updated = replace(spec, fidelity=(*kept, *(result.record() for result in results)))
    write_text(bundle / MANIFEST_NAME, manifest_text(updated))


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
            f"the bundle does not give PyTorch's masks ({'; '.join(failures)}); nothing was written"
            f"{step}"
        )


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
    head = f"against float32 PyTorch: {first.photos} photos, {first.prompts} prompts"
    lines = [f"{head:<46}" + "".join(f"{result.engine:>14}" for result in results)]
    for label, name, form in rows:
        values = "".join(f"{format(getattr(result, name), form):>14}" for result in results)
        lines.append(f"  {label:<44}{values}")
    return "\n".join(lines) + "\n"
