"""Every door that a stranger's file comes in by: its seeds, and what opens it.

A door is a function ``(random, folder) -> None`` that makes one input and opens it. All that it may
raise is a ``SamEdgeError`` of one printable line.
"""

import io
import json
import pickle
from functools import cache
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

import sam_edge
from sam_edge.batch.inputs import photo_set
from sam_edge.bundle import parse_manifest, read_spec
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import SamEdgeError
from sam_edge.evaluation.truth import read_coco, read_sa1b
from sam_edge.formats import LabelledMask, coco_document, labelme_document, sa1b_document, svg_text
from sam_edge.grounding.manifest import parse_grounding_manifest, read_grounding_spec
from sam_edge.grounding.phrases import Phrases, checked_phrases
from sam_edge.image import read_image
from sam_edge.mask_picture import read_mask
from sam_edge.masks import decode_rle, encode_rle, from_coco_rle, rle_to_box, to_coco_rle
from sam_edge.prompt_files import read_prompt_file
from sam_edge.prompt_files.coco import read_detections
from sam_edge.prompts import Prompt, sparse_prompts
from sam_edge_runtimes.graph_file import examine
from tests.fuzz.mutate import ODD, mutated_bytes, mutated_json
from tests.runtimes.test_graph_file import ATTRIBUTE, FUNCTION, INITIALIZER, SPARSE, SUBGRAPH
from tests.sam_edge.known import model_of

BOX = Path(str(files("sam_edge") / "assets" / "nano"))
GROUNDING = Path(__file__).parents[1] / "sam_edge" / "grounding" / "bundle"
SIZE = (24, 32)


def manifest(random, folder):
    document = json.loads((BOX / "manifest.json").read_text())
    parse_manifest(mutated_json(random, document), Path("manifest.json"))


def graph(random, folder):
    seeds = [INITIALIZER, ATTRIBUTE, SUBGRAPH, SPARSE, FUNCTION]
    path = folder / "graph.onnx"
    path.write_bytes(mutated_bytes(random, random.choice(seeds), seeds))
    examine(path)


@cache
def _embeddings():
    made = ImageEmbedding(
        features={"image_embeddings": np.ones((1, 256, 4, 4), np.float32)},
        original_size=SIZE,
        input_size=(48, 64),
        photo_sha256="0" * 64,
        source_sha256="1" * 64,
        image_size=64,
        engine="onnxruntime",
        precision="fp32",
    )
    seeds = []
    for dtype in ("float32", "float16"):
        file = io.BytesIO()
        with np.errstate(all="ignore"):
            path = Path(_scratch.name) / "seed.npz"
            made.save(path, dtype=dtype)
        seeds.append(path.read_bytes())
        with np.load(path) as arrays:
            np.savez_compressed(file, **arrays)
        seeds.append(file.getvalue())
    return seeds


def embedding(random, folder):
    path = folder / "embedding.npz"
    if random.random() < 0.5:
        path.write_bytes(mutated_bytes(random, random.choice(_embeddings()), _embeddings()))
    else:
        path.write_bytes(random.choice(_embeddings()))
        with np.load(path) as arrays:
            values = dict(arrays)
        name = random.choice([*values, "extra"])
        odd = [value for value in ODD if value is not None]
        try:
            values[name] = np.asarray(random.choice(odd))
        except ValueError:
            return  # numpy makes no array of it
        if values[name].dtype == np.object_:
            return
        np.savez(path, **values)
    ImageEmbedding.load(path)


@cache
def _pictures():
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 4), np.uint8)
    colour, grey = Image.fromarray(pixels[:, :, :3]), Image.fromarray(pixels[:, :, 0])
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    two = Image.fromarray((pixels[:, :, 0] > 99).astype(np.uint8) * 255)
    kinds = [
        *((colour, form) for form in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "TGA")),
        (Image.fromarray(pixels), "PNG"),
        (colour.convert("CMYK"), "TIFF"),
        (colour.quantize(16), "PNG"),
        (deep, "PNG"),
        (deep, "TIFF"),
        (grey.convert("1"), "PNG"),
        (two, "PNG"),
        (two.convert("1"), "TIFF"),
        (grey.convert("F"), "TIFF"),
    ]
    seeds = []
    for picture, form in kinds:
        file = io.BytesIO()
        picture.save(file, form)
        seeds.append(file.getvalue())
    file = io.BytesIO()
    colour.save(file, "TIFF", compression="tiff_lzw")
    return [*seeds, file.getvalue()]


