"""``--frame photo``: the graph takes what the photo covers and gives what PyTorch gives for it."""

import numpy as np
import pytest
import torch
from PIL import Image

import sam_edge
from sam_edge.bundle import read_spec
from sam_edge.errors import SamEdgeError
from sam_edge_export import trace
from sam_edge_export.modules import image_encoder, tiny_vit
from sam_edge_export.modules.photo_frame import PhotoFrameEncoder
from sam_edge_export.modules.sam import Sam
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.quantize.equalize import equalize
from sam_edge_export.quantize.gate import Int8
from sam_edge_export.seeded import seeded_state
from sam_edge_runtimes import open_session

ENGINES = ("onnxruntime", "openvino")
FRAMES = ((256, 256), (192, 256), (256, 64), (64, 256), (128, 192))


def relative(value, truth):
    return float(np.linalg.norm(value - truth) / np.linalg.norm(truth))


def small(variant, size=256):
    """A family's own model; of a ViT two blocks, one with windows and one without."""
    sam = Sam(variant, size)
    sam.load_state_dict(seeded_state(variant, size, 0))
    if variant == "vit_b":
        sam.image_encoder.blocks = sam.image_encoder.blocks[1:3]
    return sam.eval()


FULL_SIZE_SLOW = [
    "nano",
    *(pytest.param(variant, marks=pytest.mark.slow) for variant in ("mobile_sam", "vit_b")),
]


@pytest.mark.parametrize("variant", FULL_SIZE_SLOW)
def test_a_graph_takes_any_frame_and_gives_what_pytorch_gives(variant, tmp_path, monkeypatch):
    monkeypatch.setattr(image_encoder, "CHUNK_LOGITS", 2**14)  # four chunks of 16 rows
    monkeypatch.setattr(tiny_vit, "STRIP_ROWS", 16)  # four strips of 64 rows
    sam = small(variant)
    path = tmp_path / "graph.onnx"
    trace.write_graph(trace.encoder(sam, "photo"), path, {}, precision="fp32")
    shapes = {"image": ("batch", 3, "height", "width")}
    image = np.random.default_rng(0).standard_normal((1, 3, 256, 256), np.float32)
    truth = PhotoFrameEncoder(sam.image_encoder, 256)
    for engine in ENGINES:
        session = open_session(engine, path, input_shapes=shapes, fixed={"batch": 1})
        for height, width in FRAMES:
            part = np.ascontiguousarray(image[:, :, :height, :width])
            with torch.inference_mode():
                expected = truth(torch.from_numpy(part)).numpy()
            answer = session.run({"image": part})["image_embeddings"]
            assert answer.shape == (1, 256, 16, 16)
            assert relative(answer, expected) < 5e-6, (engine, height, width)


@pytest.mark.parametrize("variant", ["nano", "mobile_sam", "vit_b"])
def test_a_photo_that_fills_the_frame_loses_nothing(variant):
    sam = small(variant)
    image = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = sam.image_encoder(image)
        assert torch.equal(PhotoFrameEncoder(sam.image_encoder, 256)(image), whole)


def test_cells_beyond_the_photo_are_those_of_an_empty_frame():
    sam = small("nano")
    with torch.inference_mode():
        empty = sam.image_encoder(torch.zeros(1, 3, 256, 256))
        part = PhotoFrameEncoder(sam.image_encoder, 256)(torch.randn(1, 3, 128, 192))
    assert torch.equal(part[:, :, 8:], empty[:, :, 8:])
    assert torch.equal(part[:, :, :, 12:], empty[:, :, :, 12:])


def test_a_bundle_of_photo_frames_serves_every_photo(nano_checkpoint, photos, tmp_path):
    bundle = tmp_path / "bundle"
    results = export_bundle(nano_checkpoint, bundle, image_size=256, frame="photo", min_iou=0)
    spec = read_spec(bundle)
    assert spec.image.frame == "photo"
    assert {entry["frame"] for entry in spec.fidelity} == {"photo"}
    assert all(0 < result.embedding_rel_l2 < 1 for result in results)  # measured against the square
    for engine in ENGINES:
        model = sam_edge.load_model(bundle, runtime=engine, cache=False)
        for photo in photos.values():
            embedding = model.encode_image(photo)
            height, width = photo.shape[:2]
            result = model.decode(embedding, points=[(width // 2, height // 2)])
            assert result.masks.shape == (3, height, width)
            again = model.decode(
                embedding, points=[(width // 2, height // 2)], mask=result.low_res_logits[0]
            )
            assert again.masks.shape == (3, height, width)


def test_a_bundle_of_photo_frames_is_held_to_its_masks(nano_checkpoint, tmp_path):
    with pytest.raises(SamEdgeError, match="mask_iou"):
        export_bundle(
            nano_checkpoint, tmp_path / "bundle", image_size=256, frame="photo", min_iou=1.0
        )
    assert not (tmp_path / "bundle").exists()


def test_what_photo_frames_cannot_do_is_said_before_work_begins(nano_checkpoint, tmp_path):
    for wish in ({"decoder": "official"}, {"verify": False}):
        with pytest.raises(SamEdgeError, match=r"needs --decoder native.* or --min-iou 0"):
            export_bundle(nano_checkpoint, tmp_path / "b", frame="photo", **wish)
    with pytest.raises(SamEdgeError, match="expected one of square, photo"):
        export_bundle(nano_checkpoint, tmp_path / "b", frame="round")
    with pytest.raises(SamEdgeError, match="up to 1024, not 1280"):
        trace.encoder(Sam("nano", 1280), "photo")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["mobile_sam", "vit_b"])
def test_a_model_that_was_traced_for_photos_is_traced_for_the_square_as_ever(variant, tmp_path):
    def operators(sam, frame):
        graph = trace.traced(trace.encoder(sam, frame), tmp_path).graph
        return [node.op_type for node in graph.node]

    sam = small(variant)
    square = operators(sam, "square")
    assert operators(sam, "photo").count("Shape") > square.count("Shape")
    assert operators(sam, "square") == square


def test_photos_that_fill_the_square_prove_nothing(nano_checkpoint, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(images / "square.png")
    with pytest.raises(SamEdgeError, match="fills the square"):
        export_bundle(
            nano_checkpoint, tmp_path / "bundle", image_size=256, frame="photo", images=images
        )


def test_photo_frames_in_8_bits(nano_checkpoint, photos, tmp_path):
    bundle = tmp_path / "bundle"
    export_bundle(
        nano_checkpoint,
        bundle,
        image_size=256,
        frame="photo",
        precision="int8",
        int8=Int8(allow_slow=True),
        min_iou=0,
    )
    spec = read_spec(bundle)
    assert (spec.image.frame, spec.precision) == ("photo", "int8")
    assert all(entry["embedding_rel_l2"] < 1 for entry in spec.fidelity)
    for engine in ENGINES:
        model = sam_edge.load_model(bundle, runtime=engine, cache=False)
        for photo in photos.values():
            height, width = photo.shape[:2]
            masks = model.decode(
                model.encode_image(photo), points=[(width // 2, height // 2)]
            ).masks
            assert masks.shape == (3, height, width)


@pytest.mark.parametrize("variant", FULL_SIZE_SLOW)
def test_as_much_of_it_is_equalised_as_of_the_square(variant, tmp_path):
    sam = small(variant)
    graphs = [trace.traced(trace.encoder(sam, frame), tmp_path) for frame in ("square", "photo")]
    square, photo = map(equalize, graphs)
    assert square == photo > 0
