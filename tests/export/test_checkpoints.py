"""Every kind of checkpoint becomes the model that its own reference implementation is."""

import json

import pytest
import standins
import torch
from safetensors.torch import save_file

from sam_edge.checkpoints import CheckpointError, source_sha256
from sam_edge_export.load import load_checkpoint
from sam_edge_export.modules.sam import NativeDecoder
from sam_edge_export.modules.tiny_vit import TinyViT
from sam_edge_export.seeded import seeded_state


def relative(value, truth):
    return float((value - truth).norm() / truth.norm())


def picture(size, seed=1):
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def official_mobile_sam():
    import mobile_sam

    sam = mobile_sam.sam_model_registry["vit_t"]()
    state = seeded_state("mobile_sam", 1024, 0)
    # The classifier that its encoder still carries is the only thing that we do not have.
    missing, unexpected = sam.load_state_dict(state, strict=False)
    assert unexpected == []
    assert {name.rsplit(".", 1)[0] for name in missing} == {
        "image_encoder.norm_head",
        "image_encoder.head",
    }
    return sam.eval()


def test_a_mobile_sam_file_is_recognised_and_computes_what_mobile_sam_does(tmp_path):
    official = official_mobile_sam()
    torch.save(official.state_dict(), tmp_path / "mobile_sam.pt")
    ours, notes = load_checkpoint(tmp_path / "mobile_sam.pt")
    assert (ours.variant, ours.image_size, notes) == ("mobile_sam", 1024, [])
    with torch.inference_mode():
        image = picture(1024)
        assert relative(ours.image_encoder(image), official.image_encoder(image)) < 5e-6


def test_mobile_sam_takes_other_image_sizes():
    """The official forward pass reshapes to 64 x 64; its layers themselves take any size."""
    official = official_mobile_sam().image_encoder
    weights = {name: tensor for name, tensor in official.state_dict().items() if "head" not in name}
    ours = TinyViT(320).eval()
    ours.load_state_dict(weights)
    for layer, side in zip(official.layers[1:], (40, 20, 20), strict=True):
        for block in layer.blocks:
            block.input_resolution = (side, side)
    for layer, side in zip(official.layers, (80, 40, 20), strict=False):
        layer.downsample.input_resolution = (side, side)
    with torch.inference_mode():
        tokens = official.patch_embed(picture(320))
        for layer in official.layers:
            tokens = layer(tokens)
        truth = official.neck(tokens.reshape(1, 20, 20, -1).permute(0, 3, 1, 2))
        assert relative(ours(picture(320)), truth) < 5e-6


def test_position_tables_are_resampled_as_the_official_code_does(vit_b_checkpoint):
    """The official attention resamples relative positions by itself; absolute ones we give it."""
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT

    ours, notes = load_checkpoint(vit_b_checkpoint, image_size=512)
    assert notes == ["position embeddings resampled from 1024 to 512 px"]
    official = ImageEncoderViT(
        img_size=512,
        qkv_bias=True,
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=(2, 5, 8, 11),
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    ).eval()
    state = torch.load(vit_b_checkpoint, weights_only=True)
    for name, parameter in official.named_parameters():
        parameter.data = state[f"image_encoder.{name}"]
    table = state["image_encoder.pos_embed"].permute(0, 3, 1, 2)
    table = torch.nn.functional.interpolate(table, (32, 32), mode="bicubic", antialias=True)
    official.pos_embed.data = table.permute(0, 2, 3, 1)
    with torch.inference_mode():
        image = picture(512)
        assert relative(ours.image_encoder(image), official(image)) < 5e-6


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    """A ``SamModel`` as wide as ViT-B, with a small frame, and its sharded directory."""
    with standins.hidden():
        transformers = pytest.importorskip("transformers")
        transformers.utils.logging.disable_progress_bar()
        torch.manual_seed(0)
        config = transformers.SamConfig(
            vision_config={"image_size": 256},
            prompt_encoder_config={"image_size": 256, "image_embedding_size": 16},
            # The official epsilon. transformers' default is a tenth of it, which shows in masks
            # of fresh weights (relative 1e-4), whose activations are small.
            mask_decoder_config={"layer_norm_eps": 1e-5},
        )
        model = transformers.SamModel(config).eval()
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.05)  # zeros would hide a wrong name
    directory = tmp_path_factory.mktemp("hub") / "sam-vit-base"
    model.save_pretrained(directory, max_shard_size="150MB")
    assert len(list(directory.glob("*.safetensors"))) > 1
    return model, directory


