"""``nano`` as it is trained: many pictures, each with several prompts, in one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_edge_export.modules.sam import PIXEL_MEAN, PIXEL_STD, Sam

DEFAULT_SIZE = 384


def preprocess(images: Tensor, sizes: Tensor) -> Tensor:
    """``[B, S, S, 3]`` uint8 to ``[B, 3, S, S]`` normalised float32, zero outside ``sizes``."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device)
    std = torch.tensor(PIXEL_STD, device=images.device)
    x = ((images.float() - mean) / std).permute(0, 3, 1, 2)
    rows = torch.arange(x.shape[2], device=x.device)[None, :] < sizes[:, :1]
    columns = torch.arange(x.shape[3], device=x.device)[None, :] < sizes[:, 1:]
    return x * (rows[:, None, :, None] & columns[:, None, None, :])


class NanoModel(Sam):
    """The exported model's own modules, with a forward pass for training."""

    def __init__(self) -> None:
        super().__init__("nano", DEFAULT_SIZE)
        # the exporter always loads this matrix; a model trained from nothing needs some
        torch.nn.init.normal_(self.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix)

    def decode(
        self,
        embeddings: Tensor,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None = None,
        has_previous: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks for ``K`` prompts on each of ``B`` pictures.

        Args:
            embeddings: ``[B, 256, h, w]``.
            points: ``[B, K, T, 2]`` in the encoder's pixels.
            labels: ``[B, K, T]``.
            previous: ``[B, K, 4h, 4w]`` logits of an earlier answer.
            has_previous: ``[B, K]`` bool, which of them count.

        Returns:
            Logits ``[B, K, 4, 4h, 4w]`` and predicted IoU ``[B, K, 4]``, float32.
        """
        batch, _, height, width = embeddings.shape
        prompts = points.shape[1]
        encoder = self.prompt_encoder
        # bfloat16 would place a point no finer than a few pixels
        with torch.autocast(embeddings.device.type, enabled=False):
            frame = torch.tensor([16.0 * width, 16.0 * height], device=points.device)
            sparse = encoder.embed_points(points.flatten(0, 1), labels.flatten(0, 1), frame)
            positions = encoder.dense_positions(embeddings)
            if previous is None or has_previous is None:
                dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
            else:
                given = has_previous.flatten().float()
                dense = encoder.embed_masks(previous.flatten(0, 1)[:, None], given)
        repeated = embeddings.repeat_interleave(prompts, 0)
        logits, scores = self.mask_decoder(repeated, positions, sparse, dense)
        return (
            logits.reshape(batch, prompts, *logits.shape[1:]).float(),
            scores.reshape(batch, prompts, -1).float(),
        )


def focal_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    """SAM's mask loss, 20 x focal + dice: ``[..., h, w]``, broadcast, to ``[...]``."""
    probability = logits.sigmoid()
    cross = F.softplus(logits) - logits * target
    right = probability * target + (1 - probability) * (1 - target)
    alpha = 0.25 * target + 0.75 * (1 - target)
    focal = (alpha * (1 - right) ** 2 * cross).mean((-2, -1))
    overlap = (probability * target).sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    return 20 * focal + dice


def mask_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of thresholded masks with thresholded soft targets: ``[..., h, w]`` to ``[...]``."""
    ours, theirs = logits > 0, target > 0.5
    overlap = (ours & theirs).sum((-2, -1)).float()
    return overlap / (ours | theirs).sum((-2, -1)).clamp(min=1)
