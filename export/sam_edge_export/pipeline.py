"""Checkpoint -> bundle: load, trace, write whole or not at all, verify."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sam_edge.bundle import MANIFEST_NAME, read_spec
from sam_edge.checkpoints import CheckpointError
from sam_edge.errors import ArgumentError, SamEdgeError
from sam_edge.fidelity import Fidelity, truth_of
from sam_edge.gates import installed_engines, measure, measure_formats, record, refuse_misses
from sam_edge.new_bundle import write_manifest
from sam_edge.photos import photos_in
from sam_edge.spec import DECODERS, FRAMES, PRECISIONS
from sam_edge.staging import BUNDLE, SCRATCH, check_output, install, staging
from sam_edge_export import trace
from sam_edge_export.load import load_checkpoint
from sam_edge_export.manifest import blank, with_graph
from sam_edge_export.quantize.calibrate import calibration_photos
from sam_edge_export.quantize.gate import Int8, recipes_for, write_int8
from sam_edge_export.reference import reference_model


def export_bundle(
    checkpoint: Path,
    output: Path,
    *,
    variant: str = "auto",
    image_size: int | None = None,
    precision: str = "fp32",
    decoder: str = "native",
    frame: str = "square",
    verify: bool = True,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    min_iou: float | None = None,
    int8: Int8 | None = None,
    rounded: Mapping[str, Collection[str]] | None = None,
    random_weights: bool = False,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Fidelity]:
    """Export a checkpoint.

    Args:
        checkpoint: the file.
        output: the bundle's directory. Written beside it and moved there when everything passed.
        variant: a key of ``FAMILIES``, or ``auto``.
        image_size: None takes the checkpoint's own.
        precision: ``fp32``; ``fp16`` or ``int8-weights`` for weights stored in fewer bits, while
            the graphs still compute in float32; ``int8`` for an encoder whose products are
            computed in integers, a file an engine.
        decoder: one of ``DECODERS``.
        frame: one of ``FRAMES``: ``photo`` encodes what the photo covers of the square frame and no
            more. Not exact, so its masks are held to the limits of ``int8``.
        verify: compare with PyTorch. A decoder under an official contract is not measured: the
            host code that the comparison runs through speaks the native one.
        images: photos to verify on; None takes those in the box.
        engines: which to verify on, and which ``int8`` is for; None takes every installed one.
        min_iou: what the mean IoU with PyTorch's masks must reach; None is the precision's own
            limit (of photo frames: int8's), 0 accepts anything, and the manifest says so.
        int8: the rest of what ``int8`` can be asked.
        rounded: of ``int8-weights``: role -> names of the weights that are stored in 8 bits; None
            takes those that are large.
        random_weights: brand the bundle, and every picture of its masks: they mean nothing.
        force: replace a bundle that is already there.
        progress: told what is being done.

    Returns:
        What was measured, an entry an engine and format; empty without ``verify``.

    Raises:
        FidelityError: if a limit is missed; nothing is written then.
        SlowError: if ``int8`` is not faster than float32; nothing is written then.
        SamEdgeError: if the arguments do not fit together, another export to ``output`` is running,
            or something is there that is not to be replaced, be it since a moment.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if decoder not in DECODERS:
        raise ArgumentError(f"--decoder {decoder}: expected one of {', '.join(DECODERS)}")
    if frame not in FRAMES:
        raise ArgumentError(f"--frame {frame}: expected one of {', '.join(FRAMES)}")
    if frame != "square" and (decoder != "native" or (not verify and min_iou != 0)):
        raise ArgumentError(
            "--frame photo is not exact: it needs --decoder native, as the official notebook's "
            "clients pad to a square, and verification, or --min-iou 0 to do without"
        )
    if precision != "int8" and int8 not in (None, Int8()):
        raise ArgumentError(
            "--recipe, --target, --calibration and --allow-slow belong to --precision int8"
        )
    if precision == "int8" and (decoder != "native" or (not verify and min_iou != 0)):
        raise ArgumentError(
            "--precision int8 is proved by its masks: it needs --decoder native and verification, "
            "or --min-iou 0 to do without"
        )
    _check_source(checkpoint)
    calibration = int8.calibration if int8 else None
    inputs = [path for path in (checkpoint, images, calibration) if path is not None]
    place = check_output(output, inputs, force)
    chosen = list(engines or installed_engines())
    wishes = (int8 or Int8()) if precision == "int8" else None
    recipes = recipes_for(wishes, chosen) if wishes else ()
    judged_on = photos_in(images) if verify and decoder == "native" else []
    photos = calibration_photos(wishes.calibration, judged_on) if wishes else []
    with staging(place) as work:
        partial, scratch = work / BUNDLE, work / SCRATCH
        partial.mkdir()
        scratch.mkdir()
        progress(f"reading {checkpoint.name}")
        sam, notes = load_checkpoint(checkpoint, variant, image_size)
        spec = blank(sam, checkpoint, precision, decoder)
        spec = replace(
            spec,
            image=replace(spec.image, frame=frame),
            source=replace(spec.source, random=random_weights),
            notes=tuple(notes),
        )
        spec = with_graph(spec, partial, trace.decoder(sam, decoder), progress, rounded)
        if wishes is None:
            spec = with_graph(spec, partial, trace.encoder(sam, frame), progress, rounded)
            write_manifest(partial, spec)
        truth = None
        if judged_on:
            truth = truth_of(reference_model(sam, spec), judged_on, spec, progress)
        results: list[Fidelity] = []
        if wishes is not None:
            results = write_int8(
                sam, spec, partial, scratch, wishes, recipes, photos, truth, min_iou, progress
            )
        elif truth is not None:
            results = measure(partial, truth, chosen, progress)
            refuse_misses(results, min_iou)
        if truth is not None:
            results += measure_formats(partial, truth, chosen, progress)
            record(partial, read_spec(partial), results)
        install(work, place, force)
    return results


def _check_source(checkpoint: Path) -> None:
    """Refuse what is not there, and a bundle: what was rounded once would be rounded twice."""
    if not checkpoint.exists():
        raise CheckpointError(f"{checkpoint}: there is no such file")
    if (checkpoint / MANIFEST_NAME).is_file():
        spec = read_spec(checkpoint)
        raise SamEdgeError(
            f"{checkpoint} is a bundle already, {spec.precision}; name the checkpoint that it was "
            f"made from, {spec.source.file}"
        )
