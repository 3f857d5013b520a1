"""axe-core's rules, wide and phone-sized, light and dark, with every sheet open."""

from __future__ import annotations

from pathlib import Path

import pytest

import sam_edge

AXE = Path(sam_edge.__file__).parent / "server/web/node_modules/axe-core/axe.min.js"

pytestmark = pytest.mark.skipif(
    not AXE.exists(), reason="axe-core is not there: npm ci in sam_edge/server/web"
)


def violations(page) -> str:
    page.tab.wait_for_timeout(400)  # transitions: half a colour has half a contrast
    # Past the page's own policy, which lets no foreign script in.
    page.tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.tab.evaluate("axe.run()")
    return "\n".join(
        f"{rule['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(serve, browse, scheme):
    page = browse(serve(), color_scheme=scheme)
    page.open()
    assert violations(page) == ""
    page.click(0.5, 0.25)
    page.press("l")
    page.tab.keyboard.type("face")
    page.press("Enter", "c")
    assert violations(page) == ""
    for key in "?x":
        page.press(key)
        assert violations(page) == ""
        page.press("Escape")
    page.tab.locator("button.photo").click()
    assert violations(page) == ""


def test_axe_finds_nothing_wrong_on_a_phone(serve, browse):
    page = browse(serve(), viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.open()
    page.tab.touchscreen.tap(*page.at(0.5, 0.25))
    page.settled()
    assert len(page.rows) == 1
    assert violations(page) == ""
    page.tab.get_by_role("button", name="Objects and labels").click()
    assert violations(page) == ""
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_axe_finds_nothing_wrong_where_there_is_no_photo(serve, browse):
    page = browse(serve(bare=True))
    page.tab.goto(page.served.address)
    page.tab.get_by_role("button", name="Choose photos").wait_for()
    assert violations(page) == ""
