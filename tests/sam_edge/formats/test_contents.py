"""What stands in each format's files, number by number, for masks that can be checked by eye."""

import numpy as np
import pytest
from PIL import Image

from sam_edge.formats import (
    LabelledMask,
    coco_document,
    draw_everything,
    label_map,
    label_map_picture,
    labelled,
    labelme_document,
    sa1b_document,
    svg_text,
)
from sam_edge.formats.colours import distinct_colours
from sam_edge.formats.label_map import _edges
from sam_edge.formats.records import CocoBox
from sam_edge.masks import decode_rle, encode_rle, to_coco_rle

SIZE = (30, 40)


def rectangle(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def record(mask, label="object", score=0.875, coco=None):
    return LabelledMask(encode_rle(mask), score, 0.75, [[3.5, 4.5]], [0, 0, 40, 30], label, coco)


LARGE, SMALL = record(rectangle(2, 4, 22, 14), "cup"), record(rectangle(5, 6, 8, 10), "ant", 0.5)


def test_sa1b():
    document = sa1b_document([LARGE, SMALL], file_name="a.png", size=SIZE, image_id=7)
    assert document["image"] == {"image_id": 7, "width": 40, "height": 30, "file_name": "a.png"}
    assert document["annotations"] == [
        {
            "id": number,
            "segmentation": to_coco_rle(mask.rle),
            "bbox": box,
            "area": area,
            "predicted_iou": score,
            "stability_score": 0.75,
            "crop_box": [0, 0, 40, 30],
            "point_coords": [[3.5, 4.5]],
        }
        for number, mask, box, area, score in (
            (0, LARGE, [2, 4, 19, 9], 200, 0.875),
            (1, SMALL, [5, 6, 2, 3], 12, 0.5),
        )
    ]


def test_coco_of_points():
    document = coco_document([LARGE, SMALL], file_name="a.png", size=SIZE)
    assert document["images"] == [{"id": 1, "width": 40, "height": 30, "file_name": "a.png"}]
    assert document["categories"] == [
        {"id": 1, "name": "ant", "supercategory": ""},
        {"id": 2, "name": "cup", "supercategory": ""},
    ]
    assert document["annotations"] == [
        {
            "id": number,
            "image_id": 1,
            "category_id": category,
            "segmentation": to_coco_rle(mask.rle),
            "area": area,
            "bbox": box,
            "iscrowd": 0,
            "score": score,
            "predicted_iou": score,
            "stability_score": 0.75,
        }
        for number, category, mask, box, area, score in (
            (1, 2, LARGE, [2, 4, 20, 10], 200, 0.875),
            (2, 1, SMALL, [5, 6, 3, 4], 12, 0.5),
        )
    ]
    empty = coco_document([record(rectangle(0, 0, 0, 0))], file_name="a.png", size=SIZE)
    assert empty["annotations"][0]["bbox"] == [0, 0, 0, 0]


def test_coco_of_a_detector_keeps_its_numbers_and_gives_the_rest_numbers_that_are_free():
    cat = {"id": 4, "name": "cat", "supercategory": "animal", "colour": "grey"}
    boxes = [
        CocoBox(70, (1.5, 2.5, 10.0, 9.0), cat, annotation_id=9, score=0.25),
        CocoBox(70, (3.0, 3.0, 4.0, 4.0), cat, annotation_id=9),
        CocoBox(70, (5.0, 5.0, 6.0, 6.0)),
        None,
    ]
    masks = [record(rectangle(2, 4, 22, 14), "dog", coco=box) for box in boxes]
    document = coco_document(masks, file_name="a.png", size=SIZE)
    assert document["images"][0]["id"] == 70
    assert document["categories"] == [cat, {"id": 5, "name": "dog", "supercategory": ""}]
    found = [
        (entry["id"], entry["category_id"], entry["score"], entry["bbox"], entry["image_id"])
        for entry in document["annotations"]
    ]
    assert found == [
        (9, 4, 0.25, [1.5, 2.5, 10.0, 9.0], 70),
        (10, 4, 0.875, [3.0, 3.0, 4.0, 4.0], 70),  # no two have one number
        (11, 5, 0.875, [5.0, 5.0, 6.0, 6.0], 70),
        (12, 5, 0.875, [2, 4, 20, 10], 70),
    ]
    assert coco_document(masks, file_name="a.png", size=SIZE, image_id=3)["images"][0]["id"] == 3


def test_labelme():
    hole = rectangle(2, 4, 22, 14) & ~rectangle(10, 8, 13, 10)
    parts = rectangle(1, 1, 5, 5) | rectangle(20, 20, 30, 25) | rectangle(35, 2, 36, 5)
    document = labelme_document(
        [record(hole, "cup"), record(parts, "pair\n", 0.5)], file_name="../a.png", size=SIZE
    )
    shapes = document.pop("shapes")
    assert document == {
        "version": "5.5.0",
        "flags": {},
        "imagePath": "../a.png",
        "imageData": None,
        "imageHeight": 30,
        "imageWidth": 40,
    }
    assert [shape["group_id"] for shape in shapes] == [0, 1, 1]
    assert [shape["label"] for shape in shapes] == ["cup", "pair\ufffd", "pair\ufffd"]
    assert {(shape["shape_type"], shape["mask"]) for shape in shapes} == {("polygon", None)}
    assert [shape["flags"] for shape in shapes] == [{}] * 3
    assert "0.875" in shapes[0]["description"]
    assert "left out" not in shapes[0]["description"]
    assert shapes[1]["description"].endswith("left out: 1")  # the part of three pixels
    corners = [sorted(map(tuple, shape["points"])) for shape in shapes[1:]]
    assert corners[0] == [(1, 1), (1, 5), (5, 1), (5, 5)]
    assert corners[1] == [(20, 20), (20, 25), (30, 20), (30, 25)]
    ring = set(map(tuple, shapes[0]["points"]))
    assert ring == {(2, 4), (22, 4), (22, 14), (2, 14), (10, 8), (13, 8), (13, 10), (10, 10)}


def test_svg():
    mask = rectangle(2, 4, 22, 14) & ~rectangle(10, 8, 13, 10)
    lines = svg_text([SMALL, record(mask, "a < b")], size=SIZE, opacity=0.25).splitlines()
    assert lines[0] == (
        '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30" viewBox="0 0 40 30" '
        'fill-rule="evenodd" fill-opacity="0.25">'
    )
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in distinct_colours(2).tolist()]
    assert lines[1].startswith(f'<path id="mask-1" fill="{colours[1]}" d="M2 4h20v10h-20z')
    assert lines[1].endswith("<title>a &lt; b, predicted IoU 0.875</title></path>")
    assert lines[2] == (
        f'<path id="mask-0" fill="{colours[0]}" d="M5 6h3v4h-3z">'
        "<title>ant, predicted IoU 0.500</title></path>"
    )
    assert lines[3:] == ["</svg>"]


