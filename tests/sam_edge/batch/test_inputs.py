"""Which photos a set has, and what they are called."""

import json
import os
import sys

import pytest
from PIL import Image

from sam_edge.batch.inputs import photo_set
from sam_edge.errors import ArgumentError, ImageError
from sam_edge.evaluation.truth import TruthError


@pytest.fixture
def folder(tmp_path):
    for name in ("cup.jpg", "a/cup.png", "a/cup.jpg", "a/deep/er/x.webp", ".hidden.jpg", "b.txt"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".txt":
            Image.new("RGB", (8, 6)).save(path)
    return tmp_path / "photos"


def names(found):
    return [(item.name, item.file_name, item.image_id) for item in found.items]


def test_a_folder_is_taken_with_all_below_it(folder):
    found = photo_set([folder])
    assert names(found) == [
        ("cup", "cup.jpg", None),
        ("a/cup.jpg", "a/cup.jpg", None),
        ("a/cup.png", "a/cup.png", None),
        ("a/deep/er/x", "a/deep/er/x.webp", None),
    ]
    assert [item.index for item in found.items] == [0, 1, 2, 3]


def test_results_among_the_photos_are_no_photos(folder):
    out = folder / "a"
    assert names(photo_set([folder], out=out)) == [("cup", "cup.jpg", None)]


def test_a_pattern_may_have_its_results_beside_the_photos(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for out in (".", "a", ".."):
        assert names(photo_set(["a/*.jpg"], out=folder / out)) == [("cup", "cup.jpg", None)]
    found = photo_set(["**/*.jpg"], out=folder / "a")
    assert names(found) == [("cup", "cup.jpg", None)]


@pytest.mark.parametrize("dataset", ["coco", "sa1b", "labelme"])
def test_results_among_a_data_sets_files_are_refused(folder, dataset):
    for out in (folder, folder.parent):
        with pytest.raises(ArgumentError, match="would be read as part of it"):
            photo_set([folder], dataset=dataset, out=out)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_photo_is_known_by_where_links_lead(folder, tmp_path):
    (tmp_path / "b").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "b" / "cup.jpg")
    (tmp_path / "b" / "deep").mkdir()
    (folder / "link").symlink_to(tmp_path / "b" / "deep")
    (folder / "again").symlink_to(folder / "a")
    (folder / "b.txt").write_text("cup.jpg\nlink/../cup.jpg\na/cup.jpg\nagain/cup.jpg\n")
    found = photo_set([folder / "b.txt"])
    assert [os.path.realpath(item.path) for item in found.items] == [
        str(folder / "cup.jpg"),
        str(tmp_path / "b" / "cup.jpg"),
        str(folder / "a" / "cup.jpg"),
    ]
    assert len({item.name for item in found.items}) == 3


def test_a_list_a_pattern_and_a_photo_name_each_photo_once(folder):
    (folder / "b.txt").write_text("cup.jpg\n\na/cup.png\n", encoding="utf-8")
    found = photo_set(
        [folder / "b.txt", str(folder / "a" / "**" / "*.webp"), os.fspath(folder / "cup.jpg")]
    )
    assert [name for name, *_ in names(found)] == ["cup", "a/cup", "a/deep/er/x"]


def test_coco_keeps_its_ids_and_categories_and_photos_without_annotations(folder):
    images = [
        {"id": 30, "file_name": "a/cup.png", "width": 8, "height": 6},
        {"id": "x", "file_name": "cup.jpg"},
    ]
    content = {"images": images, "annotations": [], "categories": [{"id": 5, "name": "cup"}]}
    path = folder / "labels" / "instances.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    found = photo_set([path], images=folder)
    assert names(found) == [("a/cup", "a/cup.png", 30), ("cup", "cup.jpg", "x")]
    assert found.categories == {5: {"id": 5, "name": "cup"}}
    content["images"].append({"id": 30, "file_name": "other.jpg"})
    path.write_text(json.dumps(content))
    skipped = []
    assert len(photo_set([path], images=folder, skip=skipped.append).items) == 2
    assert "listed twice" in skipped[0]
    with pytest.raises(TruthError, match="listed twice"):
        photo_set([path], images=folder)


def test_sa1b_and_labelme_name_their_photos(folder):
    image = {"image_id": 77, "file_name": "cup.jpg", "width": 8, "height": 6}
    (folder / "a" / "cup.json").write_text(json.dumps({"image": image, "annotations": []}))
    assert names(photo_set([folder], dataset="sa1b")) == [("a/cup", "cup.jpg", 77)]
    shapes = {"shapes": [], "imagePath": "../cup.jpg"}
    (folder / "a" / "cup.json").write_text(json.dumps(shapes))
    assert names(photo_set([folder], dataset="labelme")) == [("cup", "cup.jpg", None)]


def test_two_data_sets_that_number_alike_are_told_apart(folder):
    for name in ("cup.jpg", "a/cup.png"):
        image = {"id": 3, "file_name": name.rpartition("/")[2]}
        path = (folder / name).with_suffix(".json")
        path.write_text(json.dumps({"images": [image], "annotations": []}))
    with pytest.raises(TruthError, match="two photos have the number 3"):
        photo_set([folder / "cup.json", folder / "a" / "cup.json"])


@pytest.mark.parametrize(
    ("sources", "dataset", "error", "message"),
    [
        (["."], None, ImageError, "there are no photos"),
        (["*.jpg"], None, ImageError, "matches no file"),
        (["-"], None, ImageError, "no photo of a set"),
        (["photo/"], None, ImageError, "photo/ is not there"),
        (["."], "voc", ArgumentError, "coco, sa1b, labelme"),
        (["."], "sa1b", TruthError, "no .json files"),
        (["."], "coco", TruthError, "0 .json files"),
    ],
)
def test_what_holds_no_photos_is_refused(tmp_path, monkeypatch, sources, dataset, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        photo_set(sources, dataset=dataset)


def test_a_name_that_no_file_can_have_is_a_photo_that_is_not_there(folder):
    (folder / "b.txt").write_text("a/x\0y.jpg\n", encoding="utf-8")
    assert len(photo_set([folder / "b.txt"], out=folder / "out").items) == 1