def test_a_hugging_face_directory_computes_what_transformers_does(hugging_face):
    model, directory = hugging_face
    ours, notes = load_checkpoint(directory)
    assert (ours.variant, ours.image_size, notes) == ("vit_b", 256, [])
    image = picture(256)
    box = torch.tensor([[[20.0, 30.0, 200.0, 210.0]]])
    with torch.inference_mode():
        embedding = ours.image_encoder(image)
        truth = model.get_image_embeddings(image)
        assert relative(embedding, truth) < 5e-6
        for multimask, outputs in ((True, slice(1, 4)), (False, slice(0, 1))):
            answer = model(image_embeddings=truth, input_boxes=box, multimask_output=multimask)
            masks, scores = NativeDecoder(ours)(
                truth,
                box.reshape(1, 2, 2),
                torch.tensor([[2.0, 3.0]]),
                torch.zeros(1, 1, 64, 64),
                torch.zeros(1),
            )
            assert relative(masks[:, outputs], answer.pred_masks[0]) < 5e-6
            assert torch.allclose(scores[:, outputs], answer.iou_scores[0], atol=1e-5)


def test_a_sharded_directory_has_one_identity(hugging_face, tmp_path):
    _, directory = hugging_face
    identity = source_sha256(directory)
    assert len(identity) == 64
    assert identity == source_sha256(directory)


def test_bad_directories_get_one_line(hugging_face, tmp_path):
    _, directory = hugging_face
    (tmp_path / "empty").mkdir()
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "partial").mkdir()
    for name in ("config.json", "model.safetensors.index.json"):
        (tmp_path / "partial" / name).write_bytes((directory / name).read_bytes())
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_bytes((directory / "config.json").read_bytes())
    (tmp_path / "outside" / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"weight": "../elsewhere.safetensors"}})
    )
    expected = {
        "empty": "no config.json that reads",
        "bert": "expected model_type sam, found bert",
        "partial": "expected model-00001-of",
        "outside": "names a file outside its folder",
    }
    for name, words in expected.items():
        with pytest.raises(CheckpointError, match=words) as caught:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_safetensors_files_say_their_image_size(tmp_path):
    path = tmp_path / "nano.safetensors"
    save_file(seeded_state("nano", 384, 0), path, {"variant": "nano", "image_size": "384"})
    sam, notes = load_checkpoint(path)
    assert (sam.variant, sam.image_size, notes) == ("nano", 384, [])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_checkpoint(path)


def test_half_precision_files_need_no_counters(tmp_path):
    path = tmp_path / "nano.safetensors"
    state = {
        name: value.half()
        for name, value in seeded_state("nano", 256, 0).items()
        if value.is_floating_point()
    }
    save_file(state, path)
    sam, _ = load_checkpoint(path, image_size=256)
    name = "mask_decoder.iou_token.weight"
    assert torch.equal(sam.state_dict()[name], state[name].float())


def test_infinities_are_refused(tmp_path):
    state = seeded_state("nano", 256, 0)
    state["image_encoder.from32.1.running_var"][3] = 1e6
    path = tmp_path / "nano.safetensors"
    save_file({name: value.half() for name, value in state.items()}, path)
    with pytest.raises(CheckpointError, match=r"from32\.1\.running_var holds infinities or NaN"):
        load_checkpoint(path, image_size=256)


def test_a_named_variant_that_does_not_fit_gets_one_line(nano_checkpoint):
    with pytest.raises(CheckpointError, match=r"is no vit_b: expected image_encoder\.pos_embed"):
        load_checkpoint(nano_checkpoint, "vit_b")
    with pytest.raises(CheckpointError, match="'vit_g' is not one of nano, mobile_sam, vit_b"):
        load_checkpoint(nano_checkpoint, "vit_g")
