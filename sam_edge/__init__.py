"""Segment Anything on a CPU, without torch.

>>> import sam_edge                                        # doctest: +SKIP
>>> model = sam_edge.load_model()                          # doctest: +SKIP
>>> embedding = model.encode_image("photo.jpg")            # doctest: +SKIP
>>> result = model.decode(embedding, points=[(500, 375)])  # doctest: +SKIP
>>> result.masks.shape, result.scores                      # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module

from sam_edge._version import __version__ as __version__

TYPE_CHECKING = False  # as type checkers know it; importing typing takes half of our time
if TYPE_CHECKING:
    from sam_edge import batch as batch
    from sam_edge import bundle as bundle
    from sam_edge import embedding as embedding
    from sam_edge import errors as errors
    from sam_edge import image as image
    from sam_edge import model as model
    from sam_edge import predictor as predictor
    from sam_edge import prompts as prompts
    from sam_edge import spec as spec
    from sam_edge.automatic import SamAutomaticMaskGenerator
    from sam_edge.embedding import ImageEmbedding
    from sam_edge.errors import SamEdgeError
    from sam_edge.grounding.grounder import Grounder
    from sam_edge.grounding.masks import segment_text
    from sam_edge.grounding.opening import load_grounder
    from sam_edge.loading import load_model
    from sam_edge.model import Model
    from sam_edge.predictor import SamPredictor
    from sam_edge.prompts import Box, PointLabel, Prompt
    from sam_edge.registry import sam_model_registry
    from sam_edge.segmenter import Segmentation, Segmenter

__all__ = [
    "Box",
    "Grounder",
    "ImageEmbedding",
    "Model",
    "PointLabel",
    "Prompt",
    "SamAutomaticMaskGenerator",
    "SamEdgeError",
    "SamPredictor",
    "Segmentation",
    "Segmenter",
    "load_grounder",
    "load_model",
    "sam_model_registry",
    "segment_text",
]


_HOMES = {
    "Box": "prompts",
    "Grounder": "grounding.grounder",
    "ImageEmbedding": "embedding",
    "Model": "model",
    "PointLabel": "prompts",
    "Prompt": "prompts",
    "SamAutomaticMaskGenerator": "automatic",
    "SamEdgeError": "errors",
    "SamPredictor": "predictor",
    "Segmentation": "segmenter",
    "Segmenter": "segmenter",
    "load_grounder": "grounding.opening",
    "load_model": "loading",
    "sam_model_registry": "registry",
    "segment_text": "grounding.masks",
}

_MODULES = (
    "batch",
    "bundle",
    "embedding",
    "errors",
    "image",
    "model",
    "predictor",
    "prompts",
    "spec",
)
"""What ``sam_edge.NAME`` is without an import of its own."""


def __dir__() -> list[str]:
    """List what completion should offer: not what this file itself imports."""
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})


if not TYPE_CHECKING:  # a type checker shall report names that are not there

    def __getattr__(name: str) -> object:
        """Import a public name's module on first use, so that a command line answers at once."""
        if name in _HOMES:
            return getattr(import_module(f"sam_edge.{_HOMES[name]}"), name)
        if name in _MODULES:
            return import_module(f"sam_edge.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
