"""The PyTorch towers behind the same host code as every bundle's."""

from __future__ import annotations

from pathlib import Path

from sam_edge.grounding.grounder import Grounder
from sam_edge.grounding.opening import open_phrases
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER, GroundingSpec
from sam_edge_export.grounding.towers import Towers
from sam_edge_export.reference import TorchSession


def reference_grounder(towers: Towers, spec: GroundingSpec, bundle: Path) -> Grounder:
    """Return the PyTorch towers as a grounder, with a bundle's tokenizer."""
    sessions = {
        IMAGE_TOWER: TorchSession(towers.image, ("image",), towers.image.outputs),
        TEXT_TOWER: TorchSession(towers.text, ("input_ids",), ("query_embeds",)),
    }
    return Grounder(spec, sessions, lambda: open_phrases(bundle, spec), "torch")
