"""The notebooks open anywhere, show what they say, and run from top to bottom."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OURS = re.compile(r"(sam_edge|sam_edge_\w+)(\.|$)")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(path):
    """The cells of code, as text with the commands of shells left out, and their outputs."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            text = "\n".join(re.sub(r"^( *)[!%].*", r"\1pass", line) for line in lines)
            yield ast.parse(text), cell


def pictures(notebook):
    """How many pictures each cell shows."""
    return [
        sum("image/jpeg" in output.get("data", {}) for output in cell.get("outputs", []))
        for cell in notebook["cells"]
    ]


def test_it_is_small_and_was_run_from_top_to_bottom(path):
    assert path.stat().st_size < 400_000
    cells = [cell for _, cell in code(path)]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]


def test_one_cell_installs_what_is_missing_and_nothing_in_a_checkout(path):
    first, *others = ("".join(cell["source"]) for _, cell in code(path))
    assert 'if not find_spec("sam_edge"):\n    %pip install' in first
    assert not any("pip install" in text for text in others)


def test_it_uses_public_names_only(path):
    for tree, _ in code(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and OURS.match(node.module or ""):
                assert not [name for name in node.names if name.name.startswith("_")]
                assert not re.search(r"\._", node.module)
            assert not (isinstance(node, ast.Attribute) and node.attr.startswith("_"))


@pytest.mark.slow
def test_it_runs_and_shows_as_many_pictures_as_are_kept(path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert pictures(module.run(path)) == pictures(kept)
