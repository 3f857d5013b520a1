"""Every kind of file that says what is where: the same box out of each, and what is bad named."""

import json

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.cli import main
from sam_edge.detections import DetectionError, UnnamedPhotoError, segment_boxes
from sam_edge.prompt_files import read_prompt_file
from sam_edge.prompts import Box

SIZE = (100, 200)
BOX = Box(20, 10, 100, 60)


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco(folder):
    entry = {"image_id": 7, "bbox": [20, 10, 80, 50], "category_id": 3, "score": 0.5}
    image = {"id": 7, "file_name": "a/cat.jpg", "width": 200, "height": 100}
    categories = [{"id": 3, "name": "cat"}]
    content = {"images": [image], "annotations": [entry], "categories": categories}
    return save(folder / "coco.json", content)


def detectron2_instances(folder):
    entry = {"image_id": "cat", "bbox": [20, 10, 80, 50], "category_id": 3, "score": 0.5}
    return save(folder / "p.json", [{"image_id": "cat", "instances": [entry]}])


def detectron2_dictionaries(folder):
    entry = {"bbox": [20, 10, 100, 60], "bbox_mode": 0, "category_id": 3, "score": 0.5}
    photo = {"file_name": "/data/a/cat.jpg", "image_id": 7, "height": 100, "width": 200}
    return save(folder / "d.json", [{**photo, "annotations": [entry]}])


def yolo(folder):
    save(folder / "data.yaml", "path: .\nnames:\n  3: cat  # the pet\n  4: 'a dog'\n")
    save(folder / "labels" / "a" / "cat.txt", "3 0.3 0.35 0.4 0.5 0.5\n")
    return folder / "labels"


def yolo_polygon(folder):
    save(folder / "classes.txt", "x\ny\nz\ncat\n")
    return save(folder / "cat.txt", "3 0.1 0.1 0.5 0.1 0.5 0.6 0.3 0.5 0.5\n")


def table(folder):
    text = "image,xmin,ymin,xmax,ymax,confidence,class,name\na/cat.jpg,20,10,100,60,0.5,3,cat\n"
    return save(folder / "boxes.csv", text)


def table_of_sides(folder):
    return save(
        folder / "boxes.tsv",
        "file_name\tx\ty\tw\th\tlabel\tscore\nb/cat.jpg\t0\t0\t1\t1\tdog\t1\n"
        "a/cat.jpg\t20\t10\t80\t50\tcat\t0.5\n",
    )


def lines(folder):
    entry = {"image": "a/cat.jpg", "box": [20, 10, 100, 60], "label": "cat", "score": 0.5}
    return save(folder / "boxes.jsonl", json.dumps(entry) + "\n\n")


def lines_of_photos(folder):
    entry = {"box": [20, 10, 100, 60], "points": [], "labels": [], "label": "cat", "score": 0.5}
    photos = [{"image": "cat.jpg", "objects": [entry]}, {"image": "dog.jpg", "objects": []}]
    return save(folder / "boxes.jsonl", "".join(json.dumps(photo) + "\n" for photo in photos))


