"""A graph in two: the same answers, and what stays is computed once."""

import hashlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from sam_edge.zoo import resolve
from sam_edge_runtimes import EngineError, held, open_session
from sam_edge_runtimes.graph_file import fields
from sam_edge_runtimes.held import HeldSession, open_held
from sam_edge_runtimes.session import TensorType
from sam_edge_runtimes.split import InseparableError, split
from tests.runtimes.engines import ENGINES
from tests.runtimes.protobuf import field

FLOAT, INT64 = 1, 7
IR, OPSET = field(1, 8), field(8, field(2, 17))


def node(operator, inputs, output, *attributes):
    names = b"".join(field(1, name) for name in inputs) + field(2, output)
    return field(1, names + field(4, operator) + b"".join(field(5, a) for a in attributes))


def value(name, kind=FLOAT):
    shape = field(1, field(2, "batch")) + field(1, field(1, 2))
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def weight(name, *numbers):
    raw = np.array(numbers, np.float32).tobytes()
    return field(5, field(1, len(numbers)) + field(2, FLOAT) + field(8, name) + field(9, raw))


def model(*parts, inputs=("photo", "mask", "points"), outputs=("answer",)):
    ends = [field(11, value(name)) for name in inputs] + [field(12, value(o)) for o in outputs]
    return IR + field(7, b"".join([*parts[:-1], field(2, "g"), parts[-1], *ends])) + OPSET


GRAPH = model(
    node("Mul", ["photo", "two"], "twice"),
    node("Add", ["twice", "mask"], "stays"),
    node("Shape", ["photo"], "sizes"),
    node("Add", ["points", "stays"], "sum"),
    node("Reshape", ["sum", "sizes"], "shaped"),
    node("Mul", ["shaped", "two"], "answer"),
    node("Add", ["mask", "two"], "left"),  # nobody asks for it
    weight("two", 2, 2),
)


def feeds(**changed):
    tensors = {"photo": [[1.0, 2.0]], "mask": [[3.0, 4.0]], "points": [[5.0, 6.0]]}
    return {name: np.array(array, np.float32) for name, array in (tensors | changed).items()}


ANSWER = [[20.0, 28.0]]
"""Of ``feeds()``: ``2 * (5 + 2 * 1 + 3)`` and so on."""


class Counted:
    def __init__(self, session):
        self.session, self.runs = session, 0
        self.inputs, self.outputs = session.inputs, session.outputs

    def run(self, feeds):
        self.runs += 1
        return self.session.run(feeds)


@pytest.fixture(params=ENGINES)
def opened(request, tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(GRAPH)
    open_part = partial(open_session, request.param, path)
    parts = {}

    def counted(name, content):
        parts[name.partition("-")[0]] = session = Counted(open_part(content=content))
        return session

    return open_held(path.read_bytes, {"points"}, counted), parts, open_part()


def test_each_part_takes_what_it_needs_and_no_node_is_in_both(opened):
    _, parts, whole = opened
    assert sorted(parts["first"].inputs) == ["mask", "photo"]
    assert list(parts["first"].outputs) == ["stays"]
    assert parts["first"].outputs["stays"] == TensorType("float32", (None, 2))
    assert sorted(parts["second"].inputs) == ["photo", "points", "stays"]  # photo for its shape
    assert list(parts["second"].outputs) == list(whole.outputs) == ["answer"]
    first = split(GRAPH, {"points"}).first
    assert b"left" not in first
    assert b"Reshape" not in first
    second = split(GRAPH, {"points"}).second({"stays": TensorType("float32", (None, 2))})
    assert second.count(b"Add") == 1
    assert IR in first
    assert OPSET in first


def test_what_stays_is_computed_once_until_it_is_another(opened):
    session, parts, whole = opened

    def runs(**changed):
        before = parts["first"].runs
        tensors = feeds(**changed)
        assert np.array_equal(session.run(tensors)["answer"], whole.run(tensors)["answer"])
        return parts["first"].runs - before

    assert session.run(feeds())["answer"].tolist() == ANSWER
    assert runs() == 0
    assert runs(points=[[7.0, 8.0]]) == 0
    assert runs(points=[[7.0, 8.0], [1.0, 2.0]], photo=[[1.0, 2.0]] * 2) == 1
    assert runs() == 1
    assert runs(photo=[[1.0, 2.5]]) == 1
    assert runs(photo=[[1.0, 2.5]], mask=[[0.0, 0.0]]) == 1
    assert runs(photo=[[1.0, 2.5]], mask=[[0.0, 0.0]]) == 0


def test_a_tensor_that_its_owner_changes_in_place_is_another(opened):
    session, _, whole = opened
    tensors = feeds()
    session.run(tensors)
    tensors["photo"][0, 0] = 9
    assert session.run(tensors)["answer"].tolist() == whole.run(tensors)["answer"].tolist()


def test_nan_is_the_same_as_before_and_minus_zero_is_not_zero(opened):
    session, parts, _ = opened
    for number, runs in ((np.nan, 1), (np.nan, 1), (0.0, 2), (0.0, 2), (-0.0, 3)):
        session.run(feeds(photo=[[number, 1.0]]))
        assert parts["first"].runs == runs


def test_what_is_too_large_is_not_held(opened, monkeypatch):
    session, parts, whole = opened
    one, two = feeds(), feeds(photo=[[1.0, 2.0]] * 2, points=[[5.0, 6.0]] * 2)
    monkeypatch.setattr(held, "MOST_HELD", 24)  # bytes of a photo, a mask and their sum
    for tensors, runs in ((one, 1), (one, 1), (two, 2), (two, 3), (one, 4), (one, 4)):
        assert np.array_equal(session.run(tensors)["answer"], whole.run(tensors)["answer"])
        assert parts["first"].runs == runs


def test_a_part_that_fails_leaves_nothing_behind(opened):
    session, _, _ = opened
    session.run(feeds())
    with pytest.raises(EngineError):
        session.run(feeds(photo=[[[1.0, 2.0, 3.0]]]))
    assert session.run(feeds())["answer"].tolist() == ANSWER


def test_threads_with_photos_of_their_own_never_get_another_ones_answer(opened):
    session, _, _ = opened

    def answers(number):
        tensors = feeds(photo=[[number, number]])
        return {float(session.run(tensors)["answer"][0, 0]) for _ in range(300)}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answers, range(8)))
    assert found == [{2 * (5 + 2.0 * number + 3)} for number in range(8)]


