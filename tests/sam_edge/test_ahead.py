"""The next answer is computed while the last one is worked on, in order, and never two at once."""

import threading
import time
from contextvars import ContextVar

import pytest

from sam_edge.ahead import answers

WORD = ContextVar("word", default="none")


def test_the_next_call_runs_while_the_caller_has_an_answer():
    second_began = threading.Event()

    def second():
        second_began.set()
        return 2

    taken = answers([lambda: 1, second], ahead=True)
    assert next(taken) == 1
    assert second_began.wait(10)
    assert list(taken) == [2]


def test_otherwise_a_call_waits_until_it_is_asked_for():
    began = []
    taken = answers([lambda: began.append(1), lambda: began.append(2)], ahead=False)
    next(taken)
    assert began == [1]


def test_answers_keep_their_order_and_calls_do_not_overlap():
    at_work = []
    most = []

    def call(number):
        at_work.append(number)
        most.append(len(at_work))
        time.sleep(0.001)
        at_work.remove(number)
        return number

    assert list(answers((lambda n=n: call(n) for n in range(20)), ahead=True)) == [*range(20)]
    assert max(most) == 1


def test_a_call_runs_in_its_callers_context():
    token = WORD.set("stop")
    try:
        assert list(answers([WORD.get, WORD.get], ahead=True)) == ["stop", "stop"]
    finally:
        WORD.reset(token)


@pytest.mark.parametrize("ahead", [True, False])
def test_errors_of_calls_and_of_what_makes_them_reach_the_caller(ahead):
    def broken():
        raise KeyError("broken")

    def calls():
        yield lambda: 1
        raise ValueError("no more")

    taken = answers([lambda: 1, broken], ahead=ahead)
    assert next(taken) == 1
    with pytest.raises(KeyError):
        next(taken)
    with pytest.raises(ValueError, match="no more"):
        list(answers(calls(), ahead=ahead))


def test_whoever_takes_no_more_leaves_no_thread_behind():
    taken = answers([lambda: 1, lambda: 2, lambda: 3], ahead=True)
    next(taken)
    taken.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("sam-edge ahead")]
