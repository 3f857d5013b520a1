"""The official predictor's interface, without torch: scripts written for it run unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ArgumentError, ImageNotSetError, PromptError
from sam_edge.image import read_image
from sam_edge.segmenter import Segmenter
from sam_edge.spec import IMAGE_EMBEDDINGS
from sam_edge_runtimes import Float32


class SamPredictor:
    """Holds one photo and answers prompts about it.

    Source: ``segment_anything/predictor.py``; arrays are numpy throughout.

    Args:
        model: from ``sam_edge.load_model``.
    """

    def __init__(self, model: Segmenter) -> None:
        self.model = model
        self._embedding: ImageEmbedding | None = None

    @property
    def is_image_set(self) -> bool:
        """Whether there is a photo to ask about."""
        return self._embedding is not None

    @property
    def embedding(self) -> ImageEmbedding:
        """The photo's embedding, to be saved or decoded elsewhere.

        Raises:
            ImageNotSetError: before ``set_image``.
        """
        if self._embedding is None:
            raise ImageNotSetError("there is no image yet; call set_image(...) first")
        return self._embedding

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode a photo.

        Args:
            image: ``(H, W, 3)`` uint8; see ``sam_edge.image.read_image`` for what else is taken.
            image_format: ``RGB``, or ``BGR`` for an array of three or four channels that come that
                way round; a grey array is the same in both.

        Raises:
            ImageError: if it is no photo.
            ArgumentError: if the format is another.
        """
        if image_format not in ("RGB", "BGR"):
            raise ArgumentError(f"image_format is 'RGB' or 'BGR', got {image_format!r}")
        self._embedding = self.model.encode_image(read_image(image, channel_order=image_format))

    def set_embedding(self, embedding: ImageEmbedding) -> None:
        """Take a photo that was encoded before.

        Raises:
            EmbeddingError: if another model made it.
        """
        embedding.check_made_for(self.model.spec)
        self._embedding = embedding

    def reset_image(self) -> None:
        """Forget the photo."""
        self._embedding = None

    def get_image_embedding(self) -> Float32:
        """Return the features, ``(1, 256, S/16, S/16)`` float32."""
        return self.embedding.features[IMAGE_EMBEDDINGS]

    def predict(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        box: NDArray[Any] | None = None,
        mask_input: Float32 | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], Float32, Float32]:
        """Segment one object.

        Args:
            point_coords: ``(N, 2)``, x and y in the photo's pixels.
            point_labels: ``(N,)``: 1 on the object, 0 not on it.
            box: ``(4,)``, XYXY.
            mask_input: ``(1, S/4, S/4)`` logits of an earlier call.
            multimask_output: three candidates, or one mask.
            return_logits: give the logits of each pixel instead of a bool mask.

        Returns:
            Masks ``(C, H, W)`` bool (or float32 logits), their predicted IoU ``(C,)``, and
            low-resolution logits ``(C, S/4, S/4)``.

        Raises:
            ImageNotSetError: before ``set_image``.
            PromptError: if the prompt cannot be meant for this photo.
        """
        if point_coords is not None and point_labels is None:
            raise PromptError("point_labels must be supplied if point_coords is supplied")
        embedding = self.embedding
        result = self.model.decode(
            embedding, point_coords, point_labels, box, mask_input, multimask_output
        )
        if not return_logits:
            return result.masks, result.scores, result.low_res_logits
        from sam_edge.masks.upsample import upsample_logits

        logits = upsample_logits(
            result.low_res_logits,
            input_size=embedding.input_size,
            image_size=embedding.image_size,
            original_size=embedding.original_size,
        )
        return logits, result.scores, result.low_res_logits
