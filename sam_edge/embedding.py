"""What the encoder makes of a photo, and its portable form on disk."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import EmbeddingError
from sam_edge.files import replacing
from sam_edge.spec import ModelSpec

FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """A photo's embedding. Decoding it needs neither the photo nor the encoder.

    Attributes:
        features: ``(1, 256, S/16, S/16)`` float32.
        original_size: height and width of the photo.
        input_size: height and width of the resized photo inside the encoder's frame.
        photo_sha256: of the photo's pixels, see ``sam_edge.image.photo_sha256``.
        source_sha256: of the checkpoint behind the encoder.
        image_size: side S of the encoder's frame.
        engine: what computed it. Recorded, but no part of the key: engines agree.
        precision: of the encoder; recorded likewise.
        frame: what of the square frame was encoded, see ``ModelSpec``; recorded likewise.
    """

    features: NDArray[np.float32]
    original_size: tuple[int, int]
    input_size: tuple[int, int]
    photo_sha256: str
    source_sha256: str
    image_size: int
    engine: str
    precision: str
    frame: str = "square"

    @property
    def key(self) -> tuple[str, str, int]:
        """What an embedding belongs to: photo, source checkpoint and image size."""
        return self.photo_sha256, self.source_sha256, self.image_size

    def check_made_for(self, spec: ModelSpec) -> None:
        """Refuse to be decoded by a model that it was not made for.

        Raises:
            EmbeddingError: if the checkpoint or the image size is another.
        """
        made = (self.source_sha256, self.image_size)
        if made != (spec.source.sha256, spec.image_size):
            raise EmbeddingError(
                f"the embedding was made by checkpoint {self.source_sha256[:12]} at "
                f"{self.image_size} px, the model is {spec.source.sha256[:12]} at "
                f"{spec.image_size} px; encode the photo with this model"
            )

    def save(self, path: str | PathLike[str], *, dtype: str = "float32") -> None:
        """Write the embedding to a ``.npz`` file.

        Args:
            path: written whole or not at all.
            dtype: ``float32`` (4 MiB at 1024 px) or ``float16`` (half of that).

        Raises:
            EmbeddingError: if the dtype is another.
        """
        if dtype not in ("float32", "float16"):
            raise EmbeddingError(f"embeddings are saved as float32 or float16, not {dtype!r}")
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        values["features"] = self.features.astype(dtype)
        with replacing(Path(path)) as partial, partial.open("wb") as file:
            np.savez(file, format=FORMAT, **values)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> ImageEmbedding:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            EmbeddingError: if it is no embedding, or is damaged.
        """
        from zipfile import BadZipFile  # loaded late: it would be a fifth of `import sam_edge`

        try:
            # opened here, because np.load leaves a broken zip file open
            with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                if int(file["format"]) != FORMAT:
                    raise EmbeddingError(f"{path}: embedding format {file['format']} is unknown")
                embedding = cls(
                    features=np.ascontiguousarray(file["features"], np.float32),
                    original_size=_size(file["original_size"]),
                    input_size=_size(file["input_size"]),
                    photo_sha256=str(file["photo_sha256"]),
                    source_sha256=str(file["source_sha256"]),
                    image_size=int(file["image_size"]),
                    engine=str(file["engine"]),
                    precision=str(file["precision"]),
                    frame=str(file["frame"]) if "frame" in file else "square",
                )
        except FileNotFoundError:
            raise
        except (
            KeyError,
            ValueError,
            OSError,
            EOFError,
            AttributeError,
            BadZipFile,
        ) as error:
            raise EmbeddingError(f"{path} is not a saved embedding: {error}") from error
        grid = embedding.image_size // 16
        if embedding.features.shape != (1, 256, grid, grid):
            raise EmbeddingError(
                f"{path} holds features of shape {embedding.features.shape}, "
                f"not (1, 256, {grid}, {grid})"
            )
        return embedding


def _size(values: NDArray[Any]) -> tuple[int, int]:
    height, width = values.tolist()
    return int(height), int(width)
