"""MobileSAM's image encoder, TinyViT, in a form that exports well.

Parameter names are the official ones. Feature maps stay ``[B, C, H, W]`` between blocks, window
attention looks its biases up in a constant table, and any image size that is a multiple of 64 is
taken (the official code has the grid of 1024 pixels written into it).

Source: ``mobile_sam/modeling/tiny_vit_sam.py``; Wu et al., "TinyViT" (2022); Zhang et al.,
"Faster Segment Anything" (2023).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge_export.modules.image_encoder import LayerNorm2d, frame_of, in_windows, parts

STRIP_ROWS = 64
"""Rows of the expanded map of an ``MBConv`` that exist at once, at most."""


class Conv2dBN(nn.Sequential):
    """Convolution ``c`` and BatchNorm ``bn``, which export folds into one."""

    c: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = kernel // 2
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.add_module("c", conv)
        self.add_module("bn", nn.BatchNorm2d(outputs))


class PatchEmbed(nn.Module):
    """``[B, 3, S, S]`` to ``[B, width, S/4, S/4]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            Conv2dBN(3, width // 2, 3, 2), nn.GELU(), Conv2dBN(width // 2, width, 3, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed patches."""
        out: Tensor = self.seq(x)
        return out


class MBConv(nn.Module):
    """Inverted residual: expand, depthwise, reduce.

    The expanded map is the largest tensor of the whole encoder, so it is made in strips of rows.
    Each strip is expanded with one more row on either side, which its depthwise convolution needs:
    exact, and the strips fit a cache.
    """

    def __init__(self, width: int, strips: int, expansion: int = 4) -> None:
        super().__init__()
        hidden = width * expansion
        self.conv1 = Conv2dBN(width, hidden)
        self.conv2 = Conv2dBN(hidden, hidden, 3, groups=hidden)
        self.conv3 = Conv2dBN(hidden, width)
        self.strips = strips

    def forward(self, x: Tensor, rows: int) -> Tensor:
        """``[B, width, rows, columns]`` to the same shape."""
        strips = []
        for number, (start, end) in enumerate(parts(rows, self.strips), 1):
            above, below = int(number > 1), int(number < self.strips)
            y = F.gelu(self.conv1(x[:, :, start - above : end + below]))
            y = self._depthwise(F.pad(y, (0, 0, 1 - above, 1 - below)))
            strips.append(F.gelu(x[:, :, start:end] + self.conv3(F.gelu(y))))
        return torch.cat(strips, 2) if len(strips) > 1 else strips[0]

    def _depthwise(self, x: Tensor) -> Tensor:
        """Convolve rows that have their neighbours already: padded at the sides only."""
        conv, norm = self.conv2.c, self.conv2.bn
        out: Tensor = norm(F.conv2d(x, conv.weight, conv.bias, padding=(0, 1), groups=conv.groups))
        return out


class PatchMerging(nn.Module):
    """Change the width and, but for the last stage, halve the sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = Conv2dBN(inputs, outputs)
        self.conv2 = Conv2dBN(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = Conv2dBN(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inputs, H, W]`` to ``[B, outputs, H / stride, W / stride]``."""
        out: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return out


class Attention(nn.Module):
    """Self-attention within a window, with a bias for each distance."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.scale = (width // heads) ** -0.5
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, x: Tensor) -> Tensor:
        """``[B * windows, window^2, width]`` to the same shape."""
        count, width = self.window**2, int(x.shape[-1])
        # Each head's query, key and value lie side by side.
        qkv = self.qkv(self.norm(x)).reshape(-1, count, self.heads, 3, width // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 1, 4).unbind(0)
        logits = (query * self.scale) @ key.transpose(-2, -1) + self._bias()
        mixed = (logits.softmax(-1) @ value).transpose(1, 2)
        out: Tensor = self.proj(mixed.reshape(-1, count, width))
        return out

    def _bias(self) -> Tensor:
        """``[heads, window^2, window^2]``; the table's order is that of first occurrence."""
        index = torch.arange(self.window)
        away = (index[:, None] - index[None, :]).abs()
        offsets = away[:, None, :, None] * self.window + away[None, :, None, :]
        return self.attention_biases[:, offsets.reshape(self.window**2, self.window**2)]


class Mlp(nn.Module):
    """LayerNorm and two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to the same shape."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


class TinyViTBlock(nn.Module):
    """Window attention, a depthwise convolution, an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attn = Attention(width, heads, window)
        self.local_conv = Conv2dBN(width, width, 3, groups=width)
        self.mlp = Mlp(width, 4 * width)
        self.window = window

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """``[B, width, rows, columns]`` to the same shape."""
        attended = in_windows(_tokens(x), rows, columns, self.window, self.attn)
        x = self.local_conv(x + _grid(attended, rows, columns))
        return x + _grid(self.mlp(_tokens(x)), rows, columns)


def _tokens(x: Tensor) -> Tensor:
    """``[B, width, rows, columns]`` to ``[B, rows * columns, width]``."""
    return x.flatten(2).transpose(1, 2)


def _grid(x: Tensor, rows: int, columns: int) -> Tensor:
    """The way back."""
    return x.transpose(1, 2).reshape(-1, int(x.shape[-1]), rows, columns)


class Stage(nn.Module):
    """Blocks of one width, and the change to the next width."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        """``[B, width, rows, columns]`` to the next stage's input."""
        for block in self.blocks:
            x = block(x, rows) if isinstance(block, MBConv) else block(x, rows, columns)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """``[B, 3, H, W]`` normalised to ``[B, 256, H/16, W/16]``.

    ``any_frame``: whether a traced graph takes any size or the traced one alone.
    """

    any_frame = False

    def __init__(
        self,
        image_size: int,
        widths: tuple[int, int, int, int] = (64, 128, 160, 320),
        depths: tuple[int, int, int, int] = (2, 2, 6, 2),
        heads: tuple[int, int, int, int] = (2, 4, 5, 10),
        windows: tuple[int, int, int, int] = (7, 7, 14, 7),
    ) -> None:
        super().__init__()
        strides = (2, 2, 1)  # the last merging keeps stride 16, which SAM's decoder expects
        strips = -(-image_size // 4 // STRIP_ROWS)
        self.patch_embed = PatchEmbed(widths[0])
        stages = []
        for stage in range(4):
            width = widths[stage]
            blocks: list[nn.Module] = [
                MBConv(width, strips)
                if stage == 0
                else TinyViTBlock(width, heads[stage], windows[stage])
                for _ in range(depths[stage])
            ]
            last = stage == 3
            merging = None if last else PatchMerging(width, widths[stage + 1], strides[stage])
            stages.append(Stage(blocks, merging))
        self.layers = nn.ModuleList(stages)
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], 256, kernel_size=1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Encode normalised, padded images."""
        height, width = frame_of(image, self.any_frame)
        x = self.patch_embed(image)
        for stage, stride in zip(self.layers, (4, 8, 16, 16), strict=True):
            x = stage(x, height // stride, width // stride)
        out: Tensor = self.neck(x)
        return out
