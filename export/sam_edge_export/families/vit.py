"""SAM's own: plain ViTs of three sizes. Source: ``segment_anything/build_sam.py``."""

from __future__ import annotations

from functools import partial

from torch import nn

from sam_edge_export.families.family import Family
from sam_edge_export.families.official import around
from sam_edge_export.modules.image_encoder import ImageEncoderViT


def _family(width: int, depth: int, heads: int, global_blocks: tuple[int, ...]) -> Family:
    def build(image_size: int) -> nn.Module:
        return ImageEncoderViT(image_size, width, depth, heads, global_blocks)

    def official(image_size: int) -> nn.Module:
        import segment_anything.modeling as modeling

        encoder = modeling.ImageEncoderViT(
            depth=depth,
            embed_dim=width,
            img_size=image_size,
            mlp_ratio=4,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=heads,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=global_blocks,
            window_size=14,
            out_chans=256,
        )
        return around(encoder, image_size, modeling)

    return Family(build, official)


VIT_B = _family(768, 12, 12, (2, 5, 8, 11))
VIT_L = _family(1024, 24, 16, (5, 11, 17, 23))
VIT_H = _family(1280, 32, 16, (7, 15, 23, 31))
