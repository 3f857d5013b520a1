"""What every engine must do, on a graph small enough to write by hand."""

import platform
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import sam_edge_runtimes
from sam_edge_runtimes import (
    DeferredSession,
    EngineError,
    MissingDependencyError,
    ShapedSession,
    choose_engine,
    open_session,
)
from sam_edge_runtimes.compiled import ENTRIES, entry_of, keep
from sam_edge_runtimes.fake import FakeSession
from tests.runtimes.engines import ENGINES
from tests.runtimes.protobuf import field

FLOAT, INT64 = 1, 7
"""ONNX's numbers for types."""


def value_info(name, kind):
    """A tensor of shape (batch, 2), as ONNX's ValueInfoProto."""
    shape = field(1, field(2, "batch")) + field(1, field(1, 2))
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def write_doubling(path, kind):
    """``y = x + x``, encoded by hand so that the test needs no graph tool."""
    node = field(1, "x") + field(1, "x") + field(2, "y") + field(4, "Add")
    inputs, outputs = field(11, value_info("x", kind)), field(12, value_info("y", kind))
    graph = field(1, node) + field(2, "g") + inputs + outputs
    opset = field(2, 17)
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, opset))
    return path


@pytest.fixture
def doubling(tmp_path):
    return write_doubling(tmp_path / "doubling.onnx", FLOAT)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_session_takes_and_gives_what_its_graph_says(engine, tmp_path):
    """A text's tokens are whole numbers; float32 would round them from 2^24 on.

    OpenVINO does so on Arm, where it adds whole numbers in float32. No vocabulary is that large.
    """
    rounds = engine == "openvino" and platform.machine().lower() in ("aarch64", "arm64")
    token = 2**23 - 1 if rounds else 2**24 + 1
    path = write_doubling(tmp_path / "tokens.onnx", INT64)
    answer = open_session(engine, path).run({"x": np.array([[token, -3]])})["y"]
    assert answer.dtype == np.int64
    assert answer.tolist() == [[2 * token, -6]]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_runs_a_graph_and_the_caller_owns_the_answer(engine, doubling):
    session = open_session(engine, doubling, threads=1)
    first = session.run({"x": np.ones((1, 2), np.float32)})["y"]
    session.run({"x": np.full((1, 2), 5, np.float32)})
    assert first.tolist() == [[2, 2]]
    first += 1  # writable, too


@pytest.mark.parametrize("engine", ENGINES)
def test_dimensions_are_dynamic_unless_fixed(engine, doubling):
    session = open_session(engine, doubling)
    for batch in (1, 3):
        assert session.run({"x": np.ones((batch, 2), np.float32)})["y"].shape == (batch, 2)
    fixed = open_session(
        engine, doubling, input_shapes={"x": ("batch", 2)}, fixed={"batch": 1, "unused": 7}
    )
    assert fixed.run({"x": np.ones((1, 2), np.float32)})["y"].shape == (1, 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_eight_threads_get_what_one_gets(engine, doubling):
    session = open_session(engine, doubling, threads=1)

    def ask(number):
        return session.run({"x": np.full((1, 2), number, np.float32)})["y"].tolist()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(200))) == [[[2 * n, 2 * n]] for n in range(200)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_is_no_graph_raises_in_one_line(engine, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=f"{engine} cannot open .*bad.onnx") as caught:
        open_session(engine, tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_feeds_that_do_not_fit_raise(engine, doubling):
    session = open_session(engine, doubling)
    with pytest.raises(EngineError):
        session.run({"x": np.ones((1, 3), np.float32)})
    assert session.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2, 2]]


def test_auto_prefers_onnxruntime_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "openvino" or None)
    assert choose_engine("auto") == "openvino"
    with pytest.raises(MissingDependencyError, match=r"pip install 'sam-edge\[cpu\]'"):
        choose_engine("onnxruntime")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="no engine is installed"):
        choose_engine("auto")


def test_an_unknown_engine_is_no_engine():
    with pytest.raises(ValueError, match="tensorrt"):
        choose_engine("tensorrt")


def test_a_deferred_session_opens_once_and_late():
    opened = []

    def open_it():
        opened.append(1)
        return FakeSession(lambda feeds: {"y": feeds["x"]})

    session = DeferredSession(open_it)
    assert opened == []
    for _ in range(3):
        session.run({"x": np.zeros(1, np.float32)})
    assert len(opened) == 1


def test_a_session_that_is_not_kept_opens_each_time():
    opened = []

    def open_it():
        opened.append(1)
        return FakeSession(lambda feeds: {"y": feeds["x"]})

    session = DeferredSession(open_it, keep=False)
    for _ in range(3):
        session.run({"x": np.zeros(1, np.float32)})
    assert len(opened) == 3


def test_a_shaped_session_opens_two_shapes_and_then_one_for_all():
    opened = []

    def opener(sizes):
        opened.append(dict(sizes))
        return FakeSession(lambda feeds: {"y": feeds["x"] * 2})

    session = ShapedSession(opener, "x", {0: "rows", 1: "columns"})

    def run(rows, columns):
        answer = session.run({"x": np.ones((rows, columns), np.float32)})["y"]
        assert answer.shape == (rows, columns)

    for _ in range(2):
        run(2, 3)
        run(3, 2)
    assert opened == [{"rows": 2, "columns": 3}, {"rows": 3, "columns": 2}]
    for _ in range(2):
        run(4, 4)
        run(2, 3)
        run(5, 1)
    assert opened[2:] == [{}]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shaped_session_gives_what_an_open_graph_gives(engine, doubling):
    shaped = ShapedSession(
        lambda sizes: open_session(
            engine, doubling, input_shapes={"x": ("rows", 2)}, fixed=dict(sizes)
        ),
        "x",
        {0: "rows"},
    )
    for rows in (1, 4, 1, 2, 4):
        x = np.random.default_rng(rows).standard_normal((rows, 2), np.float32)
        assert np.array_equal(shaped.run({"x": x})["y"], 2 * x)


