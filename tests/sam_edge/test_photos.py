"""Which photos a command line names, and what their outputs are called."""

from pathlib import Path

import pytest
from PIL import Image

from sam_edge.errors import ImageError
from sam_edge.photos import Photo, distinct_labels, photos_in, photos_of


@pytest.fixture
def shots(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("shots/empty").mkdir(parents=True)
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt", "odd[1].png"):
        Path("shots", name).write_bytes(b"")
    Path("shots/folder.png").mkdir()
    return Path("shots")


def paths(*words):
    return [photo.path and str(photo.path) for photo in photos_of(words)]


def test_a_folder_stands_for_its_photos_sorted_and_without_hidden_ones(shots):
    assert paths("shots") == ["shots/a.png", "shots/b.JPG", "shots/odd[1].png"]
    assert photos_in(shots) == [Path(path) for path in paths("shots")]


def test_a_pattern_that_no_shell_expanded_is_expanded(shots):
    assert paths("shots/?.*") == ["shots/a.png", "shots/b.JPG"]
    assert paths("**/a.png") == ["shots/a.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(shots):
    assert paths("shots/odd[1].png") == ["shots/odd[1].png"]


def test_a_photo_named_twice_is_taken_once(shots):
    assert paths("shots/a.png", "-", "./shots/a.png", "-", "shots/../shots/a.png") == [
        "shots/a.png",
        None,
    ]


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("", "name is empty"),
        ("shots/empty", "shots/empty has no photos"),
        ("shots/*.webp", "matches no file"),
    ],
)
def test_what_names_no_photo_is_refused(shots, word, words):
    with pytest.raises(ImageError, match=words):
        photos_of([word])


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cup.jpg", "d/tea.png"], ["cup", "tea"]),
        (["cup.jpg", "cup.png"], ["cup.jpg", "cup.png"]),
        (["a/cup.jpg", "b/cup.jpg", "b/tea.jpg"], ["a-cup.jpg", "b-cup.jpg", "tea"]),
        (["a/x/cup.jpg", "b/x/cup.jpg"], ["a-x-cup.jpg", "b-x-cup.jpg"]),
        (["cup.jpg", "CUP.png"], ["cup.jpg", "CUP.png"]),
        (["a/c.jpg", "b/c.jpg", "a-c.jpg.png"], ["t-a-c.jpg", "b-c.jpg", "a-c.jpg.png"]),
    ],
)
def test_outputs_have_names_of_their_own(names, labels):
    assert distinct_labels([Photo(Path("/t", name)) for name in names]) == labels


def test_even_hostile_names_stay_apart():
    photos = [Photo(Path(name)) for name in ("a-b/c.png", "a/b-c.png", "A/b-c.png", "stdin.jpg")]
    labels = distinct_labels([*photos, Photo(None)])
    assert len({label.casefold() for label in labels}) == 5


def test_names_of_any_bytes_can_be_shown():
    photo = Photo(Path("cup\udcff\x1b[2J\n.png"))
    assert photo.name.encode().decode() == photo.file_name == "cup\ufffd\ufffd[2J\ufffd.png"


def test_a_photo_that_cannot_be_decoded_is_named(tmp_path):
    path = tmp_path / "x.png"
    Image.new("RGB", (40, 40)).save(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ImageError, match=r"x\.png"):
        Photo(path).read()
