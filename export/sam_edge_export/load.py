"""A checkpoint's weights in the PyTorch model that they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sam_edge.checkpoints import open_checkpoint, weights_of
from sam_edge.checkpoints.names import COUNTER
from sam_edge_export.modules.sam import Sam


def load_checkpoint(
    path: Path, variant: str = "auto", image_size: int | None = None
) -> tuple[Sam, list[str]]:
    """Read a checkpoint into a model.

    Args:
        path: as for ``sam_edge.checkpoints.open_checkpoint``.
        variant: a key of ``FAMILIES``, or ``auto`` to recognise it.
        image_size: a multiple of 64 from 256 up; None takes what the checkpoint was trained at.

    Returns:
        The model in eval mode, and notes for the manifest about what was changed on the way.

    Raises:
        CheckpointError: if it is not what it should be.
    """
    checkpoint = open_checkpoint(path, variant, image_size)
    sam = Sam(checkpoint.variant, checkpoint.image_size)
    state = {
        name: tensor for name, tensor in sam.state_dict().items() if not name.endswith(COUNTER)
    }
    weights = weights_of(checkpoint, {name: tuple(t.shape) for name, t in state.items()})
    for name, tensor in state.items():
        np.copyto(tensor.numpy(), weights[name])
    return sam.eval(), list(checkpoint.notes)
