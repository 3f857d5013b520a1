"""A whole model, and its two exportable halves."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge_export.families import FAMILIES
from sam_edge_export.modules.mask_decoder import MaskDecoder
from sam_edge_export.modules.prompt_encoder import PromptEncoder


class Sam(nn.Module):
    """A whole model under the key names of official checkpoints."""

    def __init__(self, variant: str, image_size: int) -> None:
        super().__init__()
        self.variant = variant
        self.image_size = image_size
        self.image_encoder = FAMILIES[variant].build_encoder(image_size)
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
