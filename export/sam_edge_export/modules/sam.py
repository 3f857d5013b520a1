"""The families of models, and their two exportable halves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge.spec import OFFICIAL_THRESHOLDS, Thresholds
from sam_edge_export.modules.image_encoder import ImageEncoderViT
from sam_edge_export.modules.mask_decoder import MaskDecoder
from sam_edge_export.modules.nano_encoder import NanoEncoder
from sam_edge_export.modules.prompt_encoder import PromptEncoder
from sam_edge_export.modules.tiny_vit import TinyViT

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True)
class Variant:
    """What sets a family apart: its encoder.

    Attributes:
        build_encoder: image size -> a module ``[B, 3, S, S]`` -> ``[B, 256, S/16, S/16]``.
        image_size: what its checkpoints were trained at.
        licence: of its published weights.
        everything: what "everything" keeps.
    """

    build_encoder: Callable[[int], nn.Module]
    image_size: int
    licence: str
    everything: Thresholds = OFFICIAL_THRESHOLDS


def _vit(width: int, depth: int, heads: int, global_blocks: tuple[int, ...]) -> Variant:
    return Variant(
        lambda image_size: ImageEncoderViT(image_size, width, depth, heads, global_blocks),
        image_size=1024,
        licence="Apache-2.0",
    )


VARIANTS: Mapping[str, Variant] = {
    # segment_anything/build_sam.py
    "vit_b": _vit(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": _vit(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": _vit(1280, 32, 16, (7, 15, 23, 31)),
    # mobile_sam/build_sam.py
    "mobile_sam": Variant(TinyViT, image_size=1024, licence="Apache-2.0"),
    # docs/nano.md
    "nano": Variant(
        lambda image_size: NanoEncoder(),
        image_size=384,
        licence="Apache-2.0",
        everything=Thresholds(pred_iou_thresh=0.4, stability_score_thresh=0.3),
    ),
}


class Sam(nn.Module):
    """A whole model under the key names of official checkpoints."""

    def __init__(self, variant: str, image_size: int) -> None:
        super().__init__()
        self.variant = variant
        self.image_size = image_size
        self.image_encoder = VARIANTS[variant].build_encoder(image_size)
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()


class NativeDecoder(nn.Module):
    """The native decoder contract: low-resolution logits of all four outputs.

    Nothing in it depends on the image size: the positional encoding of the embedding's cells is
    computed from its shape, so one graph serves every size.
    """

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.prompt_encoder = sam.prompt_encoder
        self.mask_decoder = sam.mask_decoder

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode; shapes as in ``docs/bundle.md``."""
        height, width = image_embeddings.shape[-2:]
        size = 16 * torch.stack([torch.as_tensor(width), torch.as_tensor(height)]).float()
        positions = self.prompt_encoder.dense_positions(image_embeddings)
        sparse = self.prompt_encoder.embed_points(point_coords, point_labels, size)
        dense = self.prompt_encoder.embed_masks(mask_input, has_mask_input)
        masks, scores = self.mask_decoder(image_embeddings, positions, sparse, dense)
        return masks, scores


class OfficialDecoder(nn.Module):
    """The graph of the official ONNX notebook: one prompt, masks in the photo's pixels.

    Args:
        sam: the model.
        single: ``return_single_mask=True``: the best-scored mask, chosen as the official code
            does: output 0 only when there are several points.

    Source: ``segment_anything/utils/onnx.py``, ``SamOnnxModel``; sizes come from ``orig_im_size``
    alone, so that no aspect ratio is frozen into the graph.
    """

    def __init__(self, sam: Sam, *, single: bool) -> None:
        super().__init__()
        self.native = NativeDecoder(sam)
        self.image_size = sam.image_size
        self.single = single

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode.

        Args:
            image_embeddings: ``[1, 256, h, w]``.
            point_coords: ``[1, N, 2]``.
            point_labels: ``[1, N]``.
            mask_input: ``[1, 1, 4h, 4w]``.
            has_mask_input: ``[1]``.
            orig_im_size: ``[2]``: height and width of the photo.

        Returns:
            ``masks`` ``[1, M, H, W]`` logits, ``iou_predictions`` ``[1, M]`` and
            ``low_res_masks`` ``[1, M, 4h, 4w]``.
        """
        low_res, scores = self.native(
            image_embeddings, point_coords, point_labels, mask_input, has_mask_input
        )
        if self.single:
            # 1000 is the official code's weight: the candidates win for fewer than three points
            # (a lone point and its padding), output 0 otherwise.
            bias = (point_coords.shape[1] - 2.5) * torch.tensor([1000.0, 0.0, 0.0, 0.0])
            best = (scores + bias).argmax(dim=1)
            rows = torch.arange(low_res.shape[0])
            low_res, scores = low_res[rows, best][:, None], scores[rows, best][:, None]
        frame = self.image_size
        masks = F.interpolate(low_res, (frame, frame), mode="bilinear", align_corners=False)
        height_width = orig_im_size.to(torch.float32)
        scale = frame / height_width.max()
        inside = torch.floor(height_width * scale + 0.5).to(torch.int64)
        masks = masks[..., : inside[0], : inside[1]]
        whole = orig_im_size.to(torch.int64)
        size: list[int] = [whole[0], whole[1]]  # type: ignore[list-item]  # traced, not read
        masks = F.interpolate(masks, size, mode="bilinear", align_corners=False)
        return masks, scores, low_res
