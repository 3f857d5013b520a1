"""Annotations are never lost: not to another page, not to a kill, not to a full folder."""

import json
import os
import threading

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")

from sam_edge.cli import main  # noqa: E402
from sam_edge.masks import decode_rle, encode_rle, from_coco_rle, to_coco_rle  # noqa: E402
from tests.sam_edge.server import running  # noqa: E402

SIZE = (300, 451)


def blob(seed, size=SIZE):
    """A rectangle's run lengths."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.bool_)
    top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
    mask[top : top + 40, left : left + 60] = True
    return to_coco_rle(encode_rle(mask))


def objects(count):
    return [{"id": f"o{at}", "label": f"l{at % 3}", "rle": blob(at)} for at in range(count)]


@pytest.fixture
def cat(tmp_path):
    """A server of a folder of one's own: its client, the photo's path and where its objects are."""
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    uploads = tmp_path / "uploads"
    with running.client_in_thread(folder, uploads=uploads) as client:
        photo = running.photo_named(client, "chelsea.jpg")
        yield client, folder / "chelsea.jpg", f"/v1/photos/{photo['id']}/annotations"


def test_what_is_saved_is_loaded_and_lies_beside_the_photo(cat):
    client, photo, path = cat
    empty = client.get(path).json()
    assert (empty["version"], empty["objects"], empty["imported"]) == (0, [], None)
    full = {
        "id": "a",
        "label": "tasse à café",
        "rle": blob(1),
        "score": 0.5,
        "stability": 0.25,
        "prompt": {
            "points": [[1, 2.5]],
            "labels": [0],
            "box": [0, 0, 9, 9],
            "part": [0, 0, 50, 50],
        },
        "extra": {"note": [1, {"x": None}]},
    }
    saved = client.put(path, json={"base_version": 0, "done": True, "objects": [full]})
    assert (saved.status_code, saved.json()) == (200, {"version": 1})
    loaded = client.get(path)
    assert loaded.headers["etag"] == '"1"'
    assert loaded.json()["objects"] == [full]
    assert loaded.json()["done"] is True
    kept = json.loads((photo.parent / "chelsea.jpg.sam-edge.json").read_text(encoding="utf-8"))
    assert kept["objects"] == [full]
    listed = client.get("/v1/photos").json()
    assert listed["labels"] == [{"name": "tasse à café", "count": 1}]
    assert (listed["photos"][0]["objects"], listed["photos"][0]["done"]) == (1, True)


def test_of_two_pages_the_second_is_told_and_nothing_is_lost(cat):
    client, _, path = cat
    first = {"base_version": 0, "objects": objects(2)}
    assert client.put(path, json=first).status_code == 200
    second = client.put(path, json={"base_version": 0, "objects": objects(1)})
    assert second.status_code == 409
    error = second.json()["error"]
    assert (error["code"], error["version"], error["base_version"]) == ("conflict", 1, 0)
    assert "was saved meanwhile" in error["message"]
    assert len(client.get(path).json()["objects"]) == 2


def test_of_many_saves_at_once_one_is_done_and_the_others_are_told(cat):
    client, _, path = cat
    statuses = []

    def save(number):
        with running.client_of(client.base_url) as mine:
            answer = mine.put(path, json={"base_version": 0, "objects": objects(number)})
            statuses.append((answer.status_code, number))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for status, number in statuses if status == 200]
    assert sorted(status for status, _ in statuses) == [200] + [409] * 7
    assert len(client.get(path).json()["objects"]) == winner


def test_two_servers_on_one_folder_are_told_of_each_other(cat, tmp_path):
    client, photo, path = cat
    assert client.put(path, json={"base_version": 0, "objects": objects(1)}).status_code == 200
    with running.opened(photo.parent, cache=tmp_path / "other") as (_, other):
        assert other.get(path).json()["version"] == 1
        assert other.put(path, json={"base_version": 1, "objects": []}).status_code == 200
    assert client.put(path, json={"base_version": 1, "objects": []}).status_code == 409


def test_a_patch_says_only_what_changed(cat):
    client, _, path = cat
    client.put(path, json={"base_version": 0, "objects": objects(4)})
    new = {"id": "new", "rle": blob(9)}
    changed = {"id": "o1", "label": "other", "rle": blob(8)}
    patch = {"base_version": 1, "set": [changed, new], "remove": ["o2"], "done": True}
    assert client.patch(path, json=patch).json() == {"version": 2}
    document = client.get(path).json()
    assert [entry["id"] for entry in document["objects"]] == ["o0", "o1", "o3", "new"]
    assert document["objects"][1]["label"] == "other"
    assert document["done"] is True
    stale = client.patch(path, json={"base_version": 1, "remove": ["o0"]})
    assert stale.status_code == 409
    absent = client.patch(path, json={"base_version": 2, "remove": ["o9"]})
    assert absent.status_code == 404
    assert client.get(path).json() == document


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rle": {"size": [300, 450], "counts": "0"}}, "size"),
        ({"rle": {"size": [300, 451], "counts": "~~~"}}, "run-length"),
        ({"rle": None}, "rle"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"label": "a\nb"}, "label"),
        ({"score": "high"}, "score"),
        ({"prompt": {"points": [[1]]}}, "points"),
        ({"prompt": {"points": [[1, 2]], "labels": [5]}}, "labels"),
        ({"prompt": {"box": [1, 2, 3]}}, "box"),
        ({"prompt": {"part": [1, 2, 3, 4.5]}}, "part"),
        ({"extra": {"x": "y" * 20_000}}, "extra"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_object_that_could_not_be_exported_is_not_saved(cat, change, word):
    client, _, path = cat
    entry = {"id": "a", "label": "cup", "rle": blob(0)} | change
    answer = client.put(path, json={"base_version": 0, "objects": [entry]})
    assert answer.status_code == 400
    assert word in answer.json()["error"]["message"]
    assert client.get(path).json()["version"] == 0


def test_killed_between_saves_the_server_comes_back_with_the_last_one(tmp_path):
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    version, many = 0, objects(1000)
    for number in range(3):
        with running.opened(folder, cache=tmp_path / "cache") as (process, client):
            photo = running.photo_named(client, "chelsea.jpg")
            path = f"/v1/photos/{photo['id']}/annotations"
            seen = client.get(path).json()
            # The killed one may have finished a save whose answer nobody got.
            assert seen["version"] in (version, version + 1)
            version = seen["version"]
            assert len(seen["objects"]) == (1000 if version else 0)
            killer = threading.Timer(1 + 0.13 * number, process.process.kill)
            killer.start()
            try:
                while True:
                    body = {"base_version": version, "objects": many}
                    version = client.put(path, json=body).raise_for_status().json()["version"]
            except httpx.TransportError:
                pass
            killer.join()
    assert version > 3
    assert {"chelsea.jpg", "chelsea.jpg.sam-edge.json"} <= set(os.listdir(folder))


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    (tmp_path / "file").write_text("in the way")
    options = {"uploads": tmp_path, "annotations": tmp_path / "file" / "kept"}
    with running.client_in_thread(folder, **options) as client:
        photo = running.photo_named(client, "chelsea.jpg")
        path = f"/v1/photos/{photo['id']}/annotations"
        answer = client.put(path, json={"base_version": 0, "objects": []})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
        assert "cannot be written" in answer.json()["error"]["message"]


def test_annotations_go_to_the_folder_that_is_named(tmp_path):
    folder = running.copy_photos(tmp_path / "photos", "chelsea.jpg")
    kept = tmp_path / "kept"
    with running.client_in_thread(folder, uploads=tmp_path, annotations=kept) as client:
        photo = running.photo_named(client, "chelsea.jpg")
        path = f"/v1/photos/{photo['id']}/annotations"
        assert client.put(path, json={"base_version": 0, "objects": []}).status_code == 200
        assert client.get(path).json()["version"] == 1
    assert os.listdir(folder) == ["chelsea.jpg"]
    assert len(list(kept.glob("chelsea.jpg-*.sam-edge.json"))) == 1


KEPT = b'{"schema": 1, "version": %s, "done": false, "photo": {"size": %s}, "objects": %s}'


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": 1}',
        b'{"schema": 99, "version": 1}',
        KEPT % (b'"1"', b"[300, 451]", b"[]"),
        KEPT % (b"1", b"[3, 4]", b"[]"),
        KEPT % (b"1", b"5", b"[]"),
        KEPT % (b"1", b"[300, 451]", b"[1]"),
    ],
)
def test_a_damaged_file_is_named_and_never_saved_over(cat, damage):
    client, photo, path = cat
    file = photo.parent / "chelsea.jpg.sam-edge.json"
    file.write_bytes(damage)
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_annotations")
    assert "chelsea.jpg.sam-edge.json" in answer.json()["error"]["message"]
    assert client.put(path, json={"base_version": 0, "objects": []}).status_code >= 400
    assert file.read_bytes() == damage
    assert client.get("/v1/photos").status_code == 200


def test_annotations_behind_a_link_are_neither_read_nor_written(cat, tmp_path):
    client, photo, path = cat
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    (photo.parent / "chelsea.jpg.sam-edge.json").symlink_to(elsewhere)
    assert client.get(path).status_code == 403
    assert client.put(path, json={"base_version": 0, "objects": []}).status_code == 403
    assert elsewhere.read_text() == "{}"


@pytest.mark.parametrize("kind", ["sa1b", "labelme", "coco"])
def test_files_of_other_tools_are_shown_for_correction_and_left_alone(cat, kind):
    client, photo, path = cat
    name = "instances.json" if kind == "coco" else "chelsea.json"
    file = photo.parent / name
    command = ["everything", str(photo), "--points-per-side", "4", "--tolerance", "0"]
    assert main([*command, "--format", kind, "-o", str(file)]) == 0
    before = file.read_bytes()
    assert running.photo_named(client, "chelsea.jpg")["imported"] == kind
    document = client.get(path).json()
    assert document["version"] == 0
    assert document["imported"] == {"format": kind, "file": name, "skipped": 0}
    written = json.loads(before)
    if kind == "labelme":
        groups = {shape["group_id"] for shape in written["shapes"]}
        assert len(document["objects"]) == len(groups)
        exact = photo.parent.parent / "exact.json"
        assert main([*command, "--format", "sa1b", "-o", str(exact)]) == 0
        masks = [entry["segmentation"] for entry in json.loads(exact.read_text())["annotations"]]
        for entry, rle in zip(document["objects"], masks, strict=True):
            one, other = (decode_rle(from_coco_rle(found)) for found in (entry["rle"], rle))
            assert (one & other).sum() / (one | other).sum() > 0.9
    else:
        expected = [entry["segmentation"] for entry in written["annotations"]]
        assert [entry["rle"] for entry in document["objects"]] == expected
    first = document["objects"][0]["id"]
    patch = {"base_version": 0, "remove": [first]}
    assert client.patch(path, json=patch).json() == {"version": 1}
    corrected = client.get(path).json()
    assert corrected["imported"] is None
    assert corrected["objects"] == document["objects"][1:]
    assert file.read_bytes() == before


def test_labelmes_other_shapes_are_read_and_what_is_no_area_is_counted(cat):
    client, photo, path = cat
    shapes = [
        {"label": "box", "points": [[10, 20], [50, 60]], "shape_type": "rectangle"},
        {"label": "round", "points": [[100, 100], [120, 100]], "shape_type": "circle"},
        {"label": "line", "points": [[1, 1], [5, 5]], "shape_type": "line"},
        {"label": "wrong", "points": [[1, "x"]], "shape_type": "polygon"},
        "nothing",
    ]
    (photo.parent / "chelsea.json").write_text(json.dumps({"shapes": shapes, "imagePath": "x"}))
    document = client.get(path).json()
    assert document["imported"]["skipped"] == 3
    box, circle = document["objects"]
    mask = decode_rle(from_coco_rle(box["rle"]))
    assert mask[20:60, 10:50].all()
    assert mask.sum() == 40 * 40
    assert (box["label"], circle["label"]) == ("box", "round")
    assert decode_rle(from_coco_rle(circle["rle"])).sum() == pytest.approx(np.pi * 400, rel=0.05)


def test_a_file_of_another_photo_or_of_nonsense_is_not_shown(cat):
    client, photo, path = cat
    for name, text in (("a.json", "{"), ("b.json", "[]"), ("chelsea.json", '{"shapes": 5}')):
        (photo.parent / name).write_text(text)
    (photo.parent / "c.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "dog.jpg"}], "annotations": []})
    )
    assert client.get(path).json()["objects"] == []