def operators(model):
    """Count a graph's operators."""
    ((first, last),) = [(a, b) for number, a, b in fields(model, 0, len(model)) if number == 7]
    nodes = [(a, b) for number, a, b in fields(model, first, last) if number == 1]
    return Counter(
        model[a:b].decode()
        for node in nodes
        for number, a, b in fields(model, *node)
        if number == 4
    )


def test_of_our_decoder_no_work_is_in_both_parts():
    """But for places' encoding, which engines make a constant of: one product."""
    whole = (resolve(None) / "prompt_encoder_mask_decoder.onnx").read_bytes()
    parts = split(whole, {"point_coords", "point_labels"})
    side = (1, 576, 256)
    first = operators(parts.first)
    second = operators(parts.second(defaultdict(lambda: TensorType("float32", side))))
    work = ("MatMul", "Gemm", "Conv", "Softmax", "LayerNormalization", "Erf", "Exp")
    both = {name: first[name] + second[name] - operators(whole)[name] for name in work}
    assert both == dict.fromkeys(work, 0) | {"MatMul": 1}
    assert first["Conv"] == 3
    assert first["MatMul"] >= 3  # the first layer's keys, values and queries


BRANCH = field(1, "then") + field(6, node("Add", ["a", "b"], "c"))

WHOLE = {
    "all of it depends on the points": model(
        node("Add", ["photo", "points"], "sum"),
        node("Add", ["sum", "mask"], "answer"),
        weight("two", 2),
    ),
    "an answer depends on what stays alone": model(
        node("Add", ["photo", "mask"], "both"),
        node("Add", ["both", "points"], "answer"),
        node("Add", ["both", "mask"], "other"),
        weight("two", 2),
        outputs=("answer", "other"),
    ),
    "a node has graphs of its own": model(
        node("Add", ["photo", "mask"], "both"),
        node("If", ["both", "points"], "answer", BRANCH),
        weight("two", 2),
    ),
}


@pytest.mark.parametrize("graph", WHOLE.values(), ids=WHOLE.keys())
def test_a_graph_of_which_nothing_can_be_run_ahead_is_left_whole(graph):
    with pytest.raises(InseparableError):
        split(graph, {"points"})


@pytest.mark.parametrize("size", range(1, len(GRAPH), 7))
def test_a_file_that_was_cut_off_is_one_line(size):
    with pytest.raises(EngineError):
        split(GRAPH[:size], {"points"}).second({"stays": TensorType("float32", (None, 2))})


def test_a_node_without_an_operator_is_one_line():
    nameless = field(1, field(1, "photo") + field(2, "stays"))
    with pytest.raises(EngineError, match="no ONNX graph"):
        split(model(nameless, node("Add", ["stays", "points"], "answer")), {"points"})


def test_a_type_that_no_graph_of_ours_has_is_refused():
    with pytest.raises(EngineError, match="float64"):
        split(GRAPH, {"points"}).second({"stays": TensorType("float64", (1,))})


def test_who_kept_both_parts_has_no_file_read():
    class Kept:
        inputs, outputs = ("photo",), {}

    read = []
    session = open_held(lambda: read.append(1) or GRAPH, {"points"}, lambda *_: Kept())
    assert isinstance(session, HeldSession)
    assert read == []


def test_other_parts_of_the_same_file_are_another_revision():
    """Engines' caches go by it: count ``REVISION`` up when this digest changes."""
    parts = split(GRAPH, {"points"})
    second = parts.second({"stays": TensorType("float32", (None, 2))})
    digest = hashlib.sha256(parts.first + second).hexdigest()
    assert digest[:16] == "5b696fe6327fe0cc"
