"""An encoder that is given what the photo covers of the square frame, and no more.

A 3:2 photo then costs a third less. It is not exact: windows, convolutions and global attention no
longer see the padding that SAM was trained with. The decoder still gets a whole embedding, because
without the cells of the padding its masks are others altogether: they are those of an empty frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PhotoFrameEncoder(nn.Module):
    """``[B, 3, H, W]``, H and W multiples of 64 up to S, to ``[B, 256, S/16, S/16]``.

    Args:
        encoder: an image encoder that takes such images.
        image_size: side S of the frame.
    """

    empty: Tensor

    def __init__(self, encoder: nn.Module, image_size: int) -> None:
        super().__init__()
        self.encoder = encoder.eval()
        with torch.no_grad():
            self.register_buffer("empty", encoder(torch.zeros(1, 3, image_size, image_size)))

    def forward(self, image: Tensor) -> Tensor:
        """Encode, and fill up to the whole frame's embedding."""
        # Only meanwhile: traced for the square, the same encoder has its sizes fixed.
        self.encoder.any_frame = True  # type: ignore[assignment]  # a plain attribute
        part = self.encoder(image)
        self.encoder.any_frame = False  # type: ignore[assignment]
        rows, columns = part.shape[-2:]
        side = self.empty.shape[-1]
        index = torch.arange(side)
        inside = (index < rows)[:, None] & (index < columns)
        whole = nn.functional.pad(part, (0, side - columns, 0, side - rows))
        return torch.where(inside, whole, self.empty)
