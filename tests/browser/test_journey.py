"""A photo from opening to export, by mouse and by keyboard alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sam_edge.cli.frame import main as sam_edge_command
from sam_edge.masks import Mask, decode_rle, from_coco_rle


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def exported(page, folder) -> dict:
    page.press("x")
    page.tab.get_by_role("radio", name="COCO").check()
    with page.tab.expect_download() as download:
        page.tab.get_by_role("button", name="Export", exact=True).last.click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return json.loads(path.read_text(encoding="utf-8"))


def by_command(photo, prompt, folder) -> Mask:
    """The mask that ``sam-edge segment`` gives for a prompt of the page's annotations."""
    flags = []
    for (x, y), label in zip(prompt["points"], prompt["labels"], strict=True):
        flags += ["--point", f"{x},{y},{label}"]
    if prompt["box"]:
        flags += ["--box", ",".join(map(str, prompt["box"]))]
    answer = folder / "segment.json"
    assert sam_edge_command(["segment", str(photo), *flags, "--json", str(answer)]) == 0
    (record,) = json.loads(answer.read_text(encoding="utf-8"))["photos"]
    (mask,) = record["objects"][0]["masks"]
    return decode_rle(from_coco_rle(mask["segmentation"]))


def test_a_photo_from_opening_to_export(serve, browse, tmp_path):
    served = serve()
    page = browse(served)
    page.open("astronaut.jpg")

    page.tab.mouse.move(*page.at(0.5, 0.25))
    page.tab.mouse.move(*page.at(0.5, 0.26))
    page.tab.wait_for_timeout(500)
    assert page.painted("preview") > 1000, "hovering shows a mask"
    assert page.rows == [], "hovering keeps nothing"

    page.click(0.5, 0.26)
    assert len(page.rows) == 1
    assert page.painted("working") > 1000
    page.click(0.5, 0.9, button="right")
    assert page.tab.locator(".point.positive").count() == 1
    assert page.tab.locator(".point.negative").count() == 1

    page.press("l")
    page.tab.keyboard.type("face")
    page.press("Enter")
    page.press("Enter")
    page.drag((0.72, 0.02), (0.92, 0.6))
    assert len(page.rows) == 2
    page.tab.mouse.click(*page.at(0.05, 0.2))
    page.settled()
    page.press("Control+z")
    assert page.tab.locator(".point").count() == 0, "undo takes the point and its mask back"
    page.press("Control+z")
    assert len(page.rows) == 1
    page.press("Control+y")
    assert len(page.rows) == 2

    page.press("Enter", "b")
    page.drag((0.1, 0.5), (0.2, 0.6))
    assert len(page.rows) == 3
    drawn = page.painted("working")
    page.press("e")
    page.drag((0.1, 0.5), (0.12, 0.52))
    assert 0 < page.painted("working") < drawn
    page.saved()

    document = exported(page, tmp_path)
    names = {category["id"]: category["name"] for category in document["categories"]}
    labels = [names[entry["category_id"]] for entry in document["annotations"]]
    assert labels == ["face", "face", "face"]
    objects = served.annotations("astronaut.jpg")["objects"]
    assert [item["label"] for item in objects] == labels
    assert len(objects[0]["prompt"]["points"]) == 2
    assert objects[1]["prompt"]["box"]
    for item, entry in zip(objects[:2], document["annotations"], strict=False):
        mask = decode_rle(from_coco_rle(entry["segmentation"]))
        expected = by_command(served.folder / "astronaut.jpg", item["prompt"], tmp_path)
        assert np.array_equal(mask, expected), iou(mask, expected)
    assert objects[2]["prompt"] is None


def test_the_lone_click_is_what_segment_gives_and_tab_goes_through_three(serve, browse, tmp_path):
    served = serve()
    page = browse(served)
    page.open("chelsea.jpg")
    page.click(0.5, 0.5)
    page.saved()
    (item,) = served.annotations("chelsea.jpg")["objects"]
    kept = decode_rle(from_coco_rle(item["rle"]))
    expected = by_command(served.folder / "chelsea.jpg", item["prompt"], tmp_path)
    assert np.array_equal(kept, expected)

    chips = page.tab.locator(".bar .chip").all_inner_texts()
    assert [chip.split()[0] for chip in chips] == ["whole", "part", "detail"]
    seen = []
    for _ in range(3):
        page.press("Tab")
        page.saved()
        (item,) = served.annotations("chelsea.jpg")["objects"]
        seen.append(item["rle"]["counts"])
    assert len(set(seen)) == 3


