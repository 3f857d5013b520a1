"""Where each value of a graph comes from, read off its bits.

A probe is a model whose every weight is a float32 bit pattern of its own. What tracing does to
weights moves values about and changes none, so an exported value names the weight that it was, and
a tensor's values its recipe.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sam_edge.filling.recipes import View

FIRST = 0x2F80_0000
"""The bits of 2^-32, from where weights are counted: denormal numbers would be slow to trace."""

INFINITE = 0x7F80_0000


class Probe:
    """Gives modules their patterns, and tells patterns apart.

    Args:
        modules: prefix of the official names -> a module without BatchNorm. Their weights are
            overwritten.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._names: list[str] = []
        sizes = []
        at = FIRST
        for prefix, module in modules.items():
            for name, tensor in module.state_dict().items():
                size = tensor.numel()
                if at + size > INFINITE:
                    raise ValueError("there are more weights than patterns")
                patterns = np.arange(at, at + size, dtype=np.int64).astype(np.uint32)
                tensor.copy_(torch.from_numpy(patterns.view(np.float32)).reshape(tensor.shape))
                self._names.append(f"{prefix}{name}")
                sizes.append(size)
                at += size
        self._starts = [0, *accumulate(sizes)]

    def view(self, values: NDArray[np.float32]) -> View | None:
        """Return what a tensor is a view of; None if it is none."""
        if values.dtype != np.float32 or values.size == 0:
            return None
        places = values.view(np.uint32).astype(np.int64) - FIRST
        low, high = int(places.min()), int(places.max())
        if low < 0 or high >= self._starts[-1]:
            return None
        first, last = (bisect_right(self._starts, place) - 1 for place in (low, high))
        names = tuple(self._names[first : last + 1])
        places -= self._starts[first]
        strided = as_strides(places)
        if strided is None:
            if len(names) > 2 or places.size > 2**20:
                return None  # a coincidence, not a recipe that anyone would write
            return View(names, values.shape, picked=places.astype(np.int32).reshape(-1))
        start, sides, strides = strided
        return View(names, values.shape, start, sides, strides)


def as_strides(
    places: NDArray[np.int64],
) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """Return places as start, sides and strides; None if they are not so regular.

    A dimension may have to be taken apart, as where two were made one.

    >>> as_strides(np.arange(6).reshape(2, 3).T)
    (0, (3, 2), (1, 3))
    >>> as_strides(np.array([4, 5, 4, 5]))
    (4, (2, 2), (0, 1))
    """
    start = int(places.flat[0])
    total = np.asarray(start)
    sides: list[int] = []
    strides: list[int] = []
    for axis, length in enumerate(places.shape):
        line = places[tuple(slice(None) if n == axis else 0 for n in range(places.ndim))] - start
        taken = list(_radices(line))
        if not taken:
            return None
        for side, stride in reversed(taken):
            sides.append(side)
            strides.append(stride)
        total = total[..., None] + line
        assert total.shape[-1] == length
    if not np.array_equal(total, places):
        return None
    return start, tuple(sides), tuple(strides)


def _radices(line: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Take a line apart into (side, stride), the innermost first; nothing if irregular."""
    found = []
    while True:
        steps = np.diff(line)
        stride = int(steps[0]) if len(steps) else 0
        breaks = np.flatnonzero(steps != stride)
        side = int(breaks[0]) + 1 if len(breaks) else len(line)
        if len(line) % side or (side == 1 and len(line) > 1):
            return
        inner = np.arange(side) * stride
        if not np.array_equal(line.reshape(-1, side), line[::side, None] + inner):
            return
        found.append((side, stride))
        line = line[::side]
        if len(line) == 1:
            break
    yield from found
