"""A graph in two sessions: what depends on inputs that stay is run once for them, and held."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TypeAlias

from sam_edge_runtimes.memory import give_back_freed
from sam_edge_runtimes.session import Array, GraphSession
from sam_edge_runtimes.split import REVISION, split

Tensors: TypeAlias = Mapping[str, Array]

MOST_HELD = 64 << 20
"""In bytes. A photo of 1024 pixels is 14 MB with its feeds; eight masks to start from in one call,
each of which is a photo to the decoder, are more, and gone with the next call."""

Open: TypeAlias = Callable[[str, Callable[[], bytes]], GraphSession]
"""Opens a part of a graph by its name, which tells it from every other part of the same graph. The
other argument makes the part, for who has not kept what was made of it."""


def open_held(read: Callable[[], bytes], changing: Collection[str], open_part: Open) -> HeldSession:
    """Open a graph so that a run computes again only what depends on what has changed.

    Args:
        read: returns an ONNX file whose weights are inside. Not called where both parts were kept.
        changing: names of the inputs that are others at every run.
        open_part: opens one of the two graphs that are made of it.

    Raises:
        InseparableError: if nothing can be had by it.
        EngineError: if the file is damaged, or the engine refuses a part.
    """
    session = _opened(read, changing, open_part)
    give_back_freed()  # the file and its parts, where they were read
    return session


def _opened(read: Callable[[], bytes], changing: Collection[str], open_part: Open) -> HeldSession:
    parts = cache(lambda: split(read(), changing))
    first = open_part(f"first-{REVISION}", lambda: parts().first)
    second = open_part(f"second-{REVISION}", lambda: parts().second(first.outputs))
    return HeldSession(first, second)


class HeldSession:
    """Two sessions as one, see ``Session``. The last answer of the first of them is held.

    Args:
        first: of what stays.
        second: takes what the first one answers beside the graph's own inputs.
    """

    def __init__(self, first: GraphSession, second: GraphSession) -> None:
        self._first, self._second = first, second
        self._held: tuple[Tensors, Tensors] | None = None

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the second graph, and before it the first if its feeds are others than last."""
        given = {name: feeds[name] for name in self._first.inputs}
        tensors = {**feeds, **self._answer(given)}
        return self._second.run({name: tensors[name] for name in self._second.inputs})

    def _answer(self, given: Tensors) -> Tensors:
        held = self._held  # once: another thread may put its own there
        if held is not None and all(_same(held[0][name], given[name]) for name in given):
            return held[1]
        self._held = held = None  # before there are two
        answer = self._first.run(given)
        if sum(array.nbytes for array in (*given.values(), *answer.values())) <= MOST_HELD:
            # Copies, as the caller's may change.
            self._held = {name: array.copy() for name, array in given.items()}, answer
        return answer


def _same(one: Array, other: Array) -> bool:
    """Whether two tensors hold the same bytes, NaN or not."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    bits = f"u{one.itemsize}"
    return bool((one.view(bits) == other.view(bits)).all())
