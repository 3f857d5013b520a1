"""What can turn prompts into masks, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.embedding import ImageEmbedding
from sam_edge.image import (
    ImageLike,
)
from sam_edge.prompts import (
    Box,
    Prompt,
)
from sam_edge.spec import ModelSpec
from sam_edge_runtimes import (
    Float32,
)

MEMORY_LIMIT = 512 * 2**20
"""What decoding one photo's prompts may take beside the model and the photo, in bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """What one prompt selects.

    Attributes:
        masks: ``(M, H, W)`` bool in the photo's pixels; M is 3 for ``multimask=True``, else 1.
        scores: ``(M,)`` float32, the model's own estimate of each mask's IoU.
        low_res_logits: ``(M, S/4, S/4)`` float32; give one back as ``mask=`` to refine it.
    """

    masks: NDArray[np.bool_]
    scores: Float32
    low_res_logits: Float32

    @property
    def best(self) -> NDArray[np.bool_]:
        """The mask with the highest score, ``(H, W)`` bool."""
        best: NDArray[np.bool_] = self.masks[int(np.argmax(self.scores))]
        return best


class PromptDecoder(Protocol):
    """What can turn prompts into masks once a photo is encoded."""

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        ...

    def decode_each(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool = True,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Iterator[tuple[int, Segmentation]]:
        """Segment many objects of one photo without keeping their masks."""
        ...


class Segmenter(PromptDecoder, Protocol):
    """What can turn prompts into masks: a bundle on an engine, or the PyTorch reference."""

    def encode_image(self, image: ImageLike) -> ImageEmbedding:
        """Encode a photo once, for any number of prompts."""
        ...

    def decode(
        self,
        embedding: ImageEmbedding,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: Box | Iterable[float] | None = None,
        mask: NDArray[Any] | None = None,
        multimask: bool = True,
    ) -> Segmentation:
        """Segment one object."""
        ...

    def decode_batch(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], multimask: bool = True
    ) -> list[Segmentation]:
        """Segment many objects of one photo."""
        ...
