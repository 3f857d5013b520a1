"""The official ``Sam`` at any image size; the official builders know 1024 only."""

from __future__ import annotations

from types import ModuleType

from torch import nn


def around(encoder: nn.Module, image_size: int, modeling: ModuleType) -> nn.Module:
    """Return the official ``Sam`` with an image encoder, its other parts untrained.

    Args:
        encoder: a module that turns images into ``[B, 256, S/16, S/16]``.
        image_size: S.
        modeling: the official package's ``modeling``.
    """
    grid = image_size // 16
    sam: nn.Module = modeling.Sam(
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
    return sam
