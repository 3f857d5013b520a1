"""MobileSAM: TinyViT before SAM's decoder. Source: ``mobile_sam/build_sam.py``."""

from __future__ import annotations

import warnings

from torch import nn

from sam_edge_export.families.family import Family
from sam_edge_export.families.official import around
from sam_edge_export.modules.tiny_vit import TinyViT


def _official(image_size: int) -> nn.Module:
    with warnings.catch_warnings():
        # timm warns of its own old module names, which mobile_sam imports
        warnings.simplefilter("ignore")
        import mobile_sam.modeling as modeling
    encoder = modeling.TinyViT(
        img_size=image_size,
        in_chans=3,
        num_classes=1000,
        embed_dims=[64, 128, 160, 320],
        depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7],
        mlp_ratio=4.0,
        drop_rate=0.0,
        drop_path_rate=0.0,
        use_checkpoint=False,
        mbconv_expand_ratio=4.0,
        local_conv_size=3,
        layer_lr_decay=0.8,
    )
    return around(encoder, image_size, modeling)


MOBILE_SAM = Family(TinyViT, _official)
