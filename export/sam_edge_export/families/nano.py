"""The model in the box, trained here: see ``docs/nano.md``."""

from __future__ import annotations

from torch import nn

from sam_edge_export.families.family import Family
from sam_edge_export.families.official import around
from sam_edge_export.modules.nano_encoder import NanoEncoder


def _encoder(image_size: int) -> nn.Module:
    """One set of weights for every size."""
    return NanoEncoder()


def _official(image_size: int) -> nn.Module:
    """The official host code around the encoder, which is nobody else's."""
    from segment_anything import modeling

    encoder = NanoEncoder()
    object.__setattr__(encoder, "img_size", image_size)  # the official ``Sam`` asks for it
    return around(encoder, image_size, modeling)


NANO = Family(_encoder, _official)
