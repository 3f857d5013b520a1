"""What holds for every adapter, with none of their packages."""

import subprocess
import sys
from pathlib import Path

import pytest

import sam_edge.adapters
from sam_edge.adapters import imported
from sam_edge.errors import MissingDependencyError

FILES = sorted(Path(sam_edge.adapters.__file__).parent.glob("[a-z]*.py"))


def test_importing_them_imports_no_package_of_others():
    names = [path.stem for path in FILES]
    assert "napari" in names
    code = "".join(f"import sam_edge.adapters.{name}\n" for name in names)
    code += "import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({*names, "label_studio_ml", "torch", "PySide6", "PyQt5"})


def test_a_package_that_is_not_there_says_what_installs_it():
    with pytest.raises(MissingDependencyError, match="run: pip install no-such"):
        imported("no_such.module", "no-such")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_adapter_is_on_the_page(path):
    page = Path(__file__).parents[2] / "docs" / "integrations.md"
    assert f"sam_edge.adapters.{path.stem}" in page.read_text(encoding="utf-8")
