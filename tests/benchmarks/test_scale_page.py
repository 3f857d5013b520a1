"""The arithmetic of docs/scale.md is that of the records."""

import runpy
from pathlib import Path

TECHNIQUES = Path(__file__).parents[2] / "benchmarks" / "techniques"


def test_the_page_has_what_its_script_makes_of_the_records():
    script = runpy.run_path(str(TECHNIQUES / "scale.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert script["replaced"](page) == page, "run python benchmarks/techniques/scale.py"
    assert "OTHER FILES" not in page
