"""What sets a family apart in PyTorch: its encoder, and the code it must agree with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Family:
    """One model family.

    Attributes:
        build_encoder: image size -> a module ``[B, 3, S, S]`` -> ``[B, 256, S/16, S/16]`` whose
            parameters have the official names.
        oracle: image size -> the official whole model, untrained; its package must be installed.
            None where ours is the only code there is.
    """

    build_encoder: Callable[[int], nn.Module]
    oracle: Callable[[int], nn.Module] | None = None
