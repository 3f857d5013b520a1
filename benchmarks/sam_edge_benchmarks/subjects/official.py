"""The official modules at any image size (their own builders know 1024 only).

Source: ``segment_anything/build_sam.py`` and ``mobile_sam/build_sam.py``.
"""

from __future__ import annotations

from functools import partial

from sam_edge_benchmarks.subjects import standins
from sam_edge_benchmarks.work import Opaque, UnavailableError

VIT = {
    "vit_b": (768, 12, 12, (2, 5, 8, 11)),
    "vit_l": (1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": (1280, 32, 16, (7, 15, 23, 31)),
}
"""Width, depth, heads and global blocks."""

TINY_VIT = {
    "embed_dims": [64, 128, 160, 320],
    "depths": [2, 2, 6, 2],
    "num_heads": [2, 4, 5, 10],
    "window_sizes": [7, 7, 14, 7],
    "mlp_ratio": 4.0,
    "drop_rate": 0.0,
    "drop_path_rate": 0.0,
    "use_checkpoint": False,
    "mbconv_expand_ratio": 4.0,
    "local_conv_size": 3,
    "layer_lr_decay": 0.8,
}


def import_package(variant: str) -> Opaque:
    """Import ``segment_anything`` or ``mobile_sam``.

    Raises:
        UnavailableError: if there is no official code for the variant.
        ImportError: if the package is not installed.
    """
    standins.install_torchvision()
    if variant in VIT:
        import segment_anything

        return segment_anything
    if variant == "mobile_sam":
        import warnings

        with warnings.catch_warnings():
            # timm warns of its own old module names, which mobile_sam imports
            warnings.simplefilter("ignore")
            import mobile_sam

        return mobile_sam
    raise UnavailableError(f"there is no official code for {variant}")


def build(variant: str, image_size: int, checkpoint: str) -> Opaque:
    """Return the official ``Sam`` with a prepared checkpoint's weights."""
    import torch

    import_package(variant)
    modeling = _modeling(variant)
    if variant in VIT:
        width, depth, heads, global_blocks = VIT[variant]
        encoder = modeling.ImageEncoderViT(
            depth=depth,
            embed_dim=width,
            img_size=image_size,
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=heads,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=global_blocks,
            window_size=14,
            out_chans=256,
        )
    else:
        encoder = modeling.TinyViT(img_size=image_size, in_chans=3, num_classes=1000, **TINY_VIT)
    sam = around(encoder, image_size, modeling)
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    missing, unknown = sam.load_state_dict(weights, strict=False)
    # TinyViT has a classifier that segmentation never runs and some checkpoints leave out.
    needed = [
        name
        for name in missing
        if not name.startswith("image_encoder.head.")
        and not name.startswith("image_encoder.norm_head.")
        and not name.endswith("attention_bias_idxs")
    ]
    if needed or unknown:
        raise ValueError(f"{checkpoint} is no {variant} at {image_size} px: {[*needed, *unknown]}")
    return sam.eval()


def around(encoder: Opaque, image_size: int, modeling: Opaque) -> Opaque:
    """Return the official ``Sam`` with an image encoder, its other parts untrained.

    Args:
        encoder: a module that turns images into ``[B, 256, S/16, S/16]``.
        image_size: S.
        modeling: the official package's ``modeling``.
    """
    grid = image_size // 16
    return modeling.Sam(
        image_encoder=encoder,
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=256,
            image_embedding_size=(grid, grid),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(
                depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8
            ),
            transformer_dim=256,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    )


def _modeling(variant: str) -> Opaque:
    if variant in VIT:
        import segment_anything.modeling as modeling
    else:
        import mobile_sam.modeling as modeling
    return modeling
