"""What comes in from other tools, and what goes out to them."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

import sam_edge

PHOTOS = Path(sam_edge.__file__).parent / "assets" / "photos"


@pytest.mark.parametrize(
    ("format_name", "suffix"),
    [
        ("PNG label map", ".png"),
        ("PNG masks", ".png"),
        ("COCO", ".json"),
        ("LabelMe", ".json"),
        ("SA-1B", ".json"),
        ("SVG", ".svg"),
        ("YOLO", ".zip"),
    ],
)
def test_every_format_is_downloaded(serve, browse, tmp_path, format_name, suffix):
    page = browse(serve())
    page.open("chelsea.jpg")
    page.click(0.5, 0.5)
    page.press("x")
    page.tab.get_by_role("radio", name=format_name).check()
    with page.tab.expect_download() as download:
        page.tab.locator("form.export button.primary").click()
    assert download.value.suggested_filename.endswith(suffix)
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.stat().st_size > 100


def test_all_photos_of_a_folder_of_twenty(serve, browse, tmp_path):
    folder = tmp_path / "twenty"
    folder.mkdir()
    for index in range(20):
        source = sorted(PHOTOS.glob("*.jpg"))[index % 4]
        shutil.copy(source, folder / f"{index:02}.jpg")
    page = browse(serve(folder=folder))
    page.open("00.jpg")
    for index in range(3):
        page.click(0.5, 0.4)
        page.press("Shift+C", ".")
        page.tab.locator(".toolbar .count", has_text=f"{index + 2} / 20").wait_for()
        page.ready()
    page.tab.locator("button.photo").click()
    assert page.tab.locator("dialog .hint").inner_text() == "3 of 20 done"
    page.press("Escape", "x")
    page.tab.get_by_role("radio", name="YOLO").check()
    page.tab.get_by_role("radio", name="All photos").check()
    with page.tab.expect_download() as download:
        page.tab.locator("form.export button.primary").click()
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert len([name for name in archive.namelist() if name.startswith("labels/0")]) >= 3


def test_a_labelme_file_is_shown_corrected_and_left_alone(serve, browse, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    shutil.copy(PHOTOS / "chelsea.jpg", folder)
    shape = {
        "label": "cat",
        "points": [[100, 50], [350, 50], [350, 250], [100, 250]],
        "group_id": None,
        "shape_type": "polygon",
        "flags": {},
    }
    text = json.dumps(
        {
            "version": "5.5.0",
            "flags": {},
            "shapes": [shape],
            "imagePath": "chelsea.jpg",
            "imageData": None,
            "imageHeight": 300,
            "imageWidth": 451,
        }
    )
    (folder / "chelsea.json").write_text(text, encoding="utf-8")
    served = serve(folder=folder)
    page = browse(served)
    page.open("chelsea.jpg")
    assert [row.split("\n")[0] for row in page.rows] == ["cat"]
    page.tab.locator(".objects .choose").first.click()
    page.press("e")
    page.drag((0.2, 0.2), (0.8, 0.2))
    page.press("s")
    page.click(0.5, 0.5)
    page.saved()
    assert len(page.rows) == 1, "a click goes on from the mask that was there"
    assert (folder / "chelsea.json").read_text(encoding="utf-8") == text
    assert served.annotations("chelsea.jpg")["version"] >= 1


def test_small_things_by_encoding_what_is_in_view(serve, browse):
    served = serve()
    page = browse(served)
    page.open("astronaut.jpg")
    page.tab.mouse.move(*page.at(0.5, 0.2))
    for _ in range(4):
        page.tab.mouse.wheel(0, -400)
    page.tab.wait_for_timeout(300)
    page.press("p")
    page.ready()
    page.click(0.5, 0.2)
    page.saved()
    (item,) = served.annotations("astronaut.jpg")["objects"]
    x0, y0, x1, y1 = item["prompt"]["part"]
    assert 0 < x1 - x0 < 512
    x, y = item["prompt"]["points"][0]
    assert x0 <= x <= x1
    assert y0 <= y <= y1
    page.tab.reload()
    page.ready()
    assert len(page.rows) == 1


def test_a_token_is_taken_from_the_address(serve, browse):
    served = serve("--token", "abcdefghijklmnop1234")
    page = browse(served)
    page.tab.goto(served.address)
    page.ready()
    page.click(0.5, 0.5)
    page.saved()
    page.tab.goto(served.address.split("#")[0] + "?again")
    page.tab.locator("[role=alert]").wait_for()
    assert "token" in page.tab.locator("[role=alert]").inner_text()
    page.problems.clear()  # the browser reports the 401
