"""What every engine must do. Engines know tensors, not images or prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sam_edge_runtimes.memory import give_back_freed

if TYPE_CHECKING:  # numpy takes longer to import than all of this package
    import numpy as np
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
"""A tensor of whatever type its graph says: pixels are float32, a text's tokens int64."""

Float32: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class TensorType:
    """What an engine knows of a tensor before it is there.

    Attributes:
        dtype: numpy's name.
        shape: None for a dimension that may be any.
    """

    dtype: str
    shape: tuple[int | None, ...]


class Session(Protocol):
    """One loaded graph. It knows tensors, not images or prompts.

    ``run`` may be called from several threads; an adapter whose engine cannot keeps one request a
    thread.
    """

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once.

        Args:
            feeds: every input by name, C-contiguous, of the type that the graph says.

        Returns:
            Every output by name. The caller owns the arrays: a later ``run`` leaves them alone.

        Raises:
            EngineError: if the engine refuses the feeds.
        """
        ...


class GraphSession(Session, Protocol):
    """A session of an engine, which knows its graph."""

    @property
    def inputs(self) -> Sequence[str]:
        """Names of what ``run`` takes."""
        ...

    @property
    def outputs(self) -> Mapping[str, TensorType]:
        """What ``run`` answers."""
        ...


class DeferredSession:
    """A session that opens at its first ``run``, so that what is never asked never costs memory.

    Args:
        open_session: opens the real one.
        keep: False closes it after every run: slow, but its memory goes back to the system.
    """

    def __init__(self, open_session: Callable[[], Session], *, keep: bool = True) -> None:
        self._open = open_session
        self._keep = keep
        self._session: Session | None = None
        self._lock = Lock()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Open the graph if it is not open, and run it."""
        if not self._keep:
            with self._lock:  # one at a time: two open encoders would defeat the purpose
                answer = _owned(self._open().run(feeds))
            give_back_freed()
            return answer
        with self._lock:
            session = self._session = self._session or self._open()
        return session.run(feeds)


SHAPES = 2
"""A camera's photos come in two shapes, landscape and portrait."""


class ShapedSession:
    """A session a shape, because a graph whose sizes are fixed is up to a fifth faster.

    Opening one takes longer than many photos gain by it, so where a third shape comes, one session
    without fixed sizes takes over for all.

    Args:
        open_session: opens the graph with dimensions fixed, name -> size; or with none.
        tensor: the input whose shape decides.
        dimensions: names of its dimensions, by axis.
    """

    def __init__(
        self,
        open_session: Callable[[Mapping[str, int]], Session],
        tensor: str,
        dimensions: Mapping[int, str],
    ) -> None:
        self._open = open_session
        self._tensor = tensor
        self._dimensions = dimensions
        self._fixed: dict[tuple[int, ...], Session] = {}
        self._any: Session | None = None
        self._lock = Lock()

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the session for this shape, or open it; see ``Session.run``."""
        shape = feeds[self._tensor].shape
        sizes = tuple(shape[axis] for axis in self._dimensions)
        with self._lock:
            session = self._any or self._fixed.get(sizes)
            if session is None and len(self._fixed) < SHAPES:
                session = self._open(dict(zip(self._dimensions.values(), sizes, strict=True)))
                self._fixed[sizes] = session
            elif session is None:
                self._fixed.clear()  # before another one needs the memory
                session = self._any = self._open({})
        return _owned(session.run(feeds))


def _owned(answer: Mapping[str, Array]) -> dict[str, Array]:
    """Copy what a session answered that will be closed.

    ONNX Runtime's arrays are pieces of its arena, and one of them keeps all of it.
    """
    return {name: array.copy() for name, array in answer.items()}
