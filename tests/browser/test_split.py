"""The decoder's graph as the page takes it apart, run by this package's engine: the same bits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_edge.zoo import resolve

ort = pytest.importorskip("onnxruntime")

DECODER = resolve(None) / "prompt_encoder_mask_decoder.onnx"
POINTS = ("point_coords", "point_labels")
TYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}

PROGRAM = """
import fs from "node:fs";
const [code, model, changing, folder, types] = process.argv.slice(2);
const { split } = await import(code);
const parts = split(new Uint8Array(fs.readFileSync(model)), new Set(changing.split(",")));
console.log(parts !== null);
if (parts) {
  fs.writeFileSync(`${folder}/photo.onnx`, parts.photo);
  const known = types && parts.points(new Map(Object.entries(JSON.parse(types))));
  if (types) fs.writeFileSync(`${folder}/points.onnx`, known);
}
"""


@pytest.fixture(scope="module")
def split(
    page_code: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., bool]:
    """Take a graph apart into a folder; whether that could be."""
    bundle = page_code("engine/split")
    program = tmp_path_factory.mktemp("split") / "split.mjs"
    program.write_text(PROGRAM)

    def run(model: Path, changing: tuple[str, ...], folder: Path, types: Any = None) -> bool:
        words = [bundle, model, ",".join(changing), folder, "" if types is None else types]
        done = subprocess.run(
            ["node", program, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return bool(json.loads(done.stdout))

    return run


def feeds(seed: int, points: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "image_embeddings": rng.normal(size=(1, 256, 24, 24)).astype(np.float32),
        "mask_input": rng.normal(0, 8, (1, 1, 96, 96)).astype(np.float32),
        "has_mask_input": np.float32([seed % 2]),
        "point_coords": rng.uniform(0, 384, (1, points, 2)).astype(np.float32),
        "point_labels": rng.integers(-1, 4, (1, points)).astype(np.float32),
    }


def test_both_parts_together_answer_what_the_whole_does(split, tmp_path):
    assert split(DECODER, POINTS, tmp_path)
    photo = ort.InferenceSession(tmp_path / "photo.onnx")
    types = {value.name: TYPES[value.type] for value in photo.get_outputs()}
    assert split(DECODER, POINTS, tmp_path, json.dumps(types))
    rest = ort.InferenceSession(tmp_path / "points.onnx")
    whole = ort.InferenceSession(DECODER)
    assert not {value.name for value in photo.get_inputs()} & set(POINTS)
    assert {value.name for value in rest.get_inputs()} == {*POINTS, *types}
    for seed, points in enumerate((2, 2, 1, 7)):
        given = feeds(seed, points)
        of_photo = {key: value for key, value in given.items() if key not in POINTS}
        held = dict(zip(types, photo.run(None, of_photo), strict=True))
        found = rest.run(None, {**held, **{name: given[name] for name in POINTS}})
        for mine, expected in zip(found, whole.run(None, given), strict=True):
            np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize(
    "changing",
    [
        ("image_embeddings", "mask_input", "has_mask_input", *POINTS),  # nothing stays
        ("no_such_input",),  # the masks would not change
    ],
)
def test_what_gains_nothing_stays_whole(split, tmp_path, changing):
    assert not split(DECODER, changing, tmp_path)


def test_a_graph_with_branches_stays_whole(split, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(DECODER)
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["point_labels"], ["same"])],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, None)],
    )
    model.graph.node.insert(
        0,
        onnx.helper.make_node("If", ["yes"], ["labels"], then_branch=branch, else_branch=branch),
    )
    onnx.save(model, tmp_path / "branches.onnx")
    assert not split(tmp_path / "branches.onnx", POINTS, tmp_path)


def test_what_is_no_graph_is_refused(split, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(DECODER.read_bytes()[:-1000])
    with pytest.raises(AssertionError, match="no ONNX file"):
        split(broken, POINTS, tmp_path)
