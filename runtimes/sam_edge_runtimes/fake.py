"""An engine without a graph, for tests: yours and ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sam_edge_runtimes.session import Array


class FakeSession:
    """Answers from a function, and is as strict about its feeds as an engine is.

    Attributes:
        calls: the feeds of every run so far.

    >>> session = FakeSession(lambda feeds: {"twice": feeds["x"] * 2})
    >>> session.run({"x": np.ones(2, np.float32)})["twice"].tolist()
    [2.0, 2.0]
    """

    def __init__(self, answer: Callable[[Mapping[str, Array]], dict[str, Array]]) -> None:
        self._answer = answer
        self.calls: list[dict[str, Array]] = []

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Record the feeds and return the function's answer.

        Raises:
            TypeError: if a feed is not C-contiguous, or of float64, which no graph here takes.
        """
        for name, array in feeds.items():
            if array.dtype == np.float64 or not array.flags.c_contiguous:
                raise TypeError(f"{name} must be C-contiguous and of its graph's type")
        self.calls.append(dict(feeds))
        return self._answer(feeds)
