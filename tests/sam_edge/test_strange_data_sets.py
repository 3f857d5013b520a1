"""Whose boxes they are, and data sets of which some of the content is bad, or none is good."""

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

import sam_edge
from sam_edge.detections import (
    Detection,
    DetectionError,
    segment_boxes,
)
from sam_edge.evaluation.scores import evaluate
from sam_edge.evaluation.truth import TruthError, read_coco, read_sa1b, segmentation_mask
from sam_edge.masks import decode_rle
from sam_edge.prompt_files.coco import DetectionFile, read_detections
from sam_edge.prompts import Box
from tests.sam_edge.known import model_of


def encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 16, 16), np.float32)}


def decode(feeds):
    """Fill each box, or a square around each click."""
    coords, labels = feeds["point_coords"], feeds["point_labels"]
    is_box = (labels[:, -1] == 3)[:, None]
    low = np.where(is_box, coords[:, 0], coords[:, 0] - 8)[:, :, None, None, None]
    high = np.where(is_box, coords[:, -1], coords[:, 0] + 8)[:, :, None, None, None]
    y, x = np.mgrid[:64, :64] * 4 + 2
    across = np.minimum(x - low[:, 0], high[:, 0] - x)
    down = np.minimum(y - low[:, 1], high[:, 1] - y)
    masks = np.repeat(np.minimum(across, down), 4, axis=1).astype(np.float32)
    return {"low_res_masks": masks, "iou_predictions": np.full((len(labels), 4), 0.5, np.float32)}


@pytest.fixture
def model():
    return model_of(encode, decode)


def saved(path, content):
    path.write_text(json.dumps(content))
    return path


def box_of(image_id, *xywh, **more):
    return {"image_id": image_id, "category_id": 1, "bbox": list(xywh or (1, 2, 3, 4)), **more}


def data_set(*names, **more):
    """Return a data set of photos with those names; the N-th one's box starts at N, N."""
    return {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [box_of(number, number, number, 5, 5) for number in range(len(names))],
        **more,
    }


@pytest.mark.parametrize(
    ("names", "photo", "expected"),
    [
        (["a/1.jpg", "b/1.jpg"], "/data/b/1.jpg", 1),
        (["a/1.jpg", "b/1.jpg"], "/data/a/1.jpg", 0),
        (["x/a/1.jpg", "y/a/1.jpg", "1.jpg"], "/data/y/a/1.jpg", 1),
        (["a\\1.jpg", "b\\1.jpg"], "/data/b/1.jpg", 1),
        (["C:\\photos\\a\\1.jpg", "C:\\photos\\b\\1.jpg"], "/photos/b/1.jpg", 1),
        (["./b/./1.jpg", "a/1.jpg"], "b/1.jpg", 0),
        (["2.jpg", "val/1.jpg"], "/elsewhere/1.jpg", 1),
    ],
)
def test_a_photo_is_found_by_the_tail_of_its_path(tmp_path, names, photo, expected):
    path = saved(tmp_path / "boxes.json", data_set(*names))
    (detection,) = read_detections(path, Path(photo))
    assert (detection.box.x0, detection.label) == (expected, "cat")


def test_a_path_that_starts_here_has_the_folders_it_is_in(tmp_path, monkeypatch):
    path = saved(tmp_path / "boxes.json", data_set("a/1.jpg", "b/1.jpg"))
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    (detection,) = read_detections(path, Path("1.jpg"))
    assert detection.box.x0 == 1


