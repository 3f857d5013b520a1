"""Every format is read back by the tool that owns it."""

import importlib.metadata
import importlib.util
import io
import json
import sys
import types

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sam_edge.formats import LabelledMask, draw_everything, label_map
from sam_edge.formats.colours import distinct_colours
from sam_edge.formats.write import write_masks
from sam_edge.masks import decode_rle, encode_rle
from sam_edge.photos import Photo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = (90, 120)


def disc(y, x, radius, hole=0):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    distance = np.hypot(rows - y, columns - x)
    return (distance < radius) & (distance >= hole)


def record(mask, label="object", score=0.9):
    return LabelledMask(
        rle=encode_rle(mask),
        predicted_iou=score,
        stability_score=0.97,
        points=[[60.5, 45.5]],
        crop_box=[0, 0, SIZE[1], SIZE[0]],
        label=label,
    )


@pytest.fixture
def masks():
    """A ring with a hole, two discs as one mask, a small disc on top, and one at the edge."""
    return [
        record(disc(40, 40, 30, hole=12), "ring"),
        record(disc(20, 95, 12) | disc(70, 95, 14), "pair <&>"),
        record(disc(40, 40, 6), "ring"),
        record(disc(89, 0, 20), "corner"),
    ]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((*SIZE, 3), 90, np.uint8)).save(path)
    return path


def written(masks, kind, photo, suffix="json"):
    path = photo.with_name(f"out.{suffix}")
    write_masks(masks, kind, path, Photo(photo), SIZE)
    return path


def test_sa1b_has_exactly_the_fields_of_the_release(masks, photo):
    document = json.loads(written(masks, "sa1b", photo).read_text())
    assert document.keys() == {"image", "annotations"}
    assert document["image"] == {
        "image_id": 0,
        "width": SIZE[1],
        "height": SIZE[0],
        "file_name": "photo.png",
    }
    for mask, annotation in zip(masks, document["annotations"], strict=True):
        assert annotation.keys() == {
            "id",
            "segmentation",
            "bbox",
            "area",
            "predicted_iou",
            "stability_score",
            "crop_box",
            "point_coords",
        }
        pixels = coco_mask.decode(annotation["segmentation"]).astype(bool)
        assert np.array_equal(pixels, decode_rle(mask.rle))
        assert annotation["area"] == pixels.sum()
        columns = np.flatnonzero(pixels.any(0))
        assert annotation["bbox"][0] == columns[0]
        assert annotation["bbox"][2] == columns[-1] - columns[0]


def test_pycocotools_loads_the_coco_file(masks, photo):
    path = written(masks, "coco", photo)
    data = COCO(path)
    assert [image["file_name"] for image in data.loadImgs(data.getImgIds())] == ["photo.png"]
    names = {number: category["name"] for number, category in data.cats.items()}
    for mask, annotation in zip(masks, data.loadAnns(data.getAnnIds()), strict=True):
        pixels = data.annToMask(annotation).astype(bool)
        assert np.array_equal(pixels, decode_rle(mask.rle))
        assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
        assert names[annotation["category_id"]] == mask.label


