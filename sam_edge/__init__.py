"""Segment Anything on a CPU, without torch.

>>> import sam_edge                                        # doctest: +SKIP
>>> model = sam_edge.load_model()                          # doctest: +SKIP
>>> embedding = model.encode_image("photo.jpg")            # doctest: +SKIP
>>> result = model.decode(embedding, points=[(500, 375)])  # doctest: +SKIP
>>> result.masks.shape, result.scores                      # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import SamEdgeError
from sam_edge.model import Model, Segmentation, Segmenter, load_model
from sam_edge.predictor import SamPredictor
from sam_edge.prompts import Box, PointLabel, Prompt

if TYPE_CHECKING:
    from sam_edge.automatic import SamAutomaticMaskGenerator

__version__ = "0.1.0"

__all__ = [
    "Box",
    "ImageEmbedding",
    "Model",
    "PointLabel",
    "Prompt",
    "SamAutomaticMaskGenerator",
    "SamEdgeError",
    "SamPredictor",
    "Segmentation",
    "Segmenter",
    "load_model",
]


def __getattr__(name: str) -> object:
    """Load on first use what most programs never use."""
    if name == "SamAutomaticMaskGenerator":
        from sam_edge.automatic import SamAutomaticMaskGenerator

        return SamAutomaticMaskGenerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
