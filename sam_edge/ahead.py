"""Computing the next answer while the last one is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Answer = TypeVar("Answer")


def answers(calls: Iterable[Callable[[], Answer]], *, ahead: bool) -> Iterator[Answer]:
    """Yield what calls return, in their order.

    An engine leaves Python's lock alone while it computes, so that whoever takes an answer apart
    in Python need not wait for the next one.

    Args:
        calls: one at a time runs.
        ahead: whether the next one runs in a thread of its own, in the caller's context, while the
            caller has the answer before it. Else each runs when its answer is asked for.

    >>> list(answers([lambda: 1, lambda: 2], ahead=True))
    [1, 2]
    """
    if not ahead:
        yield from (call() for call in calls)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="sam-edge ahead") as pool:
        running = None
        for call in calls:
            following = pool.submit(copy_context().run, call)
            if running is not None:
                yield running.result()
            running = following
        if running is not None:
            yield running.result()
