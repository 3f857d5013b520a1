"""SAM's mask decoder: four masks and their predicted IoU from tokens and an image embedding.

Parameter names are the official ones. Source: ``segment_anything/modeling/mask_decoder.py``.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge_export.modules.image_encoder import LayerNorm2d
from sam_edge_export.modules.transformer import TwoWayTransformer

MASKS = 4
"""One answer for clear prompts (output 0), three candidates for ambiguous ones (1 to 3)."""


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, depth: int) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (depth - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """``[..., inputs]`` to ``[..., outputs]``."""
        for index, layer in enumerate(self.layers):
            x = F.relu(layer(x)) if index < len(self.layers) - 1 else layer(x)
        return x


class MaskDecoder(nn.Module):
    """Tokens in, masks and scores out."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(width=width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASKS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(width, width, width // 8, 3) for _ in range(MASKS)
        )
        self.iou_prediction_head = MLP(width, width, MASKS, 3)

    def forward(
        self, image_embeddings: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            image_embeddings: ``[1, 256, h, w]``.
            image_pe: ``[1, 256, h, w]``.
            sparse: ``[B, N, 256]``.
            dense: ``[B|1, 256, h, w]``.

        Returns:
            Logits ``[B, 4, 4h, 4w]`` and predicted IoU ``[B, 4]``.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        image = (image_embeddings + dense).flatten(2).transpose(1, 2)
        positions = image_pe.flatten(2).transpose(1, 2)
        decoded, image = self.transformer(image, positions, tokens)
        weights = torch.stack(
            [
                mlp(decoded[:, 1 + index])
                for index, mlp in enumerate(self.output_hypernetworks_mlps)
            ],
            dim=1,
        )
        height, width = image_embeddings.shape[-2:]
        masks = self._upscaled(image) @ weights.transpose(1, 2)[:, None]
        # Each cell holds 4 x 4 pixels: two by two, each of them two by two again.
        masks = masks.reshape(-1, height, width, 2, 2, 2, 2, MASKS)
        masks = masks.permute(0, 7, 1, 3, 5, 2, 4, 6)
        masks = masks.reshape(-1, MASKS, 4 * height, 4 * width)
        scores: Tensor = self.iou_prediction_head(decoded[:, 0])
        return masks, scores

    def _upscaled(self, image: Tensor) -> Tensor:
        """``[B, h*w, 256]`` to ``[B, h*w, 16, 32]``: 16 pixels a cell, channels last.

        A transposed convolution whose stride is its kernel is a linear layer of each cell, so
        ``output_upscaling`` needs no map of channels first: nothing is moved but the masks.
        """
        up1, norm, _, up2, _ = self.output_upscaling
        assert isinstance(up1, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        assert isinstance(up2, nn.ConvTranspose2d)
        batch, cells, _ = image.shape
        x = _cell_linear(up1, image).reshape(batch, cells, 4, -1)
        x = F.gelu(F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps))
        return F.gelu(_cell_linear(up2, x)).reshape(batch, cells, 16, -1)


def _cell_linear(up: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """``[..., in]`` to ``[..., 2 * 2 * out]``, the cell's rows, columns, channels."""
    weight = up.weight.permute(2, 3, 1, 0).flatten(0, 2)
    assert up.bias is not None
    return F.linear(x, weight, up.bias.repeat(4))
