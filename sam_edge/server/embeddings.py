"""Embeddings in memory: bounded in bytes, the one not used for longest goes first."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_edge.embedding import ImageEmbedding
from sam_edge.server.refusals import NoEmbeddingError
from sam_edge.text import shown


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """One embedding and where its pixels lie in the photo.

    Attributes:
        id: of photo, model and part.
        embedding: of the part.
        photo_size: height and width of the whole photo.
        part: XYXY in the photo's pixels.
        model: the model's name.
        encode_ms: what encoding took.
    """

    id: str
    embedding: ImageEmbedding
    photo_size: tuple[int, int]
    part: tuple[int, int, int, int]
    model: str
    encode_ms: float

    @classmethod
    def of(
        cls,
        embedding: ImageEmbedding,
        photo_size: tuple[int, int],
        part: tuple[int, int, int, int] | None,
        model: str,
        encode_ms: float,
    ) -> Held:
        """Name an embedding."""
        whole = (0, 0, photo_size[1], photo_size[0])
        part = part or whole
        words = [*embedding.key, *photo_size, *part]
        digest = hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()
        return cls(digest[:32], embedding, photo_size, part, model, encode_ms)

    @property
    def bytes(self) -> int:
        """What it takes."""
        return sum(tensor.nbytes for tensor in self.embedding.features.values())

    def record(self) -> dict[str, Any]:
        """Return the EMBEDDING of ``docs/http.md``."""
        return {
            "id": self.id,
            "model": self.model,
            "photo_size": list(self.photo_size),
            "part": list(self.part),
            "size": list(self.embedding.original_size),
            "input_size": list(self.embedding.input_size),
            "image_size": self.embedding.image_size,
            "photo_sha256": self.embedding.photo_sha256,
            "source_sha256": self.embedding.source_sha256,
        }

    def tensors(self, dtype: str) -> dict[str, np.ndarray[Any, Any]]:
        """Return the features in a dtype, in float32 where float16 cannot hold them."""
        features = dict(self.embedding.features)
        if dtype == "float32":
            return features
        with np.errstate(over="ignore"):
            halves = {name: tensor.astype(np.float16) for name, tensor in features.items()}
        fits = all(np.isfinite(tensor).all() for tensor in halves.values())
        return halves if fits else features


class EmbeddingCache:
    """Keeps what was used last. The newest stays, however large it is.

    Args:
        most_bytes: of all of them together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._by_target: dict[object, str] = {}

    def put(self, held: Held, target: object) -> None:
        """Keep an embedding, and remember which target it is of."""
        self._held[held.id] = held
        self._held.move_to_end(held.id)
        self._by_target[target] = held.id
        total = sum(item.bytes for item in self._held.values())
        while total > self._most_bytes and len(self._held) > 1:
            total -= self._held.popitem(last=False)[1].bytes
        self._by_target = {key: name for key, name in self._by_target.items() if name in self._held}

    def of(self, target: object) -> Held | None:
        """Return a target's embedding, if it is here."""
        identity = self._by_target.get(target)
        return None if identity is None else self.get(identity)

    def get(self, identity: str) -> Held:
        """Return an embedding by its id.

        Raises:
            NoEmbeddingError: if it is not here.
        """
        held = self._held.get(identity)
        if held is None:
            raise NoEmbeddingError(
                f"the embedding {shown(identity)} is not here (any more); encode the photo again"
            )
        self._held.move_to_end(identity)
        return held
