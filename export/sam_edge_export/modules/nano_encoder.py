"""The image encoder of ``nano``, the model in the box.

A plain convolutional pyramid down to stride 16, self-attention blocks at stride 32 for context, and
a feature pyramid back to stride 16, where details of stride 4 meet the context and are refined
together: SAM's decoder sees nothing finer, so every cell must tell where in it a border runs.

It holds no table whose size depends on the image: the place of a pixel comes from the zero padding
of the convolutions and from the decoder's own positional encoding, so one set of weights takes
every image size that is a multiple of 64.

Dense 3x3 convolutions were preferred to depthwise ones: on CPUs they reach several times the
arithmetic rate, both in training and in ONNX Runtime.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge_export.modules.image_encoder import LayerNorm2d


class ConvNorm(nn.Sequential):
    """Convolution and BatchNorm, which export folds into one, and an optional ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, relu: bool = True
    ) -> None:
        padding = 0 if kernel == stride else (kernel - 1) // 2  # patches need none
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        norm = nn.BatchNorm2d(outputs)
        super().__init__(conv, norm, *([nn.ReLU()] if relu else []))


class Residual(nn.Module):
    """``x + conv3x3(x)`` with ReLU: the cheapest block that still trains deep."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to the same shape."""
        out: Tensor = x + self.conv(x)
        return out


class ContextBlock(nn.Module):
    """Pre-norm self-attention over all positions, then an MLP; a depthwise conv tells place."""

    def __init__(self, channels: int, heads: int, expansion: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.place = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, expansion * channels)
        self.reduce = nn.Linear(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, h, w]`` to the same shape."""
        batch, channels, height, width = x.shape
        x = x + self.place(x)
        tokens = x.flatten(2).transpose(1, 2)
        qkv = self.qkv(self.norm1(tokens))
        qkv = qkv.reshape(batch, height * width, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (query * (channels // self.heads) ** -0.5) @ key.transpose(-2, -1)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, -1, channels)
        tokens = tokens + self.proj(mixed)
        tokens = tokens + self.reduce(F.relu(self.expand(self.norm2(tokens))))
        out: Tensor = tokens.transpose(1, 2).reshape(batch, channels, height, width)
        return out


class NanoEncoder(nn.Module):
    """Image encoder of ``nano``: 3.3 M parameters, 7 GFLOP at 512 x 512.

    Args:
        widths: channels at strides 2, 4, 8, 16 and 32.
        fused: channels of the feature pyramid.
        out_channels: channels of the embedding; 256 is what SAM's decoder reads.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int, int] = (24, 48, 96, 144, 192),
        fused: int = 128,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        stem, w4, w8, w16, w32 = widths
        self.stride4 = nn.Sequential(
            ConvNorm(3, stem, stride=2), ConvNorm(stem, w4, stride=2), Residual(w4)
        )
        self.stride8 = nn.Sequential(ConvNorm(w4, w8, stride=2), Residual(w8), Residual(w8))
        self.stride16 = nn.Sequential(
            ConvNorm(w8, w16, stride=2), *(Residual(w16) for _ in range(3))
        )
        self.stride32 = nn.Sequential(
            ConvNorm(w16, w32, kernel=2, stride=2, relu=False),
            *(ContextBlock(w32, heads=6) for _ in range(5)),
        )
        self.from4 = ConvNorm(w4, fused, kernel=4, stride=4, relu=False)
        self.from8 = ConvNorm(w8, fused, kernel=2, stride=2, relu=False)
        self.from16 = ConvNorm(w16, fused, kernel=1, relu=False)
        self.from32 = ConvNorm(w32, fused, kernel=1, relu=False)
        self.refine = nn.Sequential(Residual(fused), Residual(fused))
        self.neck = nn.Conv2d(fused, out_channels, 3, padding=1, bias=False)
        self.neck_norm = LayerNorm2d(out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Encode normalised, zero-padded images.

        Args:
            image: ``[B, 3, S, S]`` float; both sides multiples of 64.

        Returns:
            ``[B, 256, S/16, S/16]``.
        """
        f4 = self.stride4(image)
        f8 = self.stride8(f4)
        f16 = self.stride16(f8)
        context = self.from32(self.stride32(f16))
        context = F.interpolate(context, scale_factor=2.0, mode="nearest")
        fused = F.relu(self.from4(f4) + self.from8(f8) + self.from16(f16) + context)
        out: Tensor = self.neck_norm(self.neck(self.refine(fused)))
        return out
