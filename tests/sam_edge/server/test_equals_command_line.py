"""What is answered by HTTP is what the command line writes, to the byte where it is a file."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from sam_edge.cli import main
from sam_edge.masks import decode_rle, from_coco_rle

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from tests.sam_edge.server import running

PROMPTS = {
    "a point": ({"points": [[200, 150]]}, ["--point", "200,150"]),
    "a correction": (
        {"points": [[200, 150], [60.5, 40]], "labels": [1, 0]},
        ["--point", "200,150", "--point", "60.5,40,0"],
    ),
    "a box": ({"box": [60, 20, 420, 280]}, ["--box", "60,20,420,280"]),
    "a box and a point": (
        {"box": [60, 20, 420, 280], "points": [[90, 40]], "labels": [0]},
        ["--box", "60,20,420,280", "--point", "90,40,0"],
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_an_exported_mask_is_the_one_that_segment_writes(served, tmp_path, name):
    client, folder = served
    prompt, flags = PROMPTS[name]
    embedding = running.encoded(client, "chelsea.jpg")
    asked = {**prompt, "only_best": True}
    found = client.post(f"/v1/embeddings/{embedding['id']}/decode", json=asked).json()["masks"][0]
    photo = running.photo_named(client, "chelsea.jpg")
    wanted = {"format": "mask", "photos": [photo["id"]], "objects": [running.thing(found["rle"])]}
    exported = client.post("/v1/export", json=wanted)
    out, told = tmp_path / "mask.png", tmp_path / "told.json"
    command = ["segment", str(folder / "chelsea.jpg"), *flags, "-o", str(out)]
    assert main([*command, "--json", str(told)]) == 0
    assert exported.headers["content-disposition"].endswith("chelsea-mask.png")
    assert exported.content == out.read_bytes()
    (expected,) = json.loads(told.read_text())["photos"][0]["objects"][0]["masks"]
    assert (found["score"], found["area"]) == (expected["score"], expected["area"])
    assert found["rle"] == expected["segmentation"]


def test_a_batch_is_what_segment_answers_for_several_boxes(served, tmp_path):
    client, folder = served
    rng = np.random.default_rng(0)
    corners = [np.sort(rng.uniform((0, 0), (451, 300), (2, 2)), axis=0) for _ in range(19)]
    boxes = [[round(float(value), 2) for value in corner.ravel()] for corner in corners]
    embedding = running.encoded(client, "chelsea.jpg")
    asked = {"prompts": [{"box": box} for box in boxes]}
    answer = client.post(f"/v1/embeddings/{embedding['id']}/decode_batch", json=asked).json()
    told = tmp_path / "told.json"
    flags = [word for box in boxes for word in ("--box", ",".join(map(str, box)))]
    assert main(["segment", str(folder / "chelsea.jpg"), *flags, "--json", str(told)]) == 0
    objects = json.loads(told.read_text())["photos"][0]["objects"]
    expected = [entry["masks"][0]["segmentation"] for entry in objects]
    assert [result["masks"][0]["rle"] for result in answer["results"]] == expected


def test_a_batch_of_unlike_prompts_answers_each_in_its_place(served):
    client, _ = served
    embedding = running.encoded(client, "chelsea.jpg")
    prompts = [prompt for prompt, _ in PROMPTS.values()] * 6
    path = f"/v1/embeddings/{embedding['id']}/decode"
    answer = client.post(f"{path}_batch", json={"prompts": prompts}).json()
    assert len(answer["results"]) == len(prompts)
    for prompt, result in zip(prompts, answer["results"], strict=True):
        alone = client.post(path, json={**prompt, "only_best": True}).json()
        rles = (found["masks"][0]["rle"] for found in (alone, result))
        one, other = (decode_rle(from_coco_rle(rle)) for rle in rles)
        assert result["candidates"] == alone["candidates"]
        assert (one & other).sum() / (one | other).sum() > 0.999


@pytest.mark.parametrize("knobs", [{}, {"coarse_first": True}, {"crop_n_layers": 1}])
def test_everything_is_what_the_command_finds(served, tmp_path, knobs):
    client, folder = served
    photo = running.photo_named(client, "chelsea.jpg")
    asked = {"photo": photo["id"], "points_per_side": 4, "pred_iou_thresh": 0.3, **knobs}
    takes = {"Accept": "application/x-ndjson"}
    answer = client.post("/v1/everything", json=asked, headers=takes, timeout=300)
    *events, done = map(json.loads, answer.iter_lines())
    assert done["event"] == "done"
    progress = [event["done"] for event in events if event["event"] == "progress"]
    assert progress == sorted(progress)
    assert progress[-1] == events[-1]["total"]
    out = tmp_path / "all.json"
    flags = ["--points-per-side", "4", "--pred-iou-thresh", "0.3", "-o", str(out)]
    flags += ["--coarse-first"] if "coarse_first" in knobs else []
    flags += ["--crop-n-layers", "1"] if "crop_n_layers" in knobs else []
    assert main(["everything", str(folder / "chelsea.jpg"), *flags]) == 0
    expected = json.loads(out.read_text())["annotations"]
    assert len(expected) > 3
    found = [
        (mask["rle"], mask["score"], mask["stability"], [mask["point"]]) for mask in done["masks"]
    ]
    keys = ("segmentation", "predicted_iou", "stability_score", "point_coords")
    assert found == [tuple(entry[key] for key in keys) for entry in expected]


def test_what_everything_found_is_exported_as_the_files_that_the_command_writes(served):
    client, folder = served
    photo = running.photo_named(client, "chelsea.jpg")
    asked = {"photo": photo["id"], "points_per_side": 4, "pred_iou_thresh": 0.3}
    masks = client.post("/v1/everything", json=asked, timeout=300).json()["masks"]
    flags = ["--points-per-side", "4", "--pred-iou-thresh", "0.3"]
    objects = [
        {
            "id": str(number),
            "rle": mask["rle"],
            "score": mask["score"],
            "stability": mask["stability"],
            "prompt": {"points": [mask["point"]], "part": mask["part"]},
        }
        for number, mask in enumerate(masks)
    ]
    for kind in ("sa1b", "coco", "labelme", "geojson", "svg", "png", "yolo"):
        wanted = {"format": kind, "photos": [photo["id"]], "objects": objects}
        exported = client.post("/v1/export", json=wanted)
        endings = {"svg": ".svg", "png": ".png", "yolo": ".txt", "geojson": ".geojson"}
        ending = endings.get(kind, ".json")
        out = folder.parent / f"file-{kind}{ending}"
        command = ["everything", str(folder / "chelsea.jpg"), *flags, "--format", kind]
        assert main([*command, "-o", str(out)]) == 0
        written = out.read_bytes()
        if kind == "yolo":
            archive = zipfile.ZipFile(io.BytesIO(exported.content))
            assert archive.namelist() == ["labels/chelsea.txt", "data.yaml"]
            assert archive.read("labels/chelsea.txt") == written
        elif kind == "labelme":  # the photo lies elsewhere as seen from the file
            one, other = json.loads(exported.content), json.loads(written)
            assert one.pop("imagePath") == "chelsea.jpg"
            assert other.pop("imagePath") == "photos/chelsea.jpg"
            assert one == other
        else:
            assert exported.content == written, kind


def test_several_masks_and_several_photos_come_as_a_zip_and_coco_as_one_file(served):
    client, _ = served
    embedding = running.encoded(client, "chelsea.jpg")
    path = f"/v1/embeddings/{embedding['id']}/decode"
    masks = client.post(path, json={"points": [[200, 150]]}).json()["masks"]
    photos = [running.photo_named(client, name) for name in ("chelsea.jpg", "coffee.jpg")]
    objects = [
        running.thing(mask["rle"], score=mask["score"]) | {"id": str(number)}
        for number, mask in enumerate(masks)
    ]
    wanted = {"format": "mask", "photos": [photos[0]["id"]], "objects": objects}
    archive = zipfile.ZipFile(io.BytesIO(client.post("/v1/export", json=wanted).content))
    assert archive.namelist() == [f"chelsea-mask-{number}.png" for number in range(3)]
    picture = np.asarray(Image.open(io.BytesIO(archive.read("chelsea-mask-1.png"))))
    np.testing.assert_array_equal(picture > 0, decode_rle(from_coco_rle(masks[1]["rle"])))
    both = [photo["id"] for photo in photos]
    coco = client.post("/v1/export", json={"format": "coco", "photos": both}).json()
    assert [image["file_name"] for image in coco["images"]] == ["chelsea.jpg", "coffee.jpg"]
