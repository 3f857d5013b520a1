"""Prompts in the encoder's frame, for clients that feed the decoder's graph themselves."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import PromptError
from sam_edge.image import input_shape, to_encoder_frame
from sam_edge.prompts import as_array
from sam_edge.spec import ImageSpec
from sam_edge.without_torch import WithoutTorch
from sam_edge_runtimes import Float32


class PromptTransform(WithoutTorch):
    """Maps prompts from a photo's pixels to the encoder's frame.

    ``SamPredictor`` and ``Model`` do it themselves: this is for scripts that feed an ONNX decoder,
    as the official notebook does.

    Args:
        image: how the model takes photos.

    Source: ``segment_anything/utils/transforms.py``, ``ResizeLongestSide``.
    """

    instead: ClassVar[dict[str, str]] = {
        "apply_boxes_torch": "predict_batch takes the photo's pixels, and apply_boxes arrays",
        "apply_coords_torch": "predict_batch takes the photo's pixels, and apply_coords arrays",
        "apply_image": "set_image(photo) resizes by itself",
        "apply_image_torch": "set_image(photo) resizes by itself",
    }

    def __init__(self, image: ImageSpec) -> None:
        self._image = image

    @property
    def target_length(self) -> int:
        """The longest side of a photo inside the frame, in pixels."""
        return self._image.size

    def apply_coords(self, coords: NDArray[Any], original_size: tuple[int, ...]) -> Float32:
        """Map points.

        Args:
            coords: ``(..., 2)``, x and y in the photo's pixels.
            original_size: height and width of the photo.

        Raises:
            PromptError: if they are no points.
        """
        height, width = original_size
        points = as_array(coords, "coords")
        if points.ndim == 0 or points.shape[-1] != 2:
            raise PromptError(f"coords have shape (..., 2), got {points.shape}")
        return to_encoder_frame(
            points.astype(np.float64), (height, width), input_shape(height, width, self._image)
        )

    def apply_boxes(self, boxes: NDArray[Any], original_size: tuple[int, ...]) -> Float32:
        """Map boxes.

        Args:
            boxes: ``(B, 4)`` or ``(4,)``, XYXY in the photo's pixels.
            original_size: height and width of the photo.

        Returns:
            ``(B, 4)``.

        Raises:
            PromptError: if they are no boxes.
        """
        corners = as_array(boxes, "boxes")
        if corners.ndim == 0 or corners.shape[-1] != 4:
            raise PromptError(f"boxes have shape (B, 4), got {corners.shape}")
        return self.apply_coords(corners.reshape(-1, 2, 2), original_size).reshape(-1, 4)
