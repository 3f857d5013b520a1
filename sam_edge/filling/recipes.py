"""Where each weight of a graph comes from: a recipe, made by the exporter and followed here.

A graph holds a checkpoint's tensors as they are, turned, cut out or repeated, in another precision,
or with a norm's outlier channels moved. A recipe says which. It is data, so that following it needs
numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.filling.arithmetic import equalizing_factors, folded_norm, integers_along
from sam_edge_runtimes import Float32

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
"""A BatchNorm's tensors, in the order of ``folded_norm``."""


@dataclass(frozen=True, slots=True)
class View:
    """What a graph holds of one or more tensors, before it is computed with.

    Attributes:
        sources: official names; of several, the values lie one behind the other.
        shape: of the result.
        start: the first value, counted in the sources.
        sides: how the result's dimensions are taken apart; their product is that of ``shape``.
        strides: values from one to the next along each of ``sides``.
        picked: in place of start, sides and strides: the place of every value.
    """

    sources: tuple[str, ...]
    shape: tuple[int, ...]
    start: int = 0
    sides: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    picked: NDArray[np.int32] | None = None

    def of(self, weights: Mapping[str, Float32]) -> Float32:
        """Return the values, in ``shape``."""
        parts = [np.ascontiguousarray(weights[name]).reshape(-1) for name in self.sources]
        flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.picked is not None:
            return flat[self.picked].reshape(self.shape)
        itemsize = flat.itemsize
        view = np.lib.stride_tricks.as_strided(
            flat[self.start :],
            self.sides,
            [stride * itemsize for stride in self.strides],
            writeable=False,
        )
        return view.reshape(self.shape)


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm whose outlier channels are moved into the matrices behind it.

    Attributes:
        gain: its gain.
        bias: its bias.
        matrices: ``(channels, outputs)`` each.
    """

    gain: View
    bias: View
    matrices: tuple[View, ...]

    def factors(self, weights: Mapping[str, Float32]) -> Float32:
        """Return what the norm is divided by and the matrices' rows are multiplied with."""
        peaks = np.max([np.abs(matrix.of(weights)).max(1) for matrix in self.matrices], 0)
        return equalizing_factors(self.gain.of(weights), self.bias.of(weights), peaks)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one tensor of a graph is made.

    Attributes:
        view: of the checkpoint's weights.
        form: a key of ``FORMS``: what it is written as.
        axis: of the output channels, for integers and their scales.
        norm: index of the norm that takes part, None if none does.
        divided: whether the view is the norm's own; else it is a matrix behind it.
    """

    view: View
    form: str = "float"
    axis: int = 0
    norm: int | None = None
    divided: bool = False

    @property
    def size(self) -> int:
        """Of what it makes, in bytes."""
        if self.form == "scales":
            return 4 * self.view.shape[self.axis]
        return ITEM_BYTES[self.form] * math.prod(self.view.shape)


FORMS: Mapping[str, Callable[[Float32, int, int], NDArray[Any]]] = {
    "float": lambda values, axis, bits: values,
    "half": lambda values, axis, bits: values.astype(np.float16),
    "integers": lambda values, axis, bits: integers_along(values, axis, bits)[0],
    "scales": lambda values, axis, bits: integers_along(values, axis, bits)[1],
}
"""What values become, given the axis of their output channels and the bits of a weight."""


ITEM_BYTES = {"float": 4, "half": 2, "integers": 1}


class Folded(Mapping[str, Float32]):
    """A checkpoint's weights with every BatchNorm put into the convolution before it.

    Args:
        weights: under official names.
        folds: a convolution's name -> that of the norm behind it.
    """

    def __init__(self, weights: Mapping[str, Float32], folds: Mapping[str, str]) -> None:
        self._weights = weights
        self._folds = folds

    def __getitem__(self, name: str) -> Float32:
        layer, _, part = name.rpartition(".")
        norm = self._folds.get(layer)
        if norm is None:
            return self._weights[name]
        state = (self._weights[f"{norm}.{each}"] for each in NORM_PARTS)
        weight, bias = folded_norm(self._weights[f"{layer}.weight"], *state)
        return weight if part == "weight" else bias

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


@dataclass
class Kitchen:
    """Follows recipes; keeps the small results that several of them need.

    Attributes:
        weights: a checkpoint's, folded.
        norms: those that recipes name.
        bits: of integer weights, 8 or 7; see ``arithmetic.LARGEST``.
    """

    weights: Mapping[str, Float32]
    norms: tuple[Norm, ...] = ()
    bits: int = 8
    _factors: dict[int, Float32] = field(default_factory=dict)

    def make(self, recipe: Recipe) -> NDArray[Any]:
        """Return a tensor as the graph holds it, contiguous."""
        values = recipe.view.of(self.weights)
        if recipe.norm is not None:
            factors = self._factors.get(recipe.norm)
            if factors is None:
                factors = self.norms[recipe.norm].factors(self.weights)
                self._factors[recipe.norm] = factors
            values = values / factors if recipe.divided else values * factors[:, None]
        return np.ascontiguousarray(FORMS[recipe.form](values, recipe.axis, self.bits))