@pytest.mark.parametrize(
    ("content", "photo", "message"),
    [
        (data_set("other.jpg"), "1.jpg", r"lists no photo named 1\.jpg \(it lists other\.jpg\)"),
        (data_set("1.JPG"), "1.jpg", "lists no photo named"),
        (data_set(), "1.jpg", "it lists none"),
        (data_set("a/1.jpg", "b/1.jpg"), "/c/1.jpg", r"more than one .*: a/1\.jpg, b/1\.jpg"),
        (data_set("1.jpg", "1.jpg"), "1.jpg", "more than one photo"),
        (
            data_set(images=[{"id": 1, "file_name": "1.jpg"}, {"id": 1, "file_name": "2.jpg"}]),
            "1.jpg",
            r"gives the id 1 of 1\.jpg to another photo",
        ),
        ([box_of(17)], "street.jpg", "no image_id that names street"),
        ([box_of("other.jpg")], "1.jpg", "no image_id that names"),
        ([box_of(12)], "a1b2.jpg", "no image_id that names"),
        ([box_of(1), box_of("1.jpg")], "1.jpg", "more than one image_id"),
        ([], "1.jpg", "it has none"),
    ],
)
def test_boxes_of_another_photo_are_refused(tmp_path, content, photo, message):
    path = saved(tmp_path / "boxes.json", content)
    with pytest.raises(DetectionError, match=message) as caught:
        read_detections(path, Path(photo))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image_id", "photo"),
    [
        (139, "000000000139.jpg"),
        (139, "COCO_val2014_000000000139.jpg"),
        (7, "photo_7.png"),
        ("street", "street.jpg"),
        ("street.jpg", "a/street.jpg"),
        ("000139", "139.jpg"),
        (0, "frame_000.png"),
    ],
)
def test_a_list_of_results_names_a_photo_by_name_or_number(tmp_path, image_id, photo):
    path = saved(tmp_path / "boxes.json", [box_of(image_id), box_of("another")])
    assert len(read_detections(path, Path(photo))) == 1


def test_a_data_set_for_a_photo_of_another_size_is_refused(tmp_path):
    content = data_set("1.jpg")
    content["images"][0].update(height=480, width=640)
    path = saved(tmp_path / "boxes.json", content)
    assert read_detections(path, Path("1.jpg"), (480, 640))
    with pytest.raises(DetectionError, match="of 640 x 480 pixels, the photo has 480 x 640"):
        read_detections(path, Path("1.jpg"), (640, 480))


BAD_BOXES = [
    {},
    None,
    [],
    5,
    box_of(0, 1, 2, 3),
    box_of(0, 1, 2, 0, 4),
    box_of(0, 1, 2, -3, 4),
    box_of(0, 1e308, 1, 1e308, 1),
    box_of(0, "1", 2, 3, 4),
    box_of(0, None, 2, 3, 4),
    box_of(0, True, 2, 3, 4),
    box_of(0, [1], 2, 3, 4),
    {"image_id": 0, "bbox": "1234"},
    {"image_id": 0, "bbox": None},
    {"image_id": 0},
    {"image_id": None, "bbox": [1, 2, 3, 4]},
    {"image_id": [0], "bbox": [1, 2, 3, 4]},
    {"image_id": 1.5, "bbox": [1, 2, 3, 4]},
    {**box_of(0), "category_id": {}},
    {**box_of(0), "category_id": [1]},
    {**box_of(0), "score": "high"},
    {**box_of(0), "score": True},
    {**box_of(0), "id": [1]},
]


@pytest.mark.parametrize("bad", BAD_BOXES, ids=str)
def test_a_bad_box_is_named_and_the_others_are_read(tmp_path, bad):
    good = box_of(0, 9, 9, 5, 5)
    path = saved(tmp_path / "boxes.json", data_set("1.jpg", annotations=[good, bad, good]))
    skipped = []
    detections = read_detections(path, Path("1.jpg"), skip=skipped.append)
    assert [detection.box for detection in detections if detection.box] == [Box(9, 9, 14, 14)] * 2
    (line,) = skipped
    assert line.startswith(f"{path}, box 1: ")
    assert "\n" not in line
    with pytest.raises(DetectionError, match="box 1"):
        read_detections(path, Path("1.jpg"))


@pytest.mark.parametrize(
    ("section", "bad"),
    [
        ("images", None),
        ("images", {"id": 3}),
        ("images", {"id": 3, "file_name": None}),
        ("images", {"id": 3, "file_name": ""}),
        ("images", {"id": [], "file_name": "a"}),
        ("categories", 7),
        ("categories", {"id": 3}),
        ("categories", {"id": {}, "name": "a"}),
        ("categories", {"id": 3, "name": None}),
    ],
    ids=str,
)
def test_a_bad_photo_or_category_is_named_and_the_rest_is_read(tmp_path, section, bad):
    content = data_set("1.jpg")
    content[section].append(bad)
    path = saved(tmp_path / "boxes.json", content)
    skipped = []
    assert read_detections(path, Path("1.jpg"), skip=skipped.append)
    assert len(skipped) == 1