def photo(random, folder):
    path = folder / "photo"
    path.write_bytes(mutated_bytes(random, random.choice(_pictures()), _pictures()))
    pixels = read_image(path)
    assert pixels.ndim == 3
    assert pixels.dtype == np.uint8


def mask(random, folder):
    path = folder / "mask"
    path.write_bytes(mutated_bytes(random, random.choice(_pictures()), _pictures()))
    found = read_mask(path)
    assert found.dtype == np.bool_
    assert 0 < found.sum() < found.size


def prompts(random, folder):
    numbers = [0, 1, 5.5, 23.9, 32, 33, -1, 1e39, 10**400, float("nan"), "7", None, True, 1j]

    def some(count):
        return [random.choice(numbers[: random.choice((5, len(numbers)))]) for _ in range(count)]

    points = random.choice(
        (None, [some(2) for _ in range(random.randrange(4))], some(2), *ODD, np.ones((1, 2), ">f2"))
    )
    labels = random.choice((None, some(len(points) if isinstance(points, list) else 1), *ODD))
    box = random.choice((None, some(4), some(random.randrange(6)), *ODD))
    given = random.choice(
        (None, np.zeros(SIZE, bool), np.ones(SIZE, bool), np.ones((16, 16), np.float32), *ODD)
    )
    prompt = Prompt.of(points, labels, box, given)
    coords, tokens = sparse_prompts(prompt, SIZE, (48, 64))
    assert np.isfinite(coords).all()
    assert set(tokens.tolist()) <= {-1, 0, 1, 2, 3}


def _rle():
    mask = np.zeros(SIZE, bool)
    mask[5:15, 7:20] = True
    return encode_rle(mask)


def _coco():
    category = {"id": 3, "name": "cup", "supercategory": "kitchen"}
    image = {"id": 9, "file_name": "shots\\photo.jpg", "height": SIZE[0], "width": SIZE[1]}
    common = {"image_id": 9, "category_id": 3, "bbox": [7, 5, 13, 10], "iscrowd": 0, "area": 130}
    shapes = [[[7, 5, 20, 5, 20, 15, 7, 15]], _rle(), to_coco_rle(_rle())]
    annotations = [
        {"id": number, "segmentation": shape, "score": 0.5, **common}
        for number, shape in enumerate(shapes)
    ]
    return {"images": [image], "annotations": annotations, "categories": [category]}


def detections(random, folder):
    document = random.choice((_coco(), _coco()["annotations"]))
    path = folder / "detections.json"
    path.write_bytes(mutated_json(random, document))
    skip = random.choice((None, [].append))
    read_detections(path, Path("/data/shots/photo.jpg"), random.choice((None, SIZE)), skip=skip)


TABLE = b'image,x0,y0,x1,y1,label,score\nphoto.jpg,7,5,20,15,cup,0.5\n"a,b.jpg",1,2,3,4,,\n'
LINES = (
    b'{"image": "photo.jpg", "box": [7, 5, 20, 15], "label": "cup", "score": 0.5}\n'
    b'{"image": "photo.jpg", "points": [[7, 5], [9, 9]], "labels": [1, 0]}\n'
)
YOLO = b"0 0.5 0.5 0.25 0.25 0.9\n1 0.1 0.1 0.9 0.1 0.9 0.9\n"
CLASSES = b"names:\n  0: cup\n  1: 'red mug'\nnc: 2\n"


