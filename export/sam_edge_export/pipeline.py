"""Checkpoint -> bundle: load, trace, write whole or not at all, verify."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxslim
import torch

from sam_edge import __version__
from sam_edge.errors import SamEdgeError
from sam_edge.spec import (
    DECODERS,
    IMAGE_ENCODER,
    MANIFEST_NAME,
    PRECISIONS,
    GraphFile,
    ModelSpec,
    Source,
    manifest_text,
    sha256_file,
)
from sam_edge_export import trace
from sam_edge_export.checkpoints import load_checkpoint, source_sha256
from sam_edge_export.fidelity import LIMITS, Fidelity
from sam_edge_export.modules.sam import PIXEL_MEAN, PIXEL_STD, VARIANTS, Sam
from sam_edge_export.quantize import speedup
from sam_edge_export.verify import FidelityError, measure, missed, photos_in

INT8_ENGINE = "onnxruntime"  # the one whose kernels the integer graph is written for


class SlowError(SamEdgeError):
    """An 8-bit graph that is not faster than float32."""


def export_bundle(
    checkpoint: Path,
    output: Path,
    *,
    variant: str = "auto",
    image_size: int | None = None,
    precision: str = "fp32",
    decoder: str = "native",
    verify: bool = True,
    images: Path | None = None,
    engines: Sequence[str] | None = None,
    min_iou: float | None = None,
    allow_slow: bool = False,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Fidelity]:
    """Export a checkpoint.

    Args:
        checkpoint: the file.
        output: the bundle's directory. Written beside it and renamed when everything passed.
        variant: a key of ``VARIANTS``, or ``auto``.
        image_size: None takes the checkpoint's own.
        precision: ``fp32``, or ``fp16`` for weights stored in half precision (the graphs still
            compute in float32), or ``int8`` for linear layers in integers; that encoder is for
            ONNX Runtime only.
        decoder: one of ``DECODERS``.
        verify: compare with PyTorch. A decoder under an official contract is not measured: the
            host code that the comparison runs through speaks the native one.
        images: photos to verify on; None takes those in the box.
        engines: which to verify on; None takes every installed one.
        min_iou: what the mean IoU with PyTorch's masks must reach; None is the precision's own
            limit, 0 accepts anything, and the manifest says so.
        allow_slow: keep an ``int8`` encoder that is not faster than float32 here.
        force: replace a bundle that is already there.
        progress: told what is being done.

    Returns:
        What was measured, one entry an engine; empty without ``verify``.

    Raises:
        FidelityError: if a limit is missed; nothing is written then.
        SlowError: if ``int8`` is not faster than float32; nothing is written then.
        SamEdgeError: if the arguments do not fit together.
    """
    if precision not in PRECISIONS:
        raise SamEdgeError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if decoder not in DECODERS:
        raise SamEdgeError(f"--decoder {decoder}: expected one of {', '.join(DECODERS)}")
    if precision == "int8" and (decoder != "native" or (not verify and min_iou != 0)):
        raise SamEdgeError(
            "--precision int8 is proved by its masks: it needs --decoder native and verification, "
            "or --min-iou 0 to do without"
        )
    if precision == "int8" and engines is not None and tuple(engines) != (INT8_ENGINE,):
        raise SamEdgeError(
            f"--precision int8 is for {INT8_ENGINE}; leave --engine out, or take fp16 for another"
        )
    _check_output(output, force)
    progress(f"reading {checkpoint.name}")
    sam, notes = load_checkpoint(checkpoint, variant, image_size)
    digest = source_sha256(checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as name:
        partial = Path(name) / "bundle"
        partial.mkdir()
        spec = _write(sam, partial, checkpoint.name, digest, precision, decoder, progress)
        if precision == "int8":
            spec = replace(
                spec,
                quantization=_quantization(sam, partial, spec, min_iou, allow_slow, progress),
            )
        spec = replace(spec, notes=tuple(notes + _notes(checkpoint)))
        (partial / MANIFEST_NAME).write_text(manifest_text(spec), encoding="utf-8")
        results: list[Fidelity] = []
        if verify and decoder == "native":
            results = measure(partial, spec, sam, photos_in(images), engines, progress)
            failures = missed(results, min_iou)
            if failures:
                raise FidelityError(
                    f"the bundle does not give PyTorch's masks ({'; '.join(failures)}); "
                    "nothing was written"
                )
        if output.exists():
            # Two renames: at no moment is there half a bundle under the final name.
            os.rename(output, Path(name) / "previous")
        os.rename(partial, output)
    return results


def _check_output(output: Path, force: bool) -> None:
    """Refuse to replace what is not a bundle, and a bundle unless told to."""
    if not output.exists():
        return
    if not (output / MANIFEST_NAME).is_file():
        raise SamEdgeError(f"{output} exists and is not a bundle; name another -o")
    if not force:
        raise SamEdgeError(f"{output} exists; replace it with --force, or name another -o")


def _write(
    sam: Sam,
    directory: Path,
    source: str,
    digest: str,
    precision: str,
    decoder: str,
    progress: Callable[[str], None],
) -> ModelSpec:
    exporter = {
        "sam-edge": __version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxslim": onnxslim.__version__,
    }
    metadata = {
        "variant": sam.variant,
        "image_size": str(sam.image_size),
        "source": source,
        "source_sha256": digest,
        **{f"exporter {name}": version for name, version in exporter.items()},
    }
    graphs = []
    for traceable in (trace.encoder(sam), trace.decoder(sam, decoder)):
        progress(f"tracing {traceable.role}")
        path = directory / f"{traceable.role}.onnx"
        # The decoder is small and its masks are what counts: its arithmetic stays float32.
        integers = precision == "int8" and traceable.role == IMAGE_ENCODER
        stored = "fp16" if precision == "int8" and not integers else precision
        external = trace.write_graph(traceable, path, metadata, precision=stored)
        inputs, outputs = trace.tensor_infos(path)
        graphs.append(
            GraphFile(
                role=traceable.role,
                file=path.name,
                engines=(INT8_ENGINE,) if integers else (),
                precision=stored,
                sha256=sha256_file(path),
                size_bytes=path.stat().st_size,
                external_data={name: sha256_file(directory / name) for name in external},
                inputs=inputs,
                outputs=outputs,
            )
        )
    return ModelSpec(
        variant=sam.variant,
        image_size=sam.image_size,
        pixel_mean=PIXEL_MEAN,
        pixel_std=PIXEL_STD,
        mask_threshold=0.0,
        precision=precision,
        decoder=decoder,
        opset=trace.OPSET,
        graphs=tuple(graphs),
        source=Source(source, digest, VARIANTS[sam.variant].licence),
        exporter=exporter,
    )


def _quantization(
    sam: Sam,
    directory: Path,
    spec: ModelSpec,
    min_iou: float | None,
    allow_slow: bool,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Hold the integer encoder against its float32 graph, and describe it for the manifest."""
    progress("timing int8 against float32")
    with tempfile.TemporaryDirectory(dir=directory.parent) as name:
        float_graph = Path(name) / "float.onnx"
        trace.write_graph(trace.encoder(sam), float_graph, {}, precision="fp32")
        graph = directory / spec.graph(IMAGE_ENCODER, INT8_ENGINE).file
        shape = (1, 3, spec.image_size, spec.image_size)
        faster = speedup(INT8_ENGINE, float_graph, graph, shape)
    if faster <= 1 and not allow_slow:
        raise SlowError(
            f"int8 takes {1 / faster:.2f} times as long as float32 here, on {INT8_ENGINE}; nothing "
            "was written; take --precision fp16, or keep it with --allow-slow"
        )
    return {
        "recipe": "dynamic-linears",
        "weights": "int8, symmetric, a scale a column; LayerNorm channels equalized",
        "activations": "uint8, a scale and a zero point a tensor, measured at run time",
        "float": "attention products, convolutions, norms, softmax, the decoder",
        "calibration": None,
        "min_iou": LIMITS["int8"].mask_iou_mean if min_iou is None else min_iou,
        "measured_on": platform.machine(),
        "speedup_over_fp32": {INT8_ENGINE: round(faster, 2)},
    }


def _notes(checkpoint: Path) -> list[str]:
    """Warn, for good, of weights that mean nothing."""
    if checkpoint.name.startswith("seeded"):
        return ["random weights: its masks mean nothing"]
    return []
