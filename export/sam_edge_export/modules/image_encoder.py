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
from functools import partial
from itertools import pairwise

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
        self.chunks = chunks
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, width // heads))

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """``[B, rows * columns, width]`` to the same shape; a grid as large as the tables at most.

        A smaller grid reads the middle of the tables: distances mean what they always do.
        """
        width = int(x.shape[-1])
        heads, head_width = self.heads, width // self.heads
        qkv = self.qkv(x).reshape(-1, rows * columns, 3, heads, head_width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, tokens, head_width]
        keys = (key * self.scale).transpose(-2, -1)
        table_h, table_w = self._by_query(self.rel_pos_h), self._by_query(self.rel_pos_w)
        table_h, table_w = table_h[:rows, :, :rows], table_w[:columns, :, :columns]
        outputs = []
        for start, end in parts(rows, self.chunks):
            count = end - start
            chunk = query[:, :, start * columns : end * columns]
            grid = chunk.reshape(-1, heads, count, columns, head_width)
            bias_h = grid @ table_h[start:end]
            bias_w = (grid.transpose(2, 3) @ table_w).transpose(2, 3)
            logits = (chunk @ keys).reshape(-1, heads, count * columns, rows, columns)
            logits = logits + bias_h.reshape(-1, heads, count * columns, rows, 1)
            logits = logits + bias_w.reshape(-1, heads, count * columns, 1, columns)
            weights = logits.reshape(-1, heads, count * columns, rows * columns).softmax(-1)
            outputs.append(weights @ value)
        mixed = torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(-1, rows * columns, width))
        return out

    @staticmethod
    def _by_query(table: Tensor) -> Tensor:
        """``[2 * side - 1, head_width]`` by distance to ``[side (query), head_width, side (key)]``.

        Of parameters alone, so that it is a constant once traced.
        """
        side = (len(table) + 1) // 2
        index = torch.arange(side)
        return table[index[:, None] - index[None, :] + side - 1].transpose(1, 2)


def parts(length: int, count: int) -> list[tuple[int, int]]:
    """Cut a length into parts that differ by one at most.

    >>> parts(11, 4)
    [(0, 2), (2, 5), (5, 8), (8, 11)]
    """
    bounds = [length * index // count for index in range(count + 1)]
    return list(pairwise(bounds))


def frame_of(image: Tensor, any_frame: bool) -> tuple[int, int]:
    """Height and width of an image. Traced, they stay open only if ``any_frame`` says so."""
    height, width = image.shape[-2:]
    return (height, width) if any_frame else (int(height), int(width))


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


def in_windows(
    x: Tensor, rows: int, columns: int, window: int, attend: Callable[[Tensor], Tensor]
) -> Tensor:
    """Attend within windows; the grid is zero-padded to whole ones, as in training.

    Args:
        x: ``[B, rows * columns, width]``.
        rows: of the grid.
        columns: of the grid.
        window: side of a window.
        attend: ``[B * windows, window^2, width]`` to the same shape.

    Returns:
        ``[B, rows * columns, width]``.
    """
    width = int(x.shape[-1])  # a constant: traced, its Shape would be one more reader of the norm
    down, across = (rows + window - 1) // window, (columns + window - 1) // window
    below, beside = down * window - rows, across * window - columns
    x = F.pad(x.reshape(-1, rows, columns, width), (0, 0, 0, beside, 0, below))
    x = x.reshape(-1, down, window, across, window, width).transpose(2, 3)
    x = attend(x.reshape(-1, window * window, width))
    x = x.reshape(-1, down, across, window, window, width).transpose(2, 3)
    x = x.reshape(-1, down * window, across * window, width)
    return x[:, :rows, :columns].reshape(-1, rows * columns, width)


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

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """``[B, rows * columns, width]`` to the same shape."""
        y = self.norm1(x)
        if self.window:
            attend = partial(self.attn, rows=self.window, columns=self.window)
            y = in_windows(y, rows, columns, self.window, attend)
        else:
            y = self.attn(y, rows, columns)
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
    """``[B, 3, H, W]`` normalised to ``[B, 256, H/16, W/16]``; H and W at most ``image_size``.

    ``any_frame``: whether a traced graph takes any such size or the traced one alone.
    """

    any_frame = False

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
        height, width = frame_of(image, self.any_frame)
        rows, columns = height // 16, width // 16
        x = self.patch_embed(image) + self.pos_embed[:, :rows, :columns]
        channels = int(x.shape[-1])
        x = x.reshape(-1, rows * columns, channels)
        for block in self.blocks:
            x = block(x, rows, columns)
        out: Tensor = self.neck(x.reshape(-1, rows, columns, channels).permute(0, 3, 1, 2))
        return out