def _labelme():
    shapes = [
        {"label": "cup", "points": [[7, 5], [20, 15]], "shape_type": "rectangle"},
        {"label": "mug", "points": [[7, 5], [20, 5], [20, 15]], "shape_type": "polygon"},
        {"label": "mug", "points": [[9, 9]], "shape_type": "point", "group_id": 1},
    ]
    sides = {"imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    return {"version": "5", "shapes": shapes, "imagePath": "photo.jpg", "imageData": None, **sides}


def prompt_file(random, folder):
    seeds = [TABLE, LINES, YOLO, CLASSES]
    kind = random.choice(("csv", "tsv", "jsonl", "txt", "json"))
    path = folder / f"photo.{kind}"
    if kind == "json":
        path.write_bytes(mutated_json(random, random.choice((_labelme(), _coco()))))
    else:
        seed = {"csv": TABLE, "tsv": TABLE.replace(b",", b"\t"), "jsonl": LINES, "txt": YOLO}[kind]
        path.write_bytes(mutated_bytes(random, seed, seeds))
    classes = None
    if kind == "txt" and random.random() < 0.5:
        classes = folder / random.choice(("data.yaml", "classes.txt"))
        classes.write_bytes(mutated_bytes(random, CLASSES, seeds))
    skip = random.choice((None, [].append))
    found = read_prompt_file(path, classes=classes, skip=skip)
    said = found.prompts_of(Path("/data/photo.jpg"), skip=skip).at(SIZE, "photo")
    json.dumps(list(found.categories.values()), allow_nan=False)
    for detection in said:
        sparse_prompts(detection.prompt, SIZE, (48, 64))


def photo_list(random, folder):
    for name in ("photo.jpg", "b.png"):
        (folder / name).touch()
    lines = b"photo.jpg\n./b.png\n# not this\nnowhere/c.tif\n*.jpg\n"
    path = folder / random.choice(("photos.txt", "instances.json", "labels/photo.json"))
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".txt":
        path.write_bytes(mutated_bytes(random, lines, [lines]))
    else:
        path.write_bytes(mutated_json(random, random.choice((_coco(), _labelme()))))
    dataset = random.choice((None, None, "coco", "sa1b", "labelme"))
    source = path if random.random() < 0.5 else path.parent
    found = photo_set([source], dataset=dataset, skip=random.choice((None, [].append)))
    names = [item.name for item in found.items]
    assert len(set(names)) == len(names)
    assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in names)


def grounding(random, folder):
    document = json.loads((GROUNDING / "manifest.json").read_text())
    parse_grounding_manifest(mutated_json(random, document), Path("manifest.json"))


def phrases(random, folder):
    path = folder / "tokenizer.json"
    if random.random() < 0.5:
        path.write_bytes(
            mutated_json(random, json.loads((GROUNDING / "tokenizer.json").read_text()))
        )
    else:
        path.write_bytes((GROUNDING / "tokenizer.json").read_bytes())
    words = ["red", " ", "mug", "\u200d", "🫖", "茶碗", "\x00", "\ud800", "a" * 300, "é", "\n"]
    said = ["".join(random.choices(words, k=random.randrange(6))) for _ in range(2)]
    spec = read_grounding_spec(GROUNDING)
    tokenizer = Phrases(path, spec.tokenizer)
    for phrase in checked_phrases(random.choice((said, *said, *ODD))):
        assert tokenizer.tokens(phrase).shape == (spec.tokenizer.length,)


def truth(random, folder):
    skip = random.choice((None, [].append))
    (folder / "photo.jpg").touch()
    for path in folder.glob("*.json"):
        path.unlink()
    document = _coco()
    if random.random() < 0.5:
        document["images"][0]["file_name"] = "photo.jpg"
        (folder / "instances_val.json").write_bytes(mutated_json(random, document))
        photos = read_coco(folder, skip=skip)
    else:
        image = {"image_id": 1, "width": 32, "height": 24, "file_name": "photo.jpg"}
        document = {"image": image, "annotations": document["annotations"]}
        (folder / "photo.json").write_bytes(mutated_json(random, document))
        photos = read_sa1b(folder, skip=skip)
    for item in photos:
        for found in item.objects(skip=skip):
            assert found.mask.shape == item.size


def rle(random, folder):
    try:
        document = json.loads(mutated_json(random, random.choice((_rle(), to_coco_rle(_rle())))))
        if isinstance(document.get("counts"), str):
            text = list(document["counts"])
            for _ in range(random.randrange(3)):
                text[random.randrange(len(text) + 1) :][:1] = random.choice("0P`o_O~\x00")
            document = from_coco_rle({**document, "counts": "".join(text)})
        rle_to_box(document)
        found = decode_rle(document)
        assert list(found.shape) == document["size"]
    except (ValueError, KeyError, TypeError, AttributeError):  # UnicodeDecodeError, too
        pass  # a function on values, not on files: Python's own errors say enough


