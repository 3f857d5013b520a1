"""One photo: the same files as ``everything`` writes, and what is kept of an earlier run."""

import json
import os
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

import sam_edge
from sam_edge.batch.batches import MARK, Batch
from sam_edge.batch.places import place_at
from sam_edge.batch.worker import Worker
from sam_edge.cli import main
from sam_edge.errors import ArgumentError
from sam_edge.formats.write import FORMATS
from tests.sam_edge.batch.drawn import draw, tree

KNOBS = {"points_per_side": 2}


def done(photos, out, **options):
    """Do a batch in this process, and return the outcomes."""
    batch = Batch(photos, out, **options)
    place_at(batch.settings.out).write(MARK, b"{}")
    worker = Worker(batch.settings)
    return [worker(job) for job in batch.jobs()]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_result_is_what_everything_writes(shots, tmp_path, kind):
    photo = shots / "a" / "000.png"
    ending = FORMATS[kind]
    (outcome,) = done(photo, tmp_path / "batch", format=kind, prompts=shots / "boxes.csv")
    assert (outcome.status, outcome.masks, outcome.error) == ("done", 2, None)
    words = ["everything", str(photo), "--prompts", str(shots / "boxes.csv"), "--format", kind]
    assert main([*words, "-o", f"{tmp_path / 'batch'}/everything{ending}"]) == 0
    ours = (tmp_path / "batch" / f"000{ending}").read_bytes()
    theirs = (tmp_path / "batch" / f"everything{ending}").read_bytes()
    assert ours == theirs


def test_without_prompts_everything_is_found_and_embeddings_are_the_models(shots, tmp_path):
    photo = shots / "a" / "000.png"
    (outcome,) = done(
        photo,
        tmp_path / "out",
        format="sa1b",
        generator={**KNOBS, "crop_n_layers": 1},
        embeddings=tmp_path / "embeddings",
    )
    assert outcome.status == "done"
    words = ["everything", str(photo), "--points-per-side", "2", "--crop-n-layers", "1"]
    assert main([*words, "-o", str(tmp_path / "one.json")]) == 0
    assert (tmp_path / "out" / "000-everything.json").read_text() == (
        tmp_path / "one.json"
    ).read_text()
    found = sam_edge.ImageEmbedding.load(tmp_path / "embeddings" / "000.npz")
    expected = sam_edge.load_model().encode_image(photo)
    assert found.key == expected.key
    np.testing.assert_array_equal(
        found.features["image_embeddings"], expected.features["image_embeddings"]
    )


