"""A bundle's manifest while its files are being made, whoever makes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sam_edge._version import __version__
from sam_edge.bundle import MANIFEST_NAME, manifest_text
from sam_edge.checkpoints import source_sha256
from sam_edge.files import write_text
from sam_edge.spec import BundleSpec, ImageSpec, ModelSpec, Source
from sam_edge.text import printable
from sam_edge.zoo.table import NamedModel

QUANTIZED: Mapping[str, object] = {
    "weights": "int8, symmetric, a scale an output channel",
    "activations": "uint8, a scale and a zero point a tensor",
    "equalized": "LayerNorm channels, from their gains",
    "always_float": "attention products, norms, softmax, first and last product, decoder",
}
"""What the manifest of every bundle in integers says."""


def new_spec(
    model: NamedModel,
    image_size: int,
    checkpoint: Path,
    precision: str,
    exporter: Mapping[str, str],
) -> ModelSpec:
    """Return the manifest of a bundle that has no graphs yet.

    Args:
        model: the checkpoint's row in the table.
        image_size: of the encoder's frame.
        checkpoint: the file or directory.
        precision: one of ``PRECISIONS``.
        exporter: versions of what traced the graphs, name -> version.
    """
    return ModelSpec(
        variant=model.name,
        image=ImageSpec(image_size, model.mean, model.std),
        precision=precision,
        decoder="native",
        opset=0,
        graphs=(),
        source=Source(
            printable(Path(os.path.abspath(checkpoint)).name),  # ``.`` has a name, too
            source_sha256(checkpoint),
            model.licence,
        ),
        everything=model.everything,
        exporter={"sam-edge": __version__, **exporter},
    )


def provenance(spec: BundleSpec) -> dict[str, str]:
    """Return what goes into every graph's metadata."""
    return {
        "variant": spec.variant,
        "image_size": str(spec.image.size),
        "source": spec.source.file,
        "source_sha256": spec.source.sha256,
        **{f"exporter {name}": version for name, version in spec.exporter.items()},
    }


def decoder_precision(precision: str) -> str:
    """Return how the decoder is stored in a bundle of a precision.

    It is small and its masks are what counts: its arithmetic stays float32.
    """
    return "int8-weights" if precision == "int8" else precision


def write_manifest(directory: Path, spec: ModelSpec) -> None:
    """Write a bundle's manifest."""
    write_text(directory / MANIFEST_NAME, manifest_text(spec))