FIELDS = ["images", "annotations", "categories", "image", "id", "image_id", "file_name", "height"]
FIELDS += ["width", "bbox", "segmentation", "size", "counts", "name", "iscrowd"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**63 - 1) | st.text(max_size=3) | st.floats(0, 9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
IMAGE = {"id": 1, "image_id": 1, "file_name": "1.png", "height": 40, "width": 50}
ANNOTATION = {
    "id": 1,
    "image_id": 1,
    "category_id": 1,
    "iscrowd": 0,
    "bbox": [5, 5, 20, 20],
    "segmentation": [[5, 5, 25, 5, 25, 25]],
}


@st.composite
def nearly_coco(draw):
    """A data set of which a few fields are anything."""
    image, annotation, category = dict(IMAGE), dict(ANNOTATION), {"id": 1, "name": "cat"}
    content = {
        "image": image,
        "images": [image],
        "annotations": [annotation, dict(ANNOTATION)],
        "categories": [category],
    }
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([content, image, annotation, category]))
        place[draw(st.sampled_from(sorted(place)))] = draw(JSON)
    return content


@settings(max_examples=300, deadline=None)
@given(JSON | nearly_coco(), st.booleans())
def test_a_file_of_any_json_is_read_or_refused(tmp_path_factory, content, skips):
    folder = tmp_path_factory.mktemp("any")
    path = saved(folder / "any.json", content)
    skipped = []
    skip = skipped.append if skips else None

    def objects(read):
        return [list(photo.objects(skip=skip)) for photo in read(folder, skip=skip)]

    for read in (
        lambda: read_detections(path, Path("1.png"), (40, 50), skip=skip),
        lambda: objects(read_coco),
        lambda: objects(read_sa1b),
    ):
        try:
            read()
        except sam_edge.SamEdgeError as error:
            skipped.append(str(error))
    assert all("\n" not in line and len(line) < 400 for line in skipped)