def test_the_keyboard_alone(serve, browse):
    served = serve()
    page = browse(served)
    page.open("coffee.jpg")
    page.tab.locator(".stage").focus()
    page.press(*["ArrowUp"] * 3, *["Control+ArrowRight"] * 2, "a")
    assert len(page.rows) == 1
    page.press("ArrowDown", "d")
    assert page.tab.locator(".point.negative").count() == 1
    page.press("Enter")
    page.press(*["Control+ArrowLeft"] * 4, "w", *["Control+ArrowRight"] * 3)
    page.press(*["Control+ArrowDown"] * 2, "w")
    assert len(page.rows) == 2
    page.press("l")
    page.tab.keyboard.type("cup")
    page.press("Enter", "c", "Enter", "j", "2")
    page.saved()
    objects = served.annotations("coffee.jpg")["objects"]
    assert [item["label"] for item in objects] == ["cup", "cup"]
    assert [item["extra"]["done"] for item in objects] == [False, True]
    page.press("Delete")
    assert len(page.rows) == 1
    page.press("Shift+C", ".")
    page.ready()
    assert "rocket.jpg" in page.tab.title()
    assert served.annotations("coffee.jpg")["done"]


def test_a_click_on_a_point_takes_it_away(serve, browse):
    page = browse(serve())
    page.open()
    page.click(0.5, 0.25)
    before = page.painted("working")
    page.click(0.5, 0.9, button="right")
    page.tab.locator(".point.negative").click()
    page.settled()
    assert page.tab.locator(".point").count() == 1
    assert page.painted("working") == before


def test_split_and_merge(serve, browse):
    page = browse(serve())
    page.open()
    page.press("b")
    page.drag((0.2, 0.5), (0.6, 0.5))
    whole = page.painted("working")
    page.press("k")
    page.drag((0.4, 0.3), (0.4, 0.7))
    assert len(page.rows) == 2
    assert 0 < page.painted("working") < whole
    for row in page.tab.locator(".objects .choose").all():
        row.click(modifiers=["Control"])
    page.press("m")
    assert len(page.rows) == 1
    assert page.painted("working") == pytest.approx(whole, rel=0.001)


def test_wheel_and_space_move_the_photo_without_a_click(serve, browse):
    page = browse(serve())
    page.open()
    width = page.tab.locator(".picture").bounding_box()["width"]
    page.tab.mouse.move(*page.at(0.5, 0.5))
    page.tab.mouse.wheel(0, -400)
    page.tab.wait_for_timeout(200)
    box = page.tab.locator(".picture").bounding_box()
    assert box["width"] > width
    page.tab.keyboard.down(" ")
    page.drag((0.5, 0.5), (0.55, 0.5))
    page.tab.keyboard.up(" ")
    page.tab.wait_for_timeout(200)
    assert page.tab.locator(".picture").bounding_box()["x"] > box["x"]
    assert page.rows == []


def test_everything_is_thinned_out_and_picked(serve, browse):
    page = browse(serve())
    page.open("coffee.jpg")
    page.press("g")
    keep = page.tab.get_by_role("button", name="Keep all that are shown")
    keep.wait_for(timeout=120_000)
    count = page.tab.locator(".sliders .count")
    many = int(count.inner_text().split()[0])
    page.tab.get_by_label("Sure").fill("0.9")
    few = int(count.inner_text().split()[0])
    assert 0 <= few < many
    page.tab.get_by_label("Sure").fill("0.4")
    shown = int(count.inner_text().split()[0])
    keep.click()
    page.saved()
    assert len(page.rows) == shown > 1
    assert len(page.served.annotations("coffee.jpg")["objects"]) == len(page.rows)
