"""SAM's prompt encoder: points, boxes and masks become tokens and a dense map.

Parameter names are the official ones. A form without branches on the prompts: labels are compared,
and ``has_mask_input`` blends, so that one graph serves every prompt.

Source: ``segment_anything/modeling/prompt_encoder.py`` and ``utils/onnx.py``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sam_edge_export.modules.image_encoder import LayerNorm2d


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of positions in [0, 1]."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int = 128) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, features))

    def forward(self, unit: Tensor) -> Tensor:
        """``[..., 2]``, x and y in [0, 1], to ``[..., 2 * features]``."""
        angles = (2 * unit - 1) @ self.positional_encoding_gaussian_matrix * (2 * math.pi)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Prompts in the encoder's frame to embeddings of 256 channels."""

    def __init__(self, width: int = 256, mask_channels: int = 16) -> None:
        super().__init__()
        self.pe_layer = PositionEmbeddingRandom(width // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, kernel_size=2, stride=2),
            LayerNorm2d(mask_channels),
            nn.GELU(),
            nn.Conv2d(mask_channels, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def dense_positions(self, image_embeddings: Tensor) -> Tensor:
        """Positional encoding of an embedding's cells, ``[1, 256, h, w]``.

        Computed from the shape alone; engines fold it into a constant once the shape is fixed.
        """
        height, width = image_embeddings.shape[-2:]
        ones = torch.ones_like(image_embeddings[0, 0])
        y = (ones.cumsum(0) - 0.5) / height
        x = (ones.cumsum(1) - 0.5) / width
        out: Tensor = self.pe_layer(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None]
        return out

    def embed_points(self, coords: Tensor, labels: Tensor, size: Tensor) -> Tensor:
        """Embed points and box corners.

        Args:
            coords: ``[B, N, 2]`` in the encoder's frame.
            labels: ``[B, N]``: -1 padding, 0 background, 1 foreground, 2 and 3 a box's corners.
            size: ``[2]``: width and height of the frame.

        Returns:
            ``[B, N, 256]``.
        """
        # A point means the middle of its pixel.
        tokens = self.pe_layer((coords + 0.5) / size)
        kind = labels[..., None]
        tokens = torch.where(kind == -1, self.not_a_point_embed.weight, tokens)
        for label, embedding in enumerate(self.point_embeddings):
            assert isinstance(embedding, nn.Embedding)
            tokens = tokens + (kind == label) * embedding.weight
        return tokens

    def embed_masks(self, mask_input: Tensor, has_mask_input: Tensor) -> Tensor:
        """Embed masks, or their absence.

        Args:
            mask_input: ``[B|1, 1, 4h, 4w]`` logits.
            has_mask_input: ``[B|1]``, 0 or 1.

        Returns:
            ``[B|1, 256, h, w]``.
        """
        has = has_mask_input.reshape(-1, 1, 1, 1)
        none = self.no_mask_embed.weight.reshape(1, -1, 1, 1)
        out: Tensor = has * self.mask_downscaling(mask_input) + (1 - has) * none
        return out