@pytest.fixture(scope="module")
def labelme():
    """LabelMe's own loader and rasteriser, without the window that its package opens."""
    package = importlib.util.find_spec("labelme")
    if package is None:
        pytest.skip("labelme is not installed")
    folder = package.submodule_search_locations[0]
    utils = types.SimpleNamespace(
        apply_exif_orientation=lambda image: image,
        img_data_to_pil=lambda img_data: Image.open(io.BytesIO(img_data)),
    )
    stub = types.ModuleType("labelme")
    stub.__version__, stub.utils, stub.__path__ = importlib.metadata.version("labelme"), utils, []
    quiet = types.SimpleNamespace(debug=lambda *_: None)
    stubs = {
        "labelme": stub,
        "tifffile": types.ModuleType("tifffile"),
        "loguru": types.SimpleNamespace(logger=quiet),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stubs.items():
            patch.setitem(sys.modules, name, module)

        def load(name, file):
            spec = importlib.util.spec_from_file_location(name, f"{folder}/{file}")
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
            return module

        files = load("labelme._label_file", "_label_file.py")
        shapes = load("labelme._shapes", "utils/shape.py")
        yield types.SimpleNamespace(LabelFile=files.LabelFile, shape_to_mask=shapes.shape_to_mask)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # LabelMe's loader
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_labelmes_own_loader_reads_the_labelme_file(labelme, masks, photo):
    file = labelme.LabelFile(str(written(masks, "labelme", photo)))
    assert file.image_path == "photo.png"
    assert len(file.shapes) == 5  # the pair has two parts
    for number, mask in enumerate(masks):
        shapes = [shape for shape in file.shapes if shape["group_id"] == number]
        assert {shape["label"] for shape in shapes} == {mask.label}
        drawn = np.zeros(SIZE, bool)
        for shape in shapes:
            drawn |= labelme.shape_to_mask(SIZE, shape["points"], shape["shape_type"])
        true = decode_rle(mask.rle)
        # LabelMe fills the outline's own pixels too, so its masks are up to one pixel larger.
        grown = np.pad(true, 2)
        near = np.any(
            [
                np.roll(grown, (dy, dx), (0, 1))[2:-2, 2:-2]
                for dy in (-2, -1, 0, 1, 2)
                for dx in (-2, -1, 0, 1, 2)
            ],
            axis=0,
        )
        assert not (drawn & ~near).any()
        assert (drawn & true).sum() > 0.95 * true.sum()
    assert not drawn_in_hole(labelme, file)


def drawn_in_hole(labelme, file):
    (ring,) = (shape for shape in file.shapes if shape["group_id"] == 0)
    return labelme.shape_to_mask(SIZE, ring["points"], "polygon")[35:38, 35:38].any()


def test_labelme_polygons_have_few_corners(masks, photo):
    document = json.loads(written(masks, "labelme", photo).read_text())
    assert document["imageData"] is None
    assert max(len(shape["points"]) for shape in document["shapes"]) < 60


def test_labelme_finds_the_photo_from_the_files_folder(masks, photo, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    write_masks(masks, "labelme", folder / "out.json", Photo(photo), SIZE)
    assert json.loads((folder / "out.json").read_text())["imagePath"] == "../photo.png"


@pytest.mark.parametrize("index", range(4))
def test_a_renderer_draws_each_svg_path_to_the_pixel(masks, photo, index):
    resvg = pytest.importorskip("resvg_py")
    path = written([masks[index]], "svg", photo, "svg")
    text = path.read_text().replace('fill-opacity="0.6"', 'fill-opacity="1"')
    drawn = np.asarray(Image.open(io.BytesIO(bytes(resvg.svg_to_bytes(svg_string=text)))))
    assert drawn.shape[:2] == SIZE
    assert np.array_equal(drawn[..., 3] > 127, decode_rle(masks[index].rle))


def test_svg_has_one_path_a_mask_and_small_ones_on_top(masks, photo):
    resvg = pytest.importorskip("resvg_py")
    text = written(masks, "svg", photo, "svg").read_text()
    assert text.count("<path") == len(masks)
    assert "pair &lt;&amp;&gt;" in text
    solid = text.replace('fill-opacity="0.6"', 'fill-opacity="1"')
    drawn = np.asarray(Image.open(io.BytesIO(bytes(resvg.svg_to_bytes(svg_string=solid)))))
    assert drawn[40, 40, :3].tolist() == distinct_colours(4)[2].tolist()


def test_the_label_map_is_an_indexed_png(masks, photo):
    with Image.open(written(masks, "png", photo, "png")) as picture:
        assert picture.mode == "P"
        labels = np.asarray(picture)
    assert np.array_equal(labels, label_map(masks, SIZE))
    assert labels[40, 40] == 3
    assert labels[40, 20] == 1
    assert labels[0, 0] == 0


def test_more_than_255_masks_make_a_16_bit_png(photo):
    many = []
    for index in range(300):
        mask = np.zeros(SIZE, bool)
        mask[index // 100 * 2, index % 100] = True
        many.append(record(mask))
    with Image.open(written(many, "png", photo, "png")) as picture:
        labels = np.asarray(picture)
    assert labels.max() == 300
    assert labels[4, 99] == 300


def test_no_masks_make_a_file_in_every_format(photo):
    for kind in ("sa1b", "coco", "labelme", "svg", "png"):
        assert written([], kind, photo, kind).stat().st_size > 0


def test_the_overlay_dims_what_no_mask_holds_and_outlines_what_one_does(masks):
    photo = np.full((*SIZE, 3), 100, np.uint8)
    drawn = np.asarray(draw_everything(photo, masks)).astype(int)
    assert drawn[5, 5].tolist() == [55, 55, 55]
    assert drawn[40, 11].sum() > drawn[40, 20].sum()  # the ring's outline and its tint


def test_colours_are_told_apart():
    colours = distinct_colours(24).astype(int)
    distance = np.abs(colours[:, None] - colours[None]).max(axis=2) + 255 * np.eye(24, dtype=int)
    assert distance.min() >= 24
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 80
