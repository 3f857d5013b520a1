"""Photos that are dropped or chosen, of every kind that sam-edge reads."""

from __future__ import annotations

import numpy as np
from PIL import Image


def test_chosen_photos_are_encoded_and_listed(serve, browse, tmp_path):
    served = serve(bare=True)
    page = browse(served)
    rng = np.random.default_rng(0)
    pixels = np.zeros((120, 200, 3), np.uint8)
    pixels[30:90, 50:150] = (200, 60, 30)
    pixels += rng.integers(0, 20, pixels.shape, np.uint8)
    turned = Image.fromarray(pixels)
    exif = turned.getexif()
    exif[0x0112] = 6  # stored lying on its side
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "print.tif")
    page.tab.goto(served.address)
    page.tab.get_by_role("button", name="Choose photos").wait_for()
    page.tab.locator("input[type=file]").set_input_files(
        [tmp_path / "turned.jpg", tmp_path / "print.tif"]
    )
    page.ready()
    assert "2 / 2" in page.tab.locator(".toolbar .photo").inner_text()
    box = page.tab.locator(".picture").bounding_box()
    assert box["height"] > box["width"], "upright, as its EXIF data says"
    page.click(0.5, 0.5)
    page.saved()
    (item,) = served.annotations("turned.jpg")["objects"]
    assert item["rle"]["size"] == [200, 120]
    page.press(",")
    page.ready()
    page.click(0.5, 0.5)
    page.saved()
    assert served.annotations("print.tif")["objects"][0]["rle"]["size"] == [120, 200]


def test_a_file_that_is_no_photo_is_said_so(serve, browse, tmp_path):
    page = browse(serve(bare=True))
    (tmp_path / "notes.jpg").write_text("no photo", encoding="utf-8")
    page.tab.goto(page.served.address)
    page.tab.get_by_role("button", name="Choose photos").wait_for()
    page.tab.locator("input[type=file]").set_input_files(tmp_path / "notes.jpg")
    page.tab.locator(".notice.error.shown").wait_for()
    assert "notes.jpg" in page.tab.locator(".notice").inner_text()
    page.problems.clear()  # the browser reports the refusal