def test_label_maps_number_masks_and_have_the_smaller_one_on_top():
    for masks, large, small in (([LARGE, SMALL], 1, 2), ([SMALL, LARGE], 2, 1)):
        labels = label_map(masks, SIZE)
        assert labels.dtype == np.uint16
        expected = np.where(decode_rle(LARGE.rle), large, 0)
        expected[decode_rle(SMALL.rle)] = small
        assert np.array_equal(labels, expected)
        picture = label_map_picture(masks, SIZE)
        assert picture.getpalette()[:9] == [0, 0, 0, *distinct_colours(2).ravel().tolist()]


@pytest.mark.parametrize(("count", "mode"), [(255, "P"), (256, "I;16")])
def test_up_to_255_masks_are_an_indexed_picture(count, mode):
    masks = [
        record(rectangle(index % 40, index // 40, index % 40 + 1, index // 40 + 1))
        for index in range(count)
    ]
    picture = label_map_picture(masks, SIZE)
    assert picture.mode == mode
    assert np.asarray(picture).max() == count


def test_edges_lie_on_both_sides_of_a_border_and_never_outside_of_all_masks():
    labels = np.zeros((8, 9), np.uint16)
    labels[1:7, 1:5], labels[1:7, 5:8] = 1, 2
    narrow = np.zeros(labels.shape, bool)
    narrow[1:7, 1:8] = True
    narrow[2:6, 2:4] = narrow[2:6, 6] = False
    assert np.array_equal(_edges(labels, 1), narrow)
    wide = np.zeros(labels.shape, bool)
    wide[1:7, 1:8] = True
    assert np.array_equal(_edges(labels, 2), wide)


def test_everything_is_drawn_in_its_colour_with_a_bright_outline_and_the_rest_is_dim():
    photo = np.full((*SIZE, 3), 100, np.uint8)
    drawn = np.asarray(draw_everything(photo, [LARGE, SMALL])).astype(int)
    colours = distinct_colours(2).astype(float)
    assert drawn[20, 30].tolist() == [55, 55, 55]
    assert np.abs(drawn[7, 15] - (50 + colours[0] / 2)).max() <= 1
    assert np.abs(drawn[8, 6] - (50 + colours[1] / 2)).max() <= 1
    for y, x, colour in ((4, 12, 0), (13, 12, 0), (8, 2, 0), (8, 21, 0), (6, 6, 1), (9, 7, 1)):
        assert np.abs(drawn[y, x] - (255 - 0.35 * (255 - colours[colour]))).max() <= 1
    assert (
        np.abs(drawn[5, 6] - (255 - 0.35 * (255 - colours[0]))).max() <= 1
    )  # beside the small one
    large = np.full((200, 300, 3), 100, np.uint8)
    plain, branded = (
        np.asarray(draw_everything(large, [], banner=banner)) for banner in ("", "random")
    )
    assert (plain == 55).all()
    assert (branded[170:] == 255).any()


@pytest.mark.parametrize("mode", ["binary_mask", "uncompressed_rle", "coco_rle"])
def test_what_the_generator_found_is_taken_over_in_any_mode(mode):
    rle = LARGE.rle
    segmentation = {
        "binary_mask": decode_rle(rle),
        "uncompressed_rle": rle,
        "coco_rle": to_coco_rle(rle),
    }[mode]
    (mask,) = labelled(
        [
            {
                "segmentation": segmentation,
                "area": 200,
                "bbox": [2, 4, 19, 9],
                "predicted_iou": 0.875,
                "point_coords": [[3.5, 4.5]],
                "stability_score": 0.75,
                "crop_box": [1, 2, 30, 20],
            }
        ],
        "cup",
    )
    assert mask.rle == rle
    assert (mask.predicted_iou, mask.stability_score, mask.label) == (0.875, 0.75, "cup")
    assert (mask.points, mask.crop_box) == ([[3.5, 4.5]], [1, 2, 30, 20])
    assert (mask.size, mask.area, mask.box) == (SIZE, 200, (2, 4, 21, 13))
    assert mask.coco is None


def test_colours_are_those_that_files_of_before_have():
    """A photo's masks keep their colours from one version to the next."""
    assert distinct_colours(5).tolist() == COLOURS
    assert distinct_colours(3).tolist() == COLOURS[:3]


COLOURS = [[252, 119, 88], [0, 237, 190], [164, 100, 210], [230, 174, 0], [0, 184, 243]]


def test_pictures_are_written_as_their_names_say(tmp_path):
    from sam_edge.formats.write import save_picture

    picture = Image.fromarray(np.zeros((*SIZE, 3), np.uint8))
    for name, kind in (("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.webp", "WEBP"), ("a", "PNG")):
        save_picture(picture, tmp_path / name)
        with Image.open(tmp_path / name) as written:
            assert written.format == kind
