"""OWL-ViT's and OWLv2's towers, two CLIP transformers with detection heads, as they export well.

What differs from the original is how they compute, not what: attention runs in chunks of queries,
as in ``modules/image_encoder.py``, the three projections of an attention are one product, and of a
phrase only its last token is normalised and projected.

Source: ``transformers/models/owlvit/modeling_owlvit.py``; Minderer et al., "Simple Open-Vocabulary
Object Detection with Vision Transformers" (2022) and "Scaling Open-Vocabulary Object Detection"
(2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sam_edge_export.modules.image_encoder import CHUNK_LOGITS, parts

SMALL = 1e-6
"""What is added to a length before it divides, as in the class head of the original."""


@dataclass(frozen=True, slots=True)
class TransformerShape:
    """The sizes of one tower.

    Attributes:
        width: channels of a token.
        hidden: channels inside an MLP.
        layers: how many blocks.
        heads: of an attention.
        epsilon: of the norms.
    """

    width: int
    hidden: int
    layers: int
    heads: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class GroundingShape:
    """The sizes of a detector.

    Attributes:
        kind: ``owlvit`` or ``owlv2``.
        vision: of the image tower.
        text: of the text tower.
        image_size: side of its square, in pixels.
        patch: side of a patch, in pixels.
        vocabulary: how many tokens there are.
        length: tokens that a phrase has room for.
        embedding: channels of a phrase's embedding.
    """

    kind: str
    vision: TransformerShape
    text: TransformerShape
    image_size: int
    patch: int
    vocabulary: int
    length: int
    embedding: int

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch


class QuickGelu(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention; ``causal`` lets a token see those before it alone."""

    def __init__(self, shape: TransformerShape, tokens: int, causal: bool) -> None:
        super().__init__()
        self.heads = shape.heads
        self.scale = (shape.width // shape.heads) ** -0.5
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)
        self.tokens = tokens
        self.chunks = -(-tokens * tokens // CHUNK_LOGITS)
        later = torch.full((tokens, tokens), torch.finfo(torch.float32).min / 2).triu(1)
        self.register_buffer("later", later if causal else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, tokens, width]`` to the same shape."""
        width = int(x.shape[-1])
        qkv = self.qkv(x).reshape(-1, self.tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        keys = (key * self.scale).transpose(-2, -1)
        outputs = []
        for start, end in parts(self.tokens, self.chunks):
            logits = query[:, :, start:end] @ keys
            if isinstance(self.later, Tensor):
                logits = logits + self.later[start:end]
            outputs.append(logits.softmax(-1) @ value)
        mixed = torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(-1, self.tokens, width))
        return out


class Block(nn.Module):
    """A transformer block."""

    def __init__(self, shape: TransformerShape, tokens: int, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.attn = Attention(shape, tokens, causal)
        self.norm2 = nn.LayerNorm(shape.width, eps=shape.epsilon)
        self.mlp = nn.Sequential(
            nn.Linear(shape.width, shape.hidden),
            QuickGelu(),
            nn.Linear(shape.hidden, shape.width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, tokens, width]`` to the same shape."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def head(width: int, outputs: int) -> nn.Sequential:
    """Return the three layers that boxes and objectness come from."""
    return nn.Sequential(
        nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
        nn.Linear(width, outputs),
    )  # fmt: skip


class ImageTower(nn.Module):
    """``[B, 3, S, S]`` to what is in each patch and where; see ``docs/bundle.md``."""

    def __init__(self, shape: GroundingShape) -> None:
        super().__init__()
        width, tokens = shape.vision.width, shape.grid**2 + 1
        self.patches = nn.Conv2d(3, width, shape.patch, stride=shape.patch, bias=False)
        self.whole = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.zeros(tokens, width))
        self.norm_before = nn.LayerNorm(width, eps=shape.vision.epsilon)
        self.blocks = nn.ModuleList(
            Block(shape.vision, tokens, causal=False) for _ in range(shape.vision.layers)
        )
        self.norm_after = nn.LayerNorm(width, eps=shape.vision.epsilon)
        self.norm_merged = nn.LayerNorm(width, eps=shape.vision.epsilon)
        self.classes = nn.Linear(width, shape.text.width)
        self.logit_shift = nn.Linear(width, 1)
        self.logit_scale = nn.Linear(width, 1)
        self.boxes = head(width, 4)
        self.objectness = head(width, 1) if shape.kind == "owlv2" else None
        self.register_buffer("box_bias", box_bias(shape.grid), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Look at normalised photos."""
        x = self.patches(image).flatten(2).transpose(1, 2)
        whole = self.whole.expand(image.shape[0], 1, -1)
        x = self.norm_before(torch.cat([whole, x], dim=1) + self.positions)
        for block in self.blocks:
            x = block(x)
        x = self.norm_after(x)
        x = self.norm_merged(x[:, 1:] * x[:, :1])
        classes = self.classes(x)
        classes = classes / (torch.linalg.vector_norm(classes, dim=-1, keepdim=True) + SMALL)
        boxes = torch.sigmoid(self.boxes(x) + self.box_bias)
        answers = (classes, self.logit_shift(x)[..., 0], self.logit_scale(x)[..., 0], boxes)
        return answers if self.objectness is None else (*answers, self.objectness(x)[..., 0])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it answers."""
        names = ("class_embeds", "logit_shift", "logit_scale", "boxes")
        return names if self.objectness is None else (*names, "objectness")


def box_bias(grid: int) -> Tensor:
    """Return the logits of each patch's own corner and size, ``[grid * grid, 4]``.

    Source: ``OwlViTForObjectDetection.compute_box_bias``.
    """
    steps = torch.arange(1, grid + 1, dtype=torch.float32) / grid
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    place = torch.stack([x, y], dim=-1).reshape(-1, 2)
    size = torch.full_like(place, 1 / grid)
    values = torch.cat([place, size], dim=-1)
    return torch.log(values + 1e-4) - torch.log1p(-values + 1e-4)


class TextTower(nn.Module):
    """``[P, length]`` tokens to ``[P, embedding]`` of unit length.

    The last token, which has the highest number, has seen the whole phrase and none of the padding
    behind it: that is why no attention mask is needed.
    """

    def __init__(self, shape: GroundingShape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocabulary, shape.text.width)
        self.positions = nn.Parameter(torch.zeros(shape.length, shape.text.width))
        self.blocks = nn.ModuleList(
            Block(shape.text, shape.length, causal=True) for _ in range(shape.text.layers)
        )
        self.norm_after = nn.LayerNorm(shape.text.width, eps=shape.text.epsilon)
        self.projection = nn.Linear(shape.text.width, shape.embedding, bias=False)
        self.order: Tensor
        self.register_buffer("order", torch.arange(shape.length), persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Read phrases."""
        x = self.tokens(input_ids) + self.positions
        for block in self.blocks:
            x = block(x)
        last = input_ids.float().argmax(dim=-1, keepdim=True)
        chosen = torch.eq(self.order, last).float()
        x = (chosen[:, None] @ x)[:, 0]
        x = self.projection(self.norm_after(x))
        x = F.normalize(x, dim=-1, eps=0.0)
        out: Tensor = x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + SMALL)
        return out


class Towers(nn.Module):
    """Both towers of one checkpoint."""

    def __init__(self, shape: GroundingShape) -> None:
        super().__init__()
        self.shape = shape
        self.image = ImageTower(shape)
        self.text = TextTower(shape)
