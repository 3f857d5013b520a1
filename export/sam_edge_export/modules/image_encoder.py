"""SAM's image encoder, a ViT with windowed and global attention, in a form that exports well.

Parameter names are the official ones, so that official checkpoints load strictly. What differs is
how it computes, not what:

- Global attention runs in chunks of queries, so that the ``heads x 4096 x 4096`` logits and the
  equally large relative-position bias never exist at once. Each row of a softmax is independent of
  the others, so this is exact.
- The bias is added to the logits as two broadcast terms and is never built as a tensor of its own.
- Relative-position tables are gathered once, when tracing, into constants.

Source: ``segment_anything/modeling/image_encoder.py``; Li et al., "Exploring Plain Vision
Transformer Backbones for Object Detection" (2022), section 3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK_LOGITS = 2**21
"""Most logits a head of global attention holds at once: at 1024 px, 8 chunks of 512 queries. Larger
chunks need more memory, smaller ones gain little and cost time."""


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of ``[B, C, H, W]``."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel."""
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        normalised = centred / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normalised + self.bias[:, None, None]


class MlpBlock(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to the same shape."""
        out: Tensor = self.lin2(F.gelu(self.lin1(x)))
        return out


class Attention(nn.Module):
    """Multi-head self-attention over a grid, with decomposed relative position."""

    def __init__(self, width: int, heads: int, grid: int, chunks: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.grid = grid
        self.chunks = chunks
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, side^2, width]`` to the same shape."""
        side, width = self.grid, x.shape[-1]
        head_width = width // self.heads
        qkv = self.qkv(x).reshape(-1, side * side, 3, self.heads, head_width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, side^2, head_width]
        keys = (key * self.scale).transpose(-2, -1)
        index = torch.arange(side)
        offsets = index[:, None] - index[None, :] + side - 1
        table_h = self.rel_pos_h[offsets].transpose(1, 2)  # [side (query), head_width, side (key)]
        table_w = self.rel_pos_w[offsets].transpose(1, 2)
        rows = side // self.chunks
        outputs = []
        for start in range(0, side, rows):
            chunk = query[:, :, start * side : (start + rows) * side]
            grid = chunk.reshape(-1, self.heads, rows, side, head_width)
            bias_h = grid @ table_h[start : start + rows]
            bias_w = (grid.transpose(2, 3) @ table_w).transpose(2, 3)
            logits = (chunk @ keys).reshape(-1, self.heads, rows * side, side, side)
            logits = logits + bias_h.reshape(-1, self.heads, rows * side, side, 1)
            logits = logits + bias_w.reshape(-1, self.heads, rows * side, 1, side)
            weights = logits.reshape(-1, self.heads, rows * side, side * side).softmax(-1)
            outputs.append(weights @ value)
        mixed = torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(-1, side * side, width))
        return out


def query_chunks(grid: int) -> int:
    """Return into how many chunks of whole rows the queries of a ``grid x grid`` are cut.

    >>> query_chunks(64), query_chunks(32)
    (8, 1)
    """
    return next(
        chunks
        for chunks in range(1, grid + 1)
        if grid % chunks == 0 and (grid**4 <= CHUNK_LOGITS * chunks or chunks == grid)
    )


def in_windows(x: Tensor, side: int, window: int, attend: Callable[[Tensor], Tensor]) -> Tensor:
    """Attend within windows; the grid is zero-padded to whole ones, as in training.

    Args:
        x: ``[B, side^2, width]``.
        side: of the grid.
        window: side of a window.
        attend: ``[B * windows, window^2, width]`` to the same shape.

    Returns:
        ``[B, side^2, width]``.
    """
    width = x.shape[-1]
    count = -(-side // window)
    padded = count * window
    x = F.pad(x.reshape(-1, side, side, width), (0, 0, 0, padded - side, 0, padded - side))
    x = x.reshape(-1, count, window, count, window, width).transpose(2, 3)
    x = attend(x.reshape(-1, window * window, width))
    x = x.reshape(-1, count, count, window, window, width).transpose(2, 3)
    return x.reshape(-1, padded, padded, width)[:, :side, :side].reshape(-1, side * side, width)


class Block(nn.Module):
    """A transformer block; ``window`` 0 attends globally.

    Tokens stay in one row but for windows: OpenVINO takes a grid of four dimensions for an image,
    and moves its channels about in every LayerNorm, a third of an int8 encoder's time.
    """

    def __init__(self, width: int, heads: int, window: int, grid: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        if window:
            self.attn = Attention(width, heads, window, chunks=1)
        else:
            self.attn = Attention(width, heads, grid, query_chunks(grid))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MlpBlock(width, 4 * width)
        self.window = window
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, grid^2, width]`` to the same shape."""
        y = self.norm1(x)
        y = in_windows(y, self.grid, self.window, self.attn) if self.window else self.attn(y)
        x = x + y
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchEmbed(nn.Module):
    """Image to patch tokens, channels last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=16, stride=16)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 3, S, S]`` to ``[B, S/16, S/16, width]``."""
        out: Tensor = self.proj(x).permute(0, 2, 3, 1)
        return out


class ImageEncoderViT(nn.Module):
    """``[B, 3, S, S]`` normalised to ``[B, 256, S/16, S/16]``."""

    def __init__(
        self,
        image_size: int,
        width: int,
        depth: int,
        heads: int,
        global_blocks: tuple[int, ...],
        window: int = 14,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        grid = image_size // 16
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, 0 if index in global_blocks else window, grid)
            for index in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, out_channels, kernel_size=1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Encode normalised, padded images."""
        x = self.patch_embed(image) + self.pos_embed
        grid, width = self.pos_embed.shape[1], self.pos_embed.shape[3]
        x = x.reshape(-1, grid * grid, width)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.neck(x.reshape(-1, grid, grid, width).permute(0, 3, 1, 2))
        return out
