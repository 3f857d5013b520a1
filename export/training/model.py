"""``nano`` as it is trained: many pictures, each with several prompts, in one forward pass."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from sam_edge.zoo.table import PIXEL_MEAN, PIXEL_STD
from sam_edge_export.modules.sam import Sam

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
        if embeddings.device.type != "cpu":  # a GPU prefers few large calls
            return self._decode(embeddings, points, labels, previous, has_previous)
        # alone, a picture is projected once for all its prompts
        given = (embeddings, points, labels, previous, has_previous)
        parts = (itertools.repeat(None) if x is None else torch.split(x, 1) for x in given)
        pictures = zip(*parts, strict=False)
        logits, scores = zip(*(self._decode(*picture) for picture in pictures), strict=True)
        return torch.cat(logits), torch.cat(scores)

    def _decode(
        self,
        embeddings: Tensor,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        has_previous: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
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
        if batch > 1:
            embeddings = embeddings.repeat_interleave(prompts, 0)
        logits, scores = self.mask_decoder(embeddings, positions, sparse, dense)
        return (
            logits.reshape(batch, prompts, *logits.shape[1:]).float(),
            scores.reshape(batch, prompts, -1).float(),
        )


def mask_loss(logits: Tensor, targets: Tensor, focal_weight: float) -> Tensor:
    """SAM's focal loss, but 1 - IoU for its dice: IoU is what ``evaluate.py`` judges by.

    Args:
        logits: ``[..., M, h, w]``.
        targets: ``[..., L, h, w]`` in [0, 1]; a pixel on a border counts for both sides.
        focal_weight: SAM's is 20.

    Returns:
        ``[..., M, L]``, every mask against every target.
    """
    inside = targets.flatten(-2).transpose(-2, -1)
    flat = logits.flatten(-2)
    probability = flat.sigmoid()
    missed = 0.25 * (1 - probability) ** 2 * F.softplus(-flat)
    false = 0.75 * probability**2 * F.softplus(flat)
    focal = ((missed - false) @ inside + false.sum(-1, keepdim=True)) / flat.shape[-1]
    overlap = probability @ inside
    union = probability.sum(-1, keepdim=True) + inside.sum(-2, keepdim=True) - overlap
    return focal_weight * focal + 1 - (overlap + 1) / (union + 1)


def mask_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of thresholded masks with thresholded targets; shapes as in ``mask_loss``."""
    ours = (logits > 0).flatten(-2).float()
    theirs = (targets > 0.5).flatten(-2).float()
    overlap = ours @ theirs.transpose(-2, -1)
    union = ours.sum(-1, keepdim=True) + theirs.sum(-1)[..., None, :] - overlap
    return overlap / union.clamp(min=1)
