"""The official registry of models, without torch: a key and a checkpoint become an open model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from sam_edge.bundle import read_spec
from sam_edge.errors import ArgumentError, SamEdgeError
from sam_edge.loading import load_model
from sam_edge.model import Model
from sam_edge.spec import PRECISIONS
from sam_edge.text import printable, shown
from sam_edge.without_torch import DEVICE, WithoutTorch
from sam_edge.zoo.cache import bundle_of, kept_bundle
from sam_edge.zoo.table import named_models
from sam_edge_runtimes.graph_file import sha256_file

logger = logging.getLogger("sam_edge")

_OFFICIAL_DECODER = (
    "the exporter makes ONNX decoders: sam-edge export CHECKPOINT -o BUNDLE --decoder official"
)
_WEIGHTS = "weights lie in the bundle; train in torch, then name the checkpoint's file here"
_PHOTO_BY_PHOTO = "SamPredictor.set_image and predict_batch take photo by photo"


class Sam(WithoutTorch, Model):
    """A ``Model`` with what scripts ask of the official ``Sam``.

    Source: ``segment_anything/modeling/sam.py``.
    """

    device: ClassVar[str] = DEVICE
    image_format: ClassVar[str] = "RGB"
    instead: ClassVar[dict[str, str]] = {
        "cuda": "everything runs on the CPU: leave .cuda() out",
        "forward": _PHOTO_BY_PHOTO,
        "image_encoder": "encode_image(photo) encodes, and spec.image_size is its img_size",
        "load_state_dict": _WEIGHTS,
        "mask_decoder": _OFFICIAL_DECODER,
        "parameters": _WEIGHTS,
        "postprocess_masks": "sam_edge.masks.upsample has upsample_masks and upsample_logits",
        "preprocess": "encode_image(photo) resizes, normalises and pads by itself",
        "prompt_encoder": _OFFICIAL_DECODER,
        "state_dict": _WEIGHTS,
        "train": _WEIGHTS,
    }

    @property
    def mask_threshold(self) -> float:
        """The logit above which a pixel is in the mask."""
        return self.spec.masks.threshold

    def to(self, device: object = DEVICE) -> Self:
        """Return the model: it is on the CPU.

        Args:
            device: ``cpu``, or torch's word for it.

        Raises:
            ArgumentError: if it is another.
        """
        if str(device).partition(":")[0] != DEVICE:
            raise ArgumentError(
                f"sam-edge runs on the CPU, not on {shown(str(device))}; pass 'cpu', or leave "
                ".to(...) out"
            )
        return self

    def eval(self) -> Self:
        """Return the model: it is never in training."""
        return self

    if not TYPE_CHECKING:  # a type checker shall say that it cannot be called

        def __call__(self, *_: object, **__: object) -> object:  # noqa: D102 - it only refuses
            return self.forward


class Builder(Protocol):
    """What ``sam_model_registry`` holds."""

    def __call__(self, checkpoint: str | PathLike[str] | None = None) -> Sam:
        """Open a model; see ``sam_model_registry``."""
        ...


def _build(name: str, checkpoint: str | PathLike[str] | None = None) -> Sam:
    model = load_model(name if checkpoint is None else _bundle(name, checkpoint))
    variant = model.spec.variant
    if variant != name and variant in named_models():
        raise ArgumentError(
            f"{printable(os.fspath(checkpoint or name))} holds {variant}, not {name}; "
            f"ask for sam_model_registry[{variant!r}]"
        )
    return Sam(
        model.spec,
        model.sessions,
        model.engine,
        partial(_build, name, checkpoint),
        model.compute,
    )


def _bundle(name: str, checkpoint: str | PathLike[str]) -> str | PathLike[str]:
    """Return what ``load_model`` takes: of a checkpoint's file, the bundle in the cache.

    Of the named model's bundles one that was made of the same bytes; else one that is filled now,
    in float32, and found the next time.

    Raises:
        SamEdgeError: as ``fill_bundle``.
    """
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        return checkpoint
    digest = sha256_file(path)
    filled = bundle_of(name, digest)
    kept = (kept_bundle(name, precision) for precision in PRECISIONS)
    for bundle in (*kept, filled):
        if bundle is not None and _was_made_of(bundle, digest):
            return bundle
    from sam_edge.filling.bundle import fill_bundle  # what only a new checkpoint needs

    logger.info("%s becomes a bundle in %s", path, filled)
    fill_bundle(path, filled, variant=name, force=filled.exists())
    return filled


def _was_made_of(bundle: Path, digest: str) -> bool:
    try:
        return read_spec(bundle).source.sha256 == digest
    except SamEdgeError:  # a damaged one is none
        return False


_OFFICIAL_KEYS = {"default": "vit_h", "vit_t": "mobile_sam"}  # the second is MobileSAM's

sam_model_registry: Mapping[str, Builder] = {
    **{name: partial(_build, name) for name in named_models()},
    **{key: partial(_build, name) for key, name in _OFFICIAL_KEYS.items()},
}
"""Opens models as the official ``sam_model_registry`` builds them.

The keys are the official ones (``default``, ``vit_h``, ``vit_l``, ``vit_b``), MobileSAM's ``vit_t``
and the names that ``sam-edge models list`` shows. A value is called with ``checkpoint``: a bundle's
directory, a model's name, or the checkpoint's own file, which becomes a float32 bundle in the cache
unless there is one of the same bytes; None is the named model's bundle in the cache.
"""
