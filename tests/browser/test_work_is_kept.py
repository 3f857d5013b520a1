"""Nothing that was done is lost: reloads, a dead server, two pages, another photo."""

from __future__ import annotations


def test_a_reload_in_the_middle_shows_all(serve, browse):
    page = browse(serve())
    page.open()
    page.click(0.5, 0.25)
    page.click(0.5, 0.9, button="right")
    page.press("Enter")
    page.click(0.85, 0.3)
    page.saved()
    rows = page.rows
    page.tab.reload()
    page.ready()
    assert page.rows == rows
    page.tab.locator(".objects .choose").first.click()
    assert page.tab.locator(".point").count() == 2, "prompts are there to go on from"
    page.click(0.4, 0.2)
    assert page.tab.locator(".point").count() == 3


def test_undo_goes_on_after_a_reload(serve, browse):
    served = serve()
    page = browse(served)
    page.open()
    page.click(0.5, 0.25)
    page.click(0.5, 0.9, button="right")
    page.press("Enter")
    page.click(0.85, 0.3)
    page.saved()
    page.press("Control+z")
    page.saved()
    assert len(page.rows) == 1
    page.tab.wait_for_timeout(300)  # its own storage is written after the server's answer
    page.tab.reload()
    page.ready()
    page.press("Control+y")
    assert len(page.rows) == 2
    page.press("Control+z", "Control+z")
    assert page.tab.locator(".point").count() == 1, "a prompt and its mask go together"
    page.press("Control+z")
    assert page.rows == []
    page.saved()
    assert served.annotations("astronaut.jpg")["objects"] == []


def test_undo_does_not_bring_back_what_others_have_changed_since(serve, browse):
    served = serve()
    mine = browse(served)
    mine.open()
    mine.click(0.5, 0.25)
    mine.saved()
    mine.tab.wait_for_timeout(300)
    theirs = browse(served)
    theirs.open()
    theirs.click(0.85, 0.3)
    theirs.saved()
    mine.tab.reload()
    mine.ready()
    assert len(mine.rows) == 2
    assert mine.tab.get_by_role("button", name="Undo").is_disabled()


def test_what_a_dead_server_did_not_take_stays_unsaved_and_comes_back(serve, browse):
    served = serve()
    page = browse(served)
    page.open()
    page.click(0.5, 0.25)
    page.press("Enter", "b")
    page.saved()
    served.kill()
    page.drag((0.1, 0.5), (0.2, 0.6))
    page.tab.wait_for_selector(".status[data-kind=unsaved]")
    assert page.tab.locator(".status").inner_text() == "Unsaved"
    page.tab.wait_for_timeout(300)
    port = int(served.address.rsplit(":", 1)[1].strip("/"))
    again = serve(folder=served.folder, port=port)
    assert len(again.annotations("astronaut.jpg")["objects"]) == 1
    page.tab.on("dialog", lambda dialog: dialog.accept())
    page.tab.reload()
    page.ready()
    assert len(page.rows) == 2
    page.saved()
    assert len(again.annotations("astronaut.jpg")["objects"]) == 2
    page.problems.clear()  # the browser's own words about a server that is not there


def test_saving_goes_on_by_itself_when_the_server_is_back(serve, browse):
    served = serve()
    page = browse(served)
    page.open()
    page.press("b")
    served.kill()
    page.drag((0.1, 0.5), (0.2, 0.6))
    page.tab.wait_for_selector(".status[data-kind=unsaved]")
    port = int(served.address.rsplit(":", 1)[1].strip("/"))
    again = serve(folder=served.folder, port=port)
    page.saved()
    assert len(again.annotations("astronaut.jpg")["objects"]) == 1
    page.press("Enter", "s")
    page.click(0.5, 0.25)
    assert len(page.rows) == 2, "the photo is encoded again, without a word"
    page.saved()
    page.problems.clear()


def two_pages(serve, browse):
    served = serve()
    mine, theirs = browse(served), browse(served)
    mine.open()
    theirs.open()
    theirs.click(0.85, 0.3)
    theirs.saved()
    mine.click(0.5, 0.25)
    mine.tab.wait_for_selector("dialog.conflict")
    assert "changed elsewhere" in mine.tab.locator("dialog.conflict").inner_text()
    mine.problems.clear()  # the browser reports the 409
    return served, mine, theirs


def test_two_pages_keep_both(serve, browse):
    served, mine, theirs = two_pages(serve, browse)
    mine.tab.get_by_role("button", name="Keep both").click()
    mine.saved()
    assert len(mine.rows) == 2
    assert len(served.annotations("astronaut.jpg")["objects"]) == 2
    assert len(theirs.rows) == 1


def test_two_pages_take_theirs_and_undo_brings_mine_back(serve, browse):
    served, mine, _ = two_pages(serve, browse)
    own = mine.rows
    mine.tab.get_by_role("button", name="Take theirs").click()
    mine.saved()
    assert mine.rows != own
    mine.press("Control+z")
    assert mine.rows == own
    mine.saved()
    assert len(served.annotations("astronaut.jpg")["objects"]) == 1


def test_two_pages_keep_mine(serve, browse):
    served, mine, _ = two_pages(serve, browse)
    own = mine.rows
    mine.tab.get_by_role("button", name="Keep mine").click()
    mine.saved()
    assert mine.rows == own
    assert len(served.annotations("astronaut.jpg")["objects"]) == 1


def test_going_to_the_next_photo_saves_this_one(serve, browse):
    served = serve()
    page = browse(served)
    page.open("astronaut.jpg")
    page.click(0.5, 0.25)
    page.press(".")
    page.ready()
    assert page.rows == []
    page.press(",")
    page.ready()
    assert len(page.rows) == 1
    assert len(served.annotations("astronaut.jpg")["objects"]) == 1