KINDS = [
    *(coco, detectron2_instances, detectron2_dictionaries, yolo, yolo_polygon),
    *(table, table_of_sides, lines, lines_of_photos),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_box(tmp_path, kind):
    found = read_prompt_file(kind(tmp_path))
    (detection,) = found.prompts_of(tmp_path / "a" / "cat.jpg").at(SIZE, "cat.jpg")
    assert tuple(map(round, vars_of(detection.box))) == vars_of(BOX)
    named = kind not in (detectron2_instances, detectron2_dictionaries)
    assert detection.label == ("cat" if named else "3")
    assert detection.coco.score == 0.5
    np.testing.assert_allclose(detection.coco.bbox, (20, 10, 80, 50))


def vars_of(box):
    return box.x0, box.y0, box.x1, box.y1


def shape(kind, points, label="cat", group=None):
    return {"label": label, "points": points, "shape_type": kind, "group_id": group}


def test_labelme_shapes_are_boxes_and_points(tmp_path):
    shapes = [
        shape("rectangle", [[100, 60], [20, 10]]),
        shape("polygon", [[20, 10], [100, 30], [50, 60]]),
        shape("circle", [[50, 50], [60, 50]], "dog"),
        shape("point", [[5, 6]], "dog", 1),
        shape("point", [[7, 8]], "dog", 1),
    ]
    content = {"version": "5", "flags": {}, "shapes": shapes, "imagePath": "..\\photos\\cat.jpg"}
    save(tmp_path / "labels" / "cat.json", {**content, "imageHeight": 100, "imageWidth": 200})
    save(tmp_path / "labels" / "other.json", {"images": []})
    found = read_prompt_file(tmp_path / "labels")
    assert [category["name"] for category in found.categories.values()] == ["cat", "dog"]
    prompts = found.prompts_of(tmp_path / "photos" / "cat.jpg")
    first, outline, circle, points = prompts.at(SIZE, "cat.jpg")
    assert first.box == outline.box == BOX
    assert circle.box == Box(40, 40, 60, 60)
    assert points.box is None
    assert points.points == ((5.0, 6.0), (7.0, 8.0))
    assert points.coco.category == {"id": 2, "name": "dog", "supercategory": ""}
    with pytest.raises(DetectionError, match="200 x 100 pixels"):
        prompts.at((200, 200), "cat.jpg")


def test_rows_of_one_object_are_one_prompt(tmp_path):
    text = (
        "image,object,x0,y0,x1,y1,point_x,point_y,point_label\n"
        "cat.jpg,1,20,10,100,60,,,\ncat.jpg,1,,,,,30,20,1\ncat.jpg,1,,,,,40,20,0\n"
        "cat.jpg,2,,,,,50,20,\n"
    )
    found = read_prompt_file(save(tmp_path / "boxes.csv", text))
    one, two = found.prompts_of(tmp_path / "cat.jpg").at(SIZE, "cat.jpg")
    assert one.box == BOX
    assert one.points == ((30.0, 20.0), (40.0, 20.0))
    assert one.point_labels == (1, 0)
    assert (two.box, two.points, two.coco) == (None, ((50.0, 20.0),), None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "cat.jpg,1,2,3,4\n", "first line must name the columns"),
        ("a.csv", "image,x0,y0,x1,y1\ncat.jpg,1,2,3\n", "line 2: it has 4 cells, the header 5"),
        ("a.csv", "image,x0,y0,x1,y1\ncat.jpg,1,2,x,4\n", "line 2: x1 must be a number, got 'x'"),
        ("a.csv", "image,x0,y0,x1,y1\ncat.jpg,5,2,3,4\n", "line 2: a box needs x0 < x1"),
        ("a.csv", "image,x0,y0,x1,y1\ncat.jpg,,,,\n", "line 2"),
        ("a.jsonl", '{"image": "cat.jpg"', "line 1: line 1 is not JSON"),
        ("a.jsonl", '{"image": "cat.jpg"}', "line 1: there is no 'box'"),
        ("a.jsonl", '{"image": "cat.jpg", "points": [[1, 2]], "labels": []}', "labels must be 1"),
        ("a.jsonl", '{"image": "cat.jpg", "objects": [4]}', "expected an object, got 4"),
        ("cat.txt", "1 0.5 0.5 0.1\n", "line 1: expected CLASS X Y WIDTH HEIGHT"),
        ("cat.txt", "cup 0.5 0.5 0.1 0.1\n", "line 1: expected CLASS X Y WIDTH HEIGHT"),
        ("cat.txt", "1 0.5 0.5 nan 0.1\n", "line 1: expected CLASS X Y WIDTH HEIGHT"),
        ("cat.json", {"shapes": [{"label": 1}], "imagePath": "cat.jpg"}, "shape 0: label must"),
    ],
)
def test_what_is_bad_is_named_with_its_line(tmp_path, name, content, message):
    path = save(tmp_path / name, content)
    with pytest.raises(DetectionError, match=message) as caught:
        read_prompt_file(path).prompts_of(tmp_path / "cat.jpg")
    assert str(path) in str(caught.value)


def test_a_bad_row_is_skipped_and_the_others_stay(tmp_path):
    rows = "image,x0,y0,x1,y1\ncat.jpg,20,10,100,60\ncat.jpg,1,1,1,1\ncat.jpg,0,0\n"
    skipped = []
    found = read_prompt_file(save(tmp_path / "a.csv", rows), skip=skipped.append)
    assert len(found.prompts_of(tmp_path / "cat.jpg", skip=skipped.append).detections) == 1
    assert len(skipped) == 2


