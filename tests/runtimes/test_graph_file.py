"""Where a graph says that its weights are, read off its bytes."""

import hashlib
from contextlib import suppress

import numpy as np
import pytest

from sam_edge_runtimes import EngineError
from sam_edge_runtimes.graph_file import CHUNK, examine, external_files
from tests.runtimes.protobuf import field, varint


def tensor(name):
    entry = field(1, b"location") + field(2, name)
    return field(13, field(1, b"offset") + field(2, b"0")) + field(13, entry)


INITIALIZER = field(7, field(5, tensor(b"weights.data")))
ATTRIBUTE = field(7, field(1, field(5, field(5, tensor(b"attribute.data")))))
SUBGRAPH = field(7, field(1, field(5, field(6, field(5, tensor(b"branch.data"))))))
SPARSE = field(7, field(15, field(1, tensor(b"sparse.data"))))
FUNCTION = field(25, field(7, field(5, field(10, tensor(b"function.data")))))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (INITIALIZER, {"weights.data"}),
        (ATTRIBUTE, {"attribute.data"}),
        (SUBGRAPH, {"branch.data"}),
        (SPARSE, {"sparse.data"}),
        (FUNCTION, {"function.data"}),
        (INITIALIZER + ATTRIBUTE + varint(1 << 3) + b"\x08", {"weights.data", "attribute.data"}),
        (field(7, field(5, tensor(b"../../etc/passwd"))), {"../../etc/passwd"}),
        (field(14, b"a location in the metadata"), set()),
        (b"\x08\x08", set()),
    ],
    ids=range(9),
)
def test_external_files_are_found_wherever_a_tensor_stands(tmp_path, content, names):
    path = tmp_path / "graph.onnx"
    path.write_bytes(content)
    assert examine(path) == (hashlib.sha256(content).hexdigest(), frozenset(names))


@pytest.mark.parametrize("before", range(CHUNK - 12, CHUNK + 1))
def test_a_name_across_two_pieces_of_the_file_is_found(tmp_path, before):
    path = tmp_path / "graph.onnx"
    filler = field(2, bytes(before - 100))
    path.write_bytes(filler + bytes([16, 0]) * ((before - len(filler)) // 2) + INITIALIZER)
    assert examine(path)[1] == {"weights.data"}


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_is_one_line_or_names(tmp_path, seed):
    random = np.random.default_rng(seed)
    content = bytearray(INITIALIZER + ATTRIBUTE + SUBGRAPH)
    for place in random.integers(0, len(content), 3):
        content[place] = random.integers(0, 256)
    path = tmp_path / "graph.onnx"
    path.write_bytes(content[: random.integers(1, len(content))])
    with suppress(EngineError):  # and nothing else: an IndexError would fail here
        assert all(isinstance(name, str) for name in external_files(path))


@pytest.mark.parametrize(
    "content", [b"", b"\x3a\xff\xff\xff\x7f", b"\x3f", b"\xff" * 30, b"\x3a\x05\x2a\x7f"]
)
def test_a_file_that_ends_within_a_field_is_refused(tmp_path, content):
    path = tmp_path / "graph.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="is no ONNX graph"):
        external_files(path)