def formats(random, folder):
    masks = [
        LabelledMask(
            rle=encode_rle(np.random.default_rng(random.randrange(99)).random(SIZE) > level),
            predicted_iou=random.random(),
            stability_score=random.random(),
            points=[],
            crop_box=[0, 0, 32, 24],
            label="".join(map(chr, random.sample(range(0x3000), 5))),
        )
        for level in random.sample((0.2, 0.9, 0.99, 1.0), 2)
    ]
    ElementTree.fromstring(svg_text(masks, size=SIZE))
    drawn = {
        shape["group_id"] for shape in labelme_document(masks, file_name="x", size=SIZE)["shapes"]
    }
    assert drawn == {number for number, item in enumerate(masks) if item.area}
    for document in (coco_document, sa1b_document):
        json.dumps(document(masks, file_name="x", size=SIZE), allow_nan=False)


def record(random, folder):
    from sam_edge_benchmarks.record import read_record

    path = folder / "record.json"
    path.write_bytes(mutated_json(random, _record()))
    read_record(path)


@cache
def _record():
    results = Path(__file__).parents[2] / "benchmarks" / "results"
    return json.loads(next(results.glob("*nano.json")).read_text())


KNOBS = (
    "points_per_side",
    "points_per_batch",
    "pred_iou_thresh",
    "stability_score_thresh",
    "stability_score_offset",
    "box_nms_thresh",
    "crop_n_layers",
    "crop_nms_thresh",
    "crop_overlap_ratio",
    "crop_n_points_downscale_factor",
    "min_mask_region_area",
    "point_grids",
    "output_mode",
    "memory_ceiling_bytes",
)


def knobs(random, folder):
    names = random.sample(KNOBS, 2)
    spec = read_spec(BOX)
    model = model_of(_encode, _decode, spec)
    generator = sam_edge.SamAutomaticMaskGenerator(
        model,
        **{"points_per_side": 2, **{name: random.choice(ODD) for name in random.sample(names, 2)}},
    )
    if len(generator.point_grids) <= 3 and max(map(len, generator.point_grids)) < 100:
        height, width = random.choice(((24, 32), (1, 300), (300, 1), (1, 1)))
        generator.generate(np.zeros((height, width, 3), np.uint8))


def _encode(feeds):
    return {"image_embeddings": np.zeros((1, 256, 24, 24), np.float32)}


def _decode(feeds):
    count = len(feeds["point_labels"])
    logits = np.full((count, 4, 96, 96), -9, np.float32)
    logits[:, :, 20:40, 30:50] = 9
    return {"low_res_masks": logits, "iou_predictions": np.full((count, 4), 0.99, np.float32)}


@cache
def _checkpoints():
    import torch
    from safetensors.torch import save

    state = {
        "mask_decoder.iou_token.weight": torch.ones(1, 8),
        "image_encoder.x": torch.arange(12.0).reshape(3, 4).T,
        "half": torch.ones(3, dtype=torch.float16),
        "brain": torch.ones(3, dtype=torch.bfloat16),
    }
    seeds = [save({name: tensor.contiguous() for name, tensor in state.items()})]
    for content in (state, {"state_dict": state, "epoch": 3, "names": ["a"]}):
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            seeds.append(file.getvalue())
    return [*seeds, pickle.dumps({"a": 1}), b"version https://git-lfs.github.com/spec/v1\n"]


def checkpoint(random, folder):
    from sam_edge.checkpoints.stored import StoredTensor
    from sam_edge.checkpoints.weights import official_tensors, read_tensors, read_values

    path = folder / random.choice(("x.pth", "x.safetensors"))
    path.write_bytes(mutated_bytes(random, random.choice(_checkpoints()), _checkpoints()))
    tensors, _ = official_tensors(read_tensors(path).tensors, path)
    for name, tensor in tensors.items():
        if isinstance(tensor, StoredTensor):
            read_values(tensor, name, path)


class _Scratch:
    name = ""


_scratch = _Scratch()
"""Where seeds are made; the runner sets it."""

DOORS = {
    door.__name__: door
    for door in (
        manifest,
        graph,
        embedding,
        photo,
        mask,
        prompts,
        detections,
        prompt_file,
        photo_list,
        grounding,
        phrases,
        truth,
        rle,
        formats,
        record,
        knobs,
        checkpoint,
    )
}
NEEDS = {"checkpoint": "torch", "phrases": "tokenizers", "record": "sam_edge_benchmarks"}
ALLOWED = SamEdgeError