def test_what_is_done_and_right_is_kept_and_nothing_else(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for number in range(3):
        draw(photos / f"{number}.png", number)
    boxes = tmp_path / "boxes.csv"
    rows = ["image,x0,y0,x1,y1\n", *(f"{number}.png,4,4,30,30\n" for number in range(3))]
    boxes.write_text("".join(rows))
    options = {"prompts": boxes, "embeddings": tmp_path / "embeddings", "resume": True}

    def statuses(**changed):
        return [outcome.status for outcome in done(photos, out, **options | changed)]

    assert statuses() == ["done"] * 3
    first = tree(out)
    assert statuses() == ["kept"] * 3
    (out / "0-everything.json").write_text("{}")  # damaged
    (out / "1.done.json").unlink()
    (tmp_path / "embeddings" / "2.npz").unlink()
    assert statuses() == ["done"] * 3
    assert tree(out) == first
    draw(photos / "1.png", 9)  # another photo
    assert statuses() == ["kept", "done", "kept"]
    boxes.write_text("".join([*rows[:3], "2.png,4,4,31,30\n"]))  # another prompt
    assert statuses() == ["kept", "kept", "done"]
    moved = tmp_path / "moved.csv"
    moved.write_bytes(boxes.read_bytes())
    assert statuses(prompts=moved) == ["kept"] * 3
    assert statuses(prompts=None, generator=KNOBS) == ["done"] * 3
    assert statuses(prompts=None, generator={**KNOBS, "crop_n_layers": 0}) == ["kept"] * 3
    assert statuses(prompts=None, generator={"points_per_side": 1}) == ["done"] * 3
    (out / "0.done.json").write_text('{"format": 0}')
    (out / "1.done.json").write_text("no JSON")
    again = statuses(prompts=None, generator={"points_per_side": 1})
    assert again == ["done", "done", "kept"]


def test_a_worker_says_after_each_encode_and_decode_that_it_gets_on(shots, tmp_path):
    batch = Batch(shots / "a" / "000.png", tmp_path / "out", generator={"points_per_side": 16})
    place_at(batch.settings.out).write(MARK, b"{}")
    said = []
    (job,) = batch.jobs()
    assert Worker(batch.settings, lambda: said.append(1))(job).status == "done"
    assert len(said) > 2
    del said[:]
    batch = Batch(shots / "a" / "000.png", tmp_path / "out2", prompts=shots / "boxes.csv")
    place_at(batch.settings.out).write(MARK, b"{}")
    (job,) = batch.jobs()
    assert Worker(batch.settings, lambda: said.append(1))(job).masks == 2
    assert len(said) == 1 + 2


def test_a_photo_that_cannot_be_done_says_why(shots, tmp_path):
    missing, pipe = tmp_path / "missing.png", tmp_path / "x.png"
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
    photos = [shots / "a" / "004.png", missing, pipe, shots / "b" / "001.png"]
    outcomes = done(photos, tmp_path / "out", generator=KNOBS)
    by_name = {outcome.item.path.name: outcome for outcome in outcomes}
    assert by_name["001.png"].status == "done"
    assert "No such file" in by_name["missing.png"].error
    assert "004.png" in by_name["004.png"].error
    if hasattr(os, "mkfifo"):
        assert "no regular file" in by_name["x.png"].error
    assert not any(outcome.fatal for outcome in outcomes)


def test_a_full_disk_is_not_one_photos_fault(shots, tmp_path):
    out = tmp_path / "out"
    (out / "000-everything.json").mkdir(parents=True)  # nothing can be written there
    (out / MARK).write_text("{}")
    photo = shots / "a" / "000.png"
    (outcome,) = done(photo, out, prompts=shots / "boxes.csv", resume=True)
    assert outcome.fatal
    assert "000-everything.json cannot be written" in outcome.error


def test_a_box_outside_of_the_photo_is_left_out_and_said_again(shots, tmp_path):
    boxes = tmp_path / "boxes.csv"
    boxes.write_text(
        "image,x0,y0,x1,y1\n000.png,4,4,30,30\n000.png,400,4,430,30\n000.png,1,1,1,1\n"
    )
    for status in ("done", "kept"):
        (outcome,) = done(shots / "a" / "000.png", tmp_path / "out", prompts=boxes, resume=True)
        assert (outcome.status, outcome.masks, len(outcome.problems)) == (status, 1, 2)
    record = json.loads((tmp_path / "out" / "000.done.json").read_text())
    assert list(outcome.problems[1:]) == record["problems"]  # the first is the file's


def test_what_the_file_says_wrongly_is_said_as_it_says_it_now(shots, tmp_path):
    boxes = tmp_path / "boxes.csv"
    good, bad = "image,x0,y0,x1,y1\n000.png,4,4,30,30\n", "000.png,1,1,1,1\n"
    for text, status, count in (
        (good + bad, "done", 1),
        (good, "kept", 0),
        (good + bad + bad, "kept", 2),
    ):
        boxes.write_text(text)
        (outcome,) = done(shots / "a" / "000.png", tmp_path / "out", prompts=boxes, resume=True)
        assert (outcome.status, len(outcome.problems)) == (status, count)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("000.txt", "0 .5 .5 .2 .2\n0 1e308 .5 1e307 .4\n"),
        (
            "boxes.json",
            json.dumps(
                [
                    {
                        "file_name": "000.png",
                        "image_id": 1,
                        "annotations": [
                            {"bbox": [4, 4, 30, 30], "bbox_mode": 0, "category_id": 0},
                            {"bbox": [1.5e308, 2, -1.5e308, 8], "bbox_mode": 0, "category_id": 0},
                        ],
                    }
                ]
            ),
        ),
    ],
)
def test_numbers_too_large_are_one_prompts_fault(shots, tmp_path, name, text):
    folder = tmp_path / "boxes"
    folder.mkdir()
    (folder / name).write_text(text)
    prompts = folder if name.endswith(".txt") else folder / name
    (outcome,) = done(shots / "a" / "000.png", tmp_path / "out", prompts=prompts)
    assert (outcome.status, outcome.masks, len(outcome.problems)) == ("done", 1, 1)