def test_deep_json_names_its_file(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(sam_edge.SamEdgeError, match=r"deep\.json"):
        read_detections(path, Path("1.png"))


def test_boxes_outside_the_photo_are_skipped_and_the_rest_keep_their_order(model):
    embedding = model.encode_image(np.zeros((100, 200, 3), np.uint8))
    boxes = [Box(10, 10, 60, 60), Box(300, 10, 310, 20), Box(120, 20, 180, 80)]
    detections = [Detection(box, str(number)) for number, box in enumerate(boxes)]
    skipped = []
    masks = segment_boxes(model, embedding, detections, skip=skipped.append)
    assert [mask.label for mask in masks] == ["0", "2"]
    assert [mask.box[0] for mask in masks] == pytest.approx([10, 120], abs=2)
    assert skipped == ["box 300,10,310,20 lies outside the photo, which is 200 x 100"]
    with pytest.raises(sam_edge.SamEdgeError, match="outside"):
        segment_boxes(model, embedding, detections)


def test_masks_of_many_boxes_are_never_held_together(model):
    side = 1000
    embedding = model.encode_image(np.zeros((side, side, 3), np.uint8))
    detections = [Detection(Box(n, n, n + 100, n + 100)) for n in range(100)]
    tracemalloc.start()
    try:
        masks = segment_boxes(model, embedding, detections, memory_limit=1)
        assert tracemalloc.get_traced_memory()[1] < 30 * side**2
    finally:
        tracemalloc.stop()
    assert len(masks) == 100
    assert decode_rle(masks[99].rle)[150, 150]


def coco_folder(tmp_path, annotations, images=None):
    Image.new("RGB", (50, 40)).save(tmp_path / "1.png")
    content = {"images": [IMAGE] if images is None else images, "annotations": annotations}
    saved(tmp_path / "instances.json", content)
    return tmp_path


BAD_MASKS = [
    {**ANNOTATION, "segmentation": segmentation}
    for segmentation in (
        None,
        5,
        "abc",
        [None],
        [[1, 2, 3]],
        [["1", 2, 3, 4, 5, 6]],
        [[1, None, 3, 4, 5, 6]],
        [[0, 0, 1e308, 0, 5, 5]],
        [[0, 0, 1e12, -1e12, 5, 5]],
        {},
        {"size": [40, 50]},
        {"size": [40, 50], "counts": None},
        {"size": [50, 40], "counts": [2000]},
        {"size": [40, 50], "counts": [1999]},
        {"size": [40, 50], "counts": [2000.0]},
        {"size": [40, 50], "counts": "abc"},
        {"size": [10**9, 10**9], "counts": [10**18]},
        {"size": 5, "counts": []},
    )
] + [{**ANNOTATION, "bbox": [500, 5, 10, 10]}, {**ANNOTATION, "bbox": None}]


@pytest.mark.parametrize("bad", BAD_MASKS, ids=lambda bad: str(bad)[88:130])
def test_a_bad_annotation_is_named_and_the_others_count(model, tmp_path, bad):
    folder = coco_folder(tmp_path, [ANNOTATION, {**bad, "id": 2}, {**ANNOTATION, "id": 3}])
    skipped = []
    scores = evaluate(model, read_coco(folder, skip=skipped.append), skip=skipped.append)
    assert len(scores) == 2
    (line,) = skipped
    assert line.startswith("1.png, annotation 2: ")
    assert "\n" not in line
    with pytest.raises(TruthError, match="annotation 2"):
        evaluate(model, read_coco(folder))


def test_photos_that_cannot_be_read_are_named_and_the_others_count(model, tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "wide.png")
    (tmp_path / "broken.png").write_bytes(b"junk")
    names = ["missing.png", "broken.png", "wide.png", "1.png"]
    images = [{**IMAGE, "id": number, "file_name": name} for number, name in enumerate(names)]
    annotations = [{**ANNOTATION, "image_id": number} for number in range(4)]
    folder = coco_folder(tmp_path, annotations, images)
    skipped, done = [], []
    photos = read_coco(folder, skip=skipped.append)
    scores = evaluate(model, photos, lambda *count: done.append(count), skip=skipped.append)
    assert [score.photo for score in scores] == ["1.png"]
    assert [name in line for name, line in zip(names, skipped, strict=False)] == [True] * 3
    assert done[-1] == (4, 4)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        {**IMAGE, "height": -1},
        {**IMAGE, "width": 10**12},
        {**IMAGE, "height": None},
        {**IMAGE, "height": 40.5},
        {**IMAGE, "height": True},
        {**IMAGE, "height": 10**6, "width": 10**6},
        {**IMAGE, "file_name": 5},
        {**IMAGE, "id": []},
        IMAGE,
    ],
    ids=str,
)
def test_a_bad_photo_of_a_data_set_is_named_and_the_others_are_read(tmp_path, bad):
    other = {**IMAGE, "id": 2, "file_name": "2.png"}
    annotations = [ANNOTATION, {**ANNOTATION, "image_id": 2}]
    images = [IMAGE, other, bad] if bad is IMAGE else [other, bad]
    skipped = []
    photos = read_coco(
        coco_folder(tmp_path, annotations, images),
        tmp_path / "instances.json",
        tmp_path,
        skip=skipped.append,
    )
    assert photos[-1].path.name == "2.png"
    assert len(skipped) == 1


def test_a_bad_file_of_sa1b_is_named_and_the_others_are_read(tmp_path):
    saved(tmp_path / "good.json", {"image": IMAGE, "annotations": [ANNOTATION]})
    for number, bad in enumerate([[], {}, {"image": None, "annotations": []}, {"image": IMAGE}]):
        saved(tmp_path / f"bad{number}.json", bad)
    (tmp_path / "bad4.json").write_bytes(b"\xff\xfe{")
    skipped = []
    (photo,) = read_sa1b(tmp_path, skip=skipped.append)
    assert photo.path.name == "1.png"
    assert [f"bad{number}.json" in line for number, line in enumerate(skipped)] == [True] * 5


