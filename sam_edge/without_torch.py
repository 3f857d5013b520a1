"""What the official interface has and only torch can answer, said where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sam_edge.errors import TorchNeededError

DEVICE = "cpu"
"""Where everything here is computed, as torch spells it."""


class WithoutTorch:
    """A stand-in for a class of the official code.

    Attributes:
        instead: what to do where the official code has a name that this class cannot have.
    """

    instead: ClassVar[dict[str, str]] = {}

    if not TYPE_CHECKING:  # a type checker shall go on to report names that are not there

        def __getattr__(self, name: str) -> object:
            kind = type(self).__name__
            if name in self.instead:
                raise TorchNeededError(f"{kind}.{name} needs torch; here {self.instead[name]}")
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
