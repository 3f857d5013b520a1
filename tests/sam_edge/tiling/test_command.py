"""``everything --tile`` from end to end, with the model in the box."""

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.cli import everything, main
from sam_edge.masks import decode_rle, from_coco_rle
from sam_edge.tiling.grid import Grid

PHOTO = str(files("sam_edge") / "assets" / "photos" / "coffee.jpg")
TILES = ["--tile", "400", "--overlap", "64", "--points-per-side", "2"]


@pytest.fixture(scope="module")
def model():
    return sam_edge.load_model()


@pytest.fixture(autouse=True)
def opened_once(monkeypatch, model):
    monkeypatch.setattr(everything, "load_from", lambda arguments: model)


@pytest.mark.parametrize("kind", ["sa1b", "coco", "labelme", "svg", "yolo", "png", "geojson"])
def test_every_format_holds_what_is_found(tmp_path, kind):
    assert main(["everything", PHOTO, *TILES, "--format", kind, "-o", f"{tmp_path}/"]) == 0
    (path,) = tmp_path.iterdir()
    if kind == "png":
        with Image.open(path) as labels:
            assert labels.size == (600, 400)
            assert len(np.unique(np.asarray(labels))) > 5
        return
    text = path.read_text()
    if kind == "sa1b":
        shown = json.loads(text)["annotations"]
        masks = [decode_rle(from_coco_rle(each["segmentation"])) for each in shown]
        assert [mask.sum() for mask in masks] == [each["area"] for each in shown]
        assert len({tuple(each["crop_box"]) for each in shown}) > 1
    parts = {"coco": '"iscrowd"', "labelme": '"polygon"', "svg": "<path", "geojson": '"Feature"'}
    assert text.count(parts.get(kind, "")) > 5


def test_a_batch_of_tiles_finds_what_everything_finds(tmp_path):
    how = ["--format", "geojson", "-o"]
    (tmp_path / "photos").mkdir()
    shutil.copy(PHOTO, tmp_path / "photos" / "coffee.jpg")
    words = ["batch", str(tmp_path / "photos"), *TILES, "--processes", "1"]
    assert main([*words, *how, str(tmp_path / "out")]) == 0
    assert main(["everything", PHOTO, *TILES, *how, str(tmp_path / "one.geojson")]) == 0
    assert len(json.loads((tmp_path / "one.geojson").read_text())["features"]) > 5
    written = (tmp_path / "out" / "coffee-everything.geojson").read_bytes()
    assert written == (tmp_path / "one.geojson").read_bytes()


def test_suffix_and_overlay_are_understood(tmp_path):
    out, over = tmp_path / "out.geojson", tmp_path / "over.png"
    assert main(["everything", PHOTO, *TILES, "-o", str(out), "--overlay", str(over)]) == 0
    assert json.loads(out.read_text())["features"]
    with Image.open(over) as picture:
        assert picture.size == (600, 400)


def test_the_smallest_tiles_need_no_overlap_said():
    assert Grid((200, 200), 64).shared == Grid((200, 200), 127).shared == 16
    assert Grid((200, 200), 1024).shared == 128


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--overlap", "64"], "give --tile"),
        (["--tile", "320", "--overlap", "161"], "overlap by 16 to 160"),
        (["--tile", "320", "--prompts", "boxes.json"], "leave out --prompts"),
        (["--tile", "320", "--text", "cup"], "leave out --text"),
        (["--tile", "320", "--detector", "any"], "leave out --detector"),
        (["--tile", "63"], "from 64 to 16384"),
    ],
)
def test_flags_that_do_not_fit_are_a_wrong_call(tmp_path, monkeypatch, capsys, flags, reason):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["everything", PHOTO, *flags])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_tile_that_cannot_be_read_is_named_and_the_rest_is_written(tmp_path, capsys):
    rasterio = pytest.importorskip("rasterio")
    with Image.open(PHOTO) as photo:
        bands = np.moveaxis(np.asarray(photo), -1, 0)
    path = tmp_path / "torn.tif"
    profile = {"driver": "GTiff", "count": 3, "height": 400, "width": 600, "dtype": "uint8"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)}
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    with rasterio.open(path, "w", **profile, **place, **blocks) as dataset:
        dataset.write(bands)
    path.write_bytes(path.read_bytes()[:-3000])
    out = tmp_path / "out.geojson"
    over = tmp_path / "over.png"
    command = ["everything", str(path), *TILES, "-o", str(out), "--overlay", str(over)]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert said.count("skipped") == 1
    assert "tile of 400 x 400 at 200,0: " in said
    shown = json.loads(out.read_text())
    assert shown["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    shape = shown["features"][0]["geometry"]
    outer = shape["coordinates"][0] if shape["type"] == "Polygon" else shape["coordinates"][0][0]
    east, north = outer[0]
    assert 500_000 <= east <= 500_300
    assert 5_399_800 <= north <= 5_400_000
    assert over.exists()


SIDE = 20_000
BIG = """
import sys
from sam_edge.cli import main
from sam_edge_runtimes.memory import resident_sizes
code = main(["everything", *sys.argv[1:]])
print(resident_sizes()["VmHWM"])
raise SystemExit(code)
"""


@pytest.fixture
def large_map(tmp_path):
    """20,000 x 20,000 pixels: photos side by side, in JPEG blocks, with coordinates."""
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "map.tif"
    names = ("astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg")
    photos = []
    for name in names:
        with Image.open(Path(PHOTO).parent / name) as photo:
            photos.append(np.moveaxis(np.asarray(photo.convert("RGB").resize((512, 512))), -1, 0))
    profile = {"driver": "GTiff", "count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8"}
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "jpeg"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.1, 0, 500_000, 0, -0.1, 5_400_000)}
    with rasterio.open(path, "w", **profile, **place, **blocks, photometric="YCBCR") as dataset:
        for row, y in enumerate(range(0, SIDE, 512)):
            for column, x in enumerate(range(0, SIDE, 512)):
                height, width = min(512, SIDE - y), min(512, SIDE - x)
                photo = photos[(row + column) % 4][:, :height, :width]
                dataset.write(photo, window=((y, y + height), (x, x + width)))
    return path


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_400_million_pixels_take_a_fraction_of_their_own_size_in_memory(large_map, tmp_path):
    out = tmp_path / "map.geojson"
    knobs = ["--tile", "1024", "--overlap", "128", "--points-per-side", "3"]
    done = subprocess.run(
        [sys.executable, "-c", BIG, str(large_map), *knobs, "-o", str(out)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(out.read_text())["features"]
    peak = int(done.stdout)
    assert len(shown) > 2000
    assert peak < 600e6  # the pixels alone are 1.2 GB
