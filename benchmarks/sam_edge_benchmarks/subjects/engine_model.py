"""What the subjects that are a ``sam_edge.Model`` share: the phases of our own host code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sam_edge_benchmarks.work import Opaque

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sam_edge.image import RgbImage
    from sam_edge.model import Model
    from sam_edge_benchmarks.prompts import Prompts
    from sam_edge_runtimes import Session


class ModelSubject:
    """Our host code around any two sessions.

    Args:
        model: what ``everything`` runs, made of the same sessions.
        encoder: ``image`` -> ``image_embeddings``.
        describe: names what it runs on.
    """

    def __init__(
        self, model: Model, encoder: Session, describe: Callable[[], dict[str, Any]]
    ) -> None:
        self._model = model
        self._encoder = encoder
        self._describe = describe
        self._original: tuple[int, int] = (0, 0)

    def device(self) -> dict[str, Any]:
        """Name what it runs on."""
        return self._describe()

    def preprocess(self, photo: RgbImage) -> Opaque:
        """Resize, normalise, pad."""
        from sam_edge.image import preprocess

        self._original = (photo.shape[0], photo.shape[1])
        return preprocess(photo, self._model.spec)

    def encode(self, frame: Opaque) -> Opaque:
        """Run the image encoder."""
        from sam_edge.embedding import ImageEmbedding
        from sam_edge.image import input_shape

        spec = self._model.spec
        return ImageEmbedding(
            features=self._encoder.run({"image": frame}),
            original_size=self._original,
            input_size=input_shape(*self._original, spec.image),
            photo_sha256="",
            source_sha256=spec.source.sha256,
            image_size=spec.image_size,
            engine=self._model.engine,
            precision=spec.precision,
        )

    def decode(self, embedding: Opaque, prompts: Prompts) -> Opaque:
        """Lay prompts out and decode them, in batches as large as ``decode_batch`` makes them."""
        import numpy as np

        from sam_edge.model import PROMPTS_PER_CALL
        from sam_edge.prompts import Prompt, sparse_prompts

        points = [None] * len(prompts) if prompts.points is None else prompts.points
        boxes = [None] * len(prompts) if prompts.boxes is None else prompts.boxes
        sparse = [
            sparse_prompts(Prompt.of(points=point, box=box), self._original, embedding.input_size)
            for point, box in zip(points, boxes, strict=True)
        ]
        parts = []
        for start in range(0, len(sparse), PROMPTS_PER_CALL):
            batch = sparse[start : start + PROMPTS_PER_CALL]
            coords = np.stack([coords for coords, _ in batch])
            labels = np.stack([labels for _, labels in batch])
            low_res, _ = self._model.decode_tensors(embedding, coords, labels)
            parts.append(low_res[:, 1:])
        return embedding.input_size, np.concatenate(parts)

    def postprocess(self, decoded: Opaque) -> NDArray[np.bool_]:
        """Upsample to the photo and threshold."""
        import numpy as np

        from sam_edge.masks.upsample import upsample_masks

        input_size, low_res = decoded
        spec = self._model.spec
        return np.stack(
            [
                upsample_masks(
                    logits,
                    input_size=input_size,
                    image_size=spec.image_size,
                    original_size=self._original,
                    threshold=spec.masks.threshold,
                )
                for logits in low_res
            ]
        )

    def everything(self, photo: RgbImage, points_per_side: int) -> int:
        """Run our generator with the official defaults."""
        from sam_edge.automatic import SamAutomaticMaskGenerator

        generator = SamAutomaticMaskGenerator(self._model, points_per_side=points_per_side)
        return len(generator.generate(photo))
