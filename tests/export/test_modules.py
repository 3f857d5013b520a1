"""Our torch modules compute what the official ones do, on the same seeded weights."""

from functools import partial

import pytest
import torch

from sam_edge_export.modules.image_encoder import ImageEncoderViT, query_chunks
from sam_edge_export.modules.sam import NativeDecoder, OfficialDecoder, Sam
from sam_edge_export.modules.tiny_vit import MBConv
from sam_edge_export.modules.transformer import Attention
from sam_edge_export.seeded import seeded_state


def relative(value, truth):
    return float((value - truth).norm() / truth.norm())


def randomised(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return module.eval()


@pytest.mark.parametrize(
    ("image_size", "chunks"), [(256, 1), (320, 1), (896, 7)], ids=lambda value: str(value)
)
def test_the_image_encoder_is_the_official_one(image_size, chunks):
    from segment_anything.modeling import ImageEncoderViT as Official

    official = randomised(
        Official(
            img_size=image_size,
            embed_dim=48,
            depth=2,
            num_heads=3,
            qkv_bias=True,
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=(1,),
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        )
    )
    ours = ImageEncoderViT(image_size, 48, 2, 3, (1,)).eval()
    assert query_chunks(image_size // 16) == chunks
    ours.load_state_dict(official.state_dict())
    image = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert relative(ours(image), official(image)) < 2e-6


@pytest.fixture(scope="module")
def decoders():
    from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

    sam = Sam("nano", 256)
    sam.load_state_dict(seeded_state("nano", 256, 0))
    prompt_encoder = PromptEncoder(256, (16, 16), (256, 256), 16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer)
    prompt_encoder.load_state_dict(sam.prompt_encoder.state_dict())
    mask_decoder.load_state_dict(sam.mask_decoder.state_dict())
    return sam.eval(), prompt_encoder.eval(), mask_decoder.eval()


COORDS = torch.tensor([[[30.0, 40.0], [200.5, 100.25]], [[5.0, 250.0], [128.0, 9.0]]])
LOGITS = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(3)) * 5


@pytest.mark.parametrize("prompt", ["points", "box", "box and points", "mask and points", "mask"])
def test_the_decoder_is_the_official_one(decoders, prompt):
    sam, prompt_encoder, mask_decoder = decoders
    embedding = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(2))
    points = (COORDS, torch.tensor([[1, 0], [1, 1]])) if "points" in prompt else None
    boxes = torch.tensor([[10.0, 20, 90, 120], [50, 5, 250, 200]]) if "box" in prompt else None
    masks = LOGITS if "mask" in prompt else None
    coords, labels = torch.zeros(2, 0, 2), torch.zeros(2, 0)
    if points is not None:
        coords, labels = points[0], points[1].float()
    if boxes is not None:
        coords = torch.cat([coords, boxes.reshape(2, 2, 2)], 1)
        labels = torch.cat([labels, torch.tensor([[2.0, 3.0]]).expand(2, -1)], 1)
    elif points is not None:
        coords = torch.cat([coords, torch.zeros(2, 1, 2)], 1)
        labels = torch.cat([labels, -torch.ones(2, 1)], 1)
    with torch.inference_mode():
        sparse, dense = prompt_encoder(points, boxes, masks)
        truth, scores = mask_decoder.predict_masks(
            embedding, prompt_encoder.get_dense_pe(), sparse, dense
        )
        mask_input = LOGITS if masks is not None else torch.zeros(1, 1, 64, 64)
        has = torch.ones(2) if masks is not None else torch.zeros(1)
        ours, our_scores = NativeDecoder(sam)(embedding, coords, labels, mask_input, has)
    assert relative(ours, truth) < 5e-6
    assert float((our_scores - scores).abs().max()) < 1e-5


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("size", [(100.0, 250.0), (300.0, 200.0)])
def test_the_official_decoder_is_the_official_onnx_model(decoders, single, size):
    from segment_anything.modeling import ImageEncoderViT as Official
    from segment_anything.modeling import Sam as OfficialSam
    from segment_anything.utils.onnx import SamOnnxModel

    sam, prompt_encoder, mask_decoder = decoders
    encoder = Official(img_size=256, embed_dim=8, depth=1, num_heads=1)
    whole = OfficialSam(encoder, prompt_encoder, mask_decoder)
    truth = SamOnnxModel(whole, return_single_mask=single)
    feeds = (
        torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(2)),
        COORDS[:1],
        torch.tensor([[1.0, -1.0]]),
        LOGITS[:1],
        torch.ones(1),
        torch.tensor(size),
    )
    with torch.inference_mode():
        expected, got = truth(*feeds), OfficialDecoder(sam, single=single)(*feeds)
    for value, wanted in zip(got, expected, strict=True):
        assert value.shape == wanted.shape
        assert relative(value, wanted) < 1e-5


def test_folding_a_projection_into_the_few_changes_nothing_but_rounding():
    attention = randomised(Attention(32, 4, downsample=2))
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(3, 5, 32, generator=generator)
    for batch in (1, 3):
        many, values = torch.randn(2, batch, 40, 32, generator=generator)
        with torch.inference_mode():
            expected = attention(few, many, values)
            assert relative(attention.few_to_many(few, many, values), expected) < 2e-6
            # the other way round: forward takes few queries only of the shape that it is given
            turned = attention(many.expand(3, -1, -1), few, few * 2)
            for shared in (False, True):
                folded = attention.many_to_few(many, few, few * 2, shared=shared)
                assert relative(folded, turned) < 2e-6


@pytest.mark.parametrize("strips", [1, 2, 5, 13])
def test_strips_of_an_mbconv_are_the_whole(strips):
    block = randomised(MBConv(8, strips))
    for norm in (block.conv1.bn, block.conv2.bn, block.conv3.bn):
        norm.running_mean.fill_(0.3)  # what is padded is then not zero before the convolution
    image = torch.randn(2, 8, 13, 9, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        cut = block(image, 13)
        plain = torch.nn.functional.gelu(block.conv1(image))
        plain = torch.nn.functional.gelu(block.conv2(plain))
        plain = torch.nn.functional.gelu(image + block.conv3(plain))
        assert relative(cut, plain) < 2e-6