def test_a_bad_photo_of_coco_and_a_bad_shape_of_labelme_are_skipped_and_the_others_stay(tmp_path):
    skipped = []
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    found = read_prompt_file(
        save(path, {**content, "images": [{"id": 1}, *content["images"]]}), skip=skipped.append
    )
    assert len(found.prompts_of(tmp_path / "cat.jpg").detections) == 1
    good = {"label": "cat", "shape_type": "rectangle", "points": [[20, 10], [100, 60]]}
    shapes = [{**good, "points": [[1, 1], [1, 1]]}, good]
    path = save(tmp_path / "lm" / "cat.json", {"imagePath": "cat.jpg", "shapes": shapes})
    found = read_prompt_file(path.parent)
    assert len(found.prompts_of(tmp_path / "cat.jpg", skip=skipped.append).detections) == 1
    assert [reason.split(",")[0] for reason in skipped] == [f"{tmp_path}/coco.json", str(path)]


@pytest.mark.parametrize("kind", [table, lines, yolo])
def test_a_photo_that_is_not_named_is_told_from_a_bad_file(tmp_path, kind):
    found = read_prompt_file(kind(tmp_path))
    with pytest.raises(UnnamedPhotoError, match="nothing of dog"):
        found.prompts_of(tmp_path / "dog.jpg")
    assert found.check_apart([tmp_path / "dog.jpg", tmp_path / "a" / "cat.jpg"]) == 1
    with pytest.raises(DetectionError, match="cannot tell"):
        found.check_apart([tmp_path / "a" / "cat.jpg", tmp_path / "x" / "a" / "cat.jpg"])


@pytest.mark.parametrize(
    "text",
    [
        "nc: 2\nnames: ['cat', \"a \\u0064og\"] # two\n",
        "names:\n- cat\n- a dog\nnc: 2\n",
        'names:\n    0: cat\n    1: "a dog"\ntrain: x\n',
        "names: [cat,\n  a dog]\n",
    ],
)
def test_class_names_are_read_in_every_way_that_ultralytics_writes(tmp_path, text):
    save(tmp_path / "cat.txt", "1 0.5 0.5 0.5 0.5\n")
    classes = save(tmp_path / "other.yaml", text)
    found = read_prompt_file(tmp_path / "cat.txt", classes=classes)
    assert {number: entry["name"] for number, entry in found.categories.items()} == {
        0: "cat",
        1: "a dog",
    }


def test_a_lone_point_gets_the_best_of_three_as_segment_gives_it(tmp_path):
    model = sam_edge.load_model()
    pixels = np.full((*SIZE, 3), 200, np.uint8)
    pixels[30:70, 60:140] = (160, 30, 30)
    embedding = model.encode_image(pixels)
    line = {"image": "cat.jpg", "points": [[100, 50]], "labels": [1]}
    found = read_prompt_file(save(tmp_path / "a.jsonl", line))
    (mask,) = segment_boxes(model, embedding, found.prompts_of(tmp_path / "cat.jpg").at(SIZE, ""))
    three = model.decode(embedding, points=[(100, 50)])
    assert mask.predicted_iou == three.scores.max()
    assert mask.area == three.best.sum()
    assert mask.points == [[100.0, 50.0]]


def test_everything_reads_yolo_and_names_its_classes(tmp_path):
    Image.fromarray(np.full((*SIZE, 3), 200, np.uint8)).save(tmp_path / "cat.png")
    labels = yolo(tmp_path)
    out = tmp_path / "out.json"
    words = ["everything", str(tmp_path / "cat.png"), "--prompts", str(labels)]
    assert main([*words, "--format", "coco", "-o", str(out)]) == 0
    content = json.loads(out.read_text())
    assert content["categories"] == [{"id": 3, "name": "cat", "supercategory": ""}]
    (annotation,) = content["annotations"]
    np.testing.assert_allclose(annotation["bbox"], (20, 10, 80, 50))
    assert annotation["score"] == 0.5


def test_a_trackers_line_is_no_triangle(tmp_path):
    skipped = []
    path = save(tmp_path / "cat.txt", "3 0.4 0.4 0.3 0.4 0.9 7\n3 0.1 0.1 0.5 0.1 0.5 1.0\n")
    found = read_prompt_file(path).prompts_of(tmp_path / "cat.jpg", skip=skipped.append)
    assert [detection.box for detection in found.detections] == [Box(0.1, 0.1, 0.5, 1.0)]
    (problem,) = skipped
    assert "line 1" in problem
    assert "a tracker's numbers are not read" in problem