def test_the_fake_is_as_strict_as_an_engine():
    session = FakeSession(lambda feeds: {})
    with pytest.raises(TypeError, match="of its graph's type"):
        session.run({"x": np.zeros(1)})


@pytest.mark.parametrize("engine", ENGINES)
def test_answers_of_sessions_that_close_keep_no_memory_of_an_engine(engine, doubling):
    def opener(sizes):
        return open_session(engine, doubling, input_shapes={"x": ("rows", 2)}, fixed=dict(sizes))

    for session in (
        DeferredSession(lambda: opener({}), keep=False),
        ShapedSession(opener, "x", {0: "rows"}),
    ):
        answer = session.run({"x": np.ones((3, 2), np.float32)})["y"]
        assert answer.flags.owndata
        assert answer.tolist() == [[2.0, 2.0]] * 3


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_engine_made_of_a_graph_is_kept_and_gives_the_same(engine, doubling, tmp_path):
    cache = tmp_path / "compiled" / "doubling"
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    shapes = {"x": ("batch", 2)}
    first = open_session(engine, doubling, input_shapes=shapes, cache=cache)
    (entry,) = cache.iterdir()
    assert entry.name.startswith(f"{engine}-{sam_edge_runtimes.engine_version(engine)[:6]}")
    written = {file.name: file.stat().st_mtime_ns for file in entry.iterdir()}
    doubling.unlink()  # from here on only what was kept can answer
    second = open_session(engine, doubling, input_shapes=shapes, cache=cache)
    np.testing.assert_array_equal(first.run({"x": x})["y"], second.run({"x": x})["y"])
    assert {file.name: file.stat().st_mtime_ns for file in entry.iterdir()} == written


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_kept_for_one_shape_is_not_used_for_another(engine, doubling, tmp_path):
    cache = tmp_path / "cache"
    shapes = {"x": ("batch", 2)}
    for rows in (1, 3):
        session = open_session(
            engine, doubling, input_shapes=shapes, fixed={"batch": rows}, cache=cache
        )
        assert session.run({"x": np.ones((rows, 2), np.float32)})["y"].shape == (rows, 2)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_of_many_shapes_the_latest_are_kept(engine, doubling, tmp_path):
    cache, shapes = tmp_path / "cache", {"x": ("batch", 2)}
    for rows in range(1, ENTRIES + 3):
        open_session(engine, doubling, input_shapes=shapes, fixed={"batch": rows}, cache=cache)
    assert len(list(cache.iterdir())) == ENTRIES
    version = sam_edge_runtimes.engine_version(engine)
    if engine == "onnxruntime":  # OpenVINO's has the build in it
        assert entry_of(cache, engine, version, {"batch": ENTRIES + 2}).is_dir()
        assert not entry_of(cache, engine, version, {"batch": 1}).is_dir()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("damage", [b"", b"nonsense" * 10], ids=["empty", "nonsense"])
def test_a_damaged_entry_is_made_again(engine, damage, doubling, tmp_path):
    cache = tmp_path / "cache"
    open_session(engine, doubling, cache=cache)
    (entry,) = cache.iterdir()
    for file in entry.iterdir():
        file.write_bytes(damage)
    session = open_session(engine, doubling, cache=cache)
    assert session.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2.0, 2.0]]
    assert any(file.read_bytes() != damage for file in entry.iterdir())


@pytest.mark.parametrize("engine", ENGINES)
def test_entries_of_another_version_make_room_and_others_stay(engine, doubling, tmp_path):
    cache = tmp_path / "cache"
    old = cache / f"{engine}-0.0.1-0123456789abcdef"
    stranger = cache / "somebody-0.0.1-0123456789abcdef"
    for folder in (old, stranger):
        folder.mkdir(parents=True)
    open_session(engine, doubling, cache=cache)
    assert not old.exists()
    assert stranger.exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cache_that_cannot_be_written_is_done_without(engine, doubling, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    session = open_session(engine, doubling, cache=tmp_path / "file" / "cache")
    assert session.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_that_open_at_once_share_one_entry(engine, doubling, tmp_path):
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        sessions = list(pool.map(lambda _: open_session(engine, doubling, cache=cache), range(4)))
    (entry,) = cache.iterdir()
    assert list(entry.iterdir())
    for session in sessions:
        assert session.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2.0, 2.0]]


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def write(folder):
        (folder / "half").write_text("half")
        raise OSError("No space left on device")

    keep(tmp_path / "cache" / "engine-1-a", write)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_entry_belongs_to_a_processor(tmp_path, monkeypatch):
    here = entry_of(tmp_path, "engine", "1", {"batch": 1})
    monkeypatch.setattr("sam_edge_runtimes.compiled.processor", lambda: "another one")
    assert entry_of(tmp_path, "engine", "1", {"batch": 1}) != here