@pytest.fixture
def large_map(tmp_path):
    """A photo on a map, as GeoTIFF."""
    rasterio = pytest.importorskip("rasterio")
    with Image.open(str(files("sam_edge") / "assets" / "photos" / "coffee.jpg")) as photo:
        bands = np.moveaxis(np.asarray(photo), -1, 0)
    path = tmp_path / "map.tif"
    profile = {"driver": "GTiff", "count": 3, "height": 400, "width": 600, "dtype": "uint8"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_400_000)}
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    with rasterio.open(path, "w", **profile, **place, **blocks) as dataset:
        dataset.write(bands)
    return path


@pytest.mark.parametrize("kind", ["sa1b", "geojson"])
def test_tiles_are_those_of_everything_and_maps_keep_their_coordinates(large_map, tmp_path, kind):
    how = {"tile": 400, "overlap": 64, "format": kind, "generator": KNOBS}
    (outcome,) = done(large_map, tmp_path / "out", **how)
    assert (outcome.status, outcome.problems) == ("done", ())
    out = tmp_path / f"one{FORMATS[kind]}"
    words = ["everything", str(large_map), "--tile", "400", "--overlap", "64", "--format", kind]
    assert main([*words, "--points-per-side", "2", "-o", str(out)]) == 0
    assert (tmp_path / "out" / f"map{FORMATS[kind]}").read_bytes() == out.read_bytes()
    assert (b"EPSG::32633" in out.read_bytes()) == (kind == "geojson")


def test_other_tiles_or_polygons_are_made_anew(large_map, tmp_path):
    how = {"tile": 400, "overlap": 64, "format": "geojson", "generator": KNOBS, "resume": True}
    changes = [{}, {}, {"overlap": 100}, {"tolerance": 2}]
    outcomes = [done(large_map, tmp_path / "out", **how | change)[0] for change in changes]
    assert [outcome.status for outcome in outcomes] == ["done", "kept", "done", "done"]


def test_a_tile_that_cannot_be_read_is_a_problem_of_its_photo(large_map, tmp_path):
    large_map.write_bytes(large_map.read_bytes()[:-3000])
    (outcome,) = done(large_map, tmp_path / "out", tile=400, overlap=64, generator=KNOBS)
    assert outcome.status == "done"
    assert outcome.masks > 0
    (problem,) = outcome.problems
    assert "tile of 400 x 400 at 200,0" in problem


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 63},
        {"overlap": 64},
        {"tile": 400, "embeddings": "embeddings"},
        {"tile": 400, "prompts": "boxes.csv"},
        {"tile": 400, "text": ["a cup"]},
    ],
)
def test_tiles_that_do_not_fit_are_refused(shots, tmp_path, options):
    with pytest.raises(ArgumentError):
        Batch(shots, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [None, {"images": []}, {}])
def test_what_goes_into_the_sets_file_is_looked_at_too(shots, tmp_path, change):
    out = tmp_path / "out"
    options = {"prompts": shots / "boxes.csv", "format": "png", "resume": True}
    photo = shots / "a" / "000.png"
    assert done(photo, out, **options)[0].status == "done"
    assert done(photo, out, **options)[0].status == "kept"
    path = out / "000.done.json"
    whole = path.read_bytes()
    record = json.loads(whole)
    record["coco"] = change
    path.write_text(json.dumps(record))
    assert done(photo, out, **options)[0].status == "done"
    assert path.read_bytes() == whole
    del record["coco"], record["outputs"]
    path.write_text(json.dumps(record | {"outputs": {}}))
    assert done(photo, out, **options)[0].status == "done"


def test_a_name_that_is_too_long_is_that_photos_fault_alone(shots, tmp_path):
    photos = tmp_path / "photos"
    draw(photos / f"{'m' * 245}.png", 0)
    draw(photos / "z.png", 1)
    long, short = done(photos, tmp_path / "out", generator=KNOBS)
    assert (long.status, long.fatal, short.status) == ("failed", False, "done")
    assert "File name too long" in long.error