def test_a_photo_that_is_in_two_folders_wants_a_choice(tmp_path):
    for folder in ("val", "thumbnails"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (50, 40)).save(tmp_path / folder / "7.png")
    image = {**IMAGE, "file_name": "7.png"}
    saved(tmp_path / "instances.json", {"images": [image], "annotations": [ANNOTATION]})
    with pytest.raises(TruthError, match=r"'7\.png' and the like are in 2 folders .* --images"):
        read_coco(tmp_path)
    (photo,) = read_coco(tmp_path, images=tmp_path / "val")
    assert photo.path.is_file()


def test_windows_paths_and_a_missing_first_photo_do_not_hide_the_folder(tmp_path):
    (tmp_path / "photos" / "val").mkdir(parents=True)
    Image.new("RGB", (50, 40)).save(tmp_path / "photos" / "val" / "7.png")
    images = [{**IMAGE, "id": number, "file_name": f"val\\{number}.png"} for number in (5, 7)]
    annotations = [{**ANNOTATION, "image_id": number} for number in (5, 7)]
    saved(tmp_path / "instances.json", {"images": images, "annotations": annotations})
    assert read_coco(tmp_path)[1].path == tmp_path / "photos" / "val" / "7.png"


def test_a_coco_file_whose_run_lengths_wrap_around_does_not_end_the_process(tmp_path):
    counts = [2**62, 2**62, 2**62, 2**62 + 2000]
    bad = {**ANNOTATION, "segmentation": {"size": [40, 50], "counts": counts}}
    folder = coco_folder(tmp_path, [bad])
    code = f"""
from pathlib import Path
from sam_edge.evaluation.truth import TruthError, read_coco
(photo,) = read_coco(Path({str(folder)!r}))
try: list(photo.objects())
except TruthError as error: print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert "run lengths of a 40 x 50 mask lie between 0 and 2000" in run.stdout


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_thousands_of_polygons_are_filled_at_once():
    polygons = [[n % 900, n // 9, n % 900 + 30, n // 9, n % 900, n // 9 + 30] for n in range(3000)]
    start = time.process_time()
    mask = segmentation_mask(polygons, (1000, 1000))
    assert time.process_time() - start < 5  # one by one they take twenty milliseconds each
    merged = coco.merge(coco.frPyObjects(polygons, 1000, 1000))
    assert np.array_equal(mask, coco.decode(merged))


def test_photos_that_a_file_cannot_tell_apart_are_refused_before_any_work(tmp_path):
    path = tmp_path / "detections.json"
    path.write_text(json.dumps([{"image_id": "a", "category_id": 1, "bbox": [1, 1, 5, 5]}]))
    detections = DetectionFile.read(path)
    detections.check_apart([Path("one/a.jpg"), Path("one/b.jpg")])
    with pytest.raises(DetectionError, match=r"cannot tell one/a\.jpg from two/a\.png"):
        detections.check_apart([Path("unnamed.jpg"), Path("one/a.jpg"), Path("two/a.png")])


def test_thousands_of_photos_find_their_boxes_at_once(tmp_path):
    path = tmp_path / "detections.json"
    entry = {"category_id": 1, "bbox": [1, 1, 5, 5]}
    path.write_text(json.dumps([{"image_id": number, **entry} for number in range(20_000)]))
    began = time.monotonic()
    photos = [Path(f"{number:012}.jpg") for number in range(20_000)]
    DetectionFile.read(path).check_apart(photos)
    assert time.monotonic() - began < 20  # comparing each with each took half an hour


def test_a_listed_photo_in_which_the_detector_found_nothing_has_no_boxes(tmp_path):
    path = tmp_path / "detections.json"
    image = {"id": 1, "file_name": "a.jpg", "height": 8, "width": 8}
    path.write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
    assert DetectionFile.read(path).prompts_of(Path("a.jpg")).at((8, 8), "a.jpg") == []


def test_truths_are_no_run_lengths():
    with pytest.raises(ValueError, match="whole numbers"):
        decode_rle({"size": [2, 2], "counts": [True, False, 3]})
