"""Words in the page: what a phrase names becomes objects with that label, in one step."""

from __future__ import annotations

from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[1] / "sam_edge" / "grounding" / "bundle"


def test_a_phrase_becomes_labelled_objects_in_one_step(serve, browse):
    pytest.importorskip("tokenizers")
    served = serve("--grounder", str(BUNDLE))
    page = browse(served)
    page.open("coffee.jpg")
    line = page.tab.get_by_role("textbox", name="Words")
    line.fill("the red mug, a cat")
    line.press("Enter")
    page.tab.wait_for_selector(".objects li", timeout=60_000)
    page.saved()
    found = served.annotations("coffee.jpg")["objects"]
    assert len(found) == len(page.rows) > 0
    assert {entry["label"] for entry in found} <= {"the red mug", "a cat"}
    assert all(entry["prompt"]["box"] for entry in found)
    assert all(0 < entry["extra"]["box_score"] <= 1 for entry in found)
    page.tab.locator(".stage").focus()
    page.press("z")
    assert page.rows == []

    line.fill("cat " * 20)
    page.tab.get_by_role("button", name="Find what the words name").click()
    page.tab.get_by_text("has 22 tokens").wait_for()
    page.problems = [said for said in page.problems if "400" not in said]  # what it was told


def test_without_a_grounder_there_is_no_line_for_words(serve, browse):
    page = browse(serve())
    page.open("coffee.jpg")
    assert page.tab.get_by_role("textbox", name="Words").count() == 0
