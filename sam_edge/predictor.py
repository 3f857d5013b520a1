"""The official predictor's interface, without torch: numpy arrays in, numpy arrays out."""

from __future__ import annotations

from itertools import repeat
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ArgumentError, ImageNotSetError, PromptError
from sam_edge.image import read_image
from sam_edge.prompts import Prompt, as_array
from sam_edge.segmenter import Segmentation, Segmenter
from sam_edge.spec import IMAGE_EMBEDDINGS
from sam_edge.transform import PromptTransform
from sam_edge.without_torch import DEVICE, WithoutTorch
from sam_edge_runtimes import Float32


class SamPredictor(WithoutTorch):
    """Holds one photo and answers prompts about it.

    Source: ``segment_anything/predictor.py``; arrays are numpy throughout.

    Args:
        sam_model: from ``sam_edge.load_model`` or ``sam_edge.sam_model_registry``.
    """

    device: ClassVar[str] = DEVICE
    instead: ClassVar[dict[str, str]] = {
        "predict_torch": "predict_batch answers many objects, given in the photo's pixels",
        "set_torch_image": "set_image(photo) resizes and pads by itself",
    }

    def __init__(self, sam_model: Segmenter) -> None:
        self.model = sam_model
        self.transform = PromptTransform(sam_model.spec.image)
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

    @property
    def original_size(self) -> tuple[int, int]:
        """Height and width of the photo.

        Raises:
            ImageNotSetError: before ``set_image``.
        """
        return self.embedding.original_size

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the resized photo inside the encoder's frame.

        Raises:
            ImageNotSetError: before ``set_image``.
        """
        return self.embedding.input_size

    @property
    def features(self) -> Float32 | None:
        """What ``get_image_embedding`` returns, or None before ``set_image``."""
        return self.get_image_embedding() if self.is_image_set else None

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
            box: ``(4,)`` or ``(1, 4)``, XYXY.
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
        embedding = self.embedding
        _check_labelled(point_coords, point_labels)
        if box is not None and getattr(box, "ndim", 1) == 2 and len(box) != 1:
            raise PromptError(
                f"predict answers one object, and box has {len(box)} rows; "
                "predict_batch(boxes=...) answers one each"
            )
        result = self.model.decode(
            embedding, point_coords, point_labels, box, _mask_prompt(mask_input), multimask_output
        )
        return self._masks(result, return_logits), result.scores, result.low_res_logits

    def predict_batch(
        self,
        point_coords: NDArray[Any] | None = None,
        point_labels: NDArray[Any] | None = None,
        boxes: NDArray[Any] | None = None,
        mask_input: Float32 | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[Any], Float32, Float32]:
        """Segment B objects at once, as the official ``predict_torch`` does.

        Points and boxes are in the photo's pixels, as ``predict`` takes them: nothing has to go
        through ``transform``. ``Model.decode_batch`` takes objects with different prompts.

        Args:
            point_coords: ``(B, N, 2)``, x and y.
            point_labels: ``(B, N)``: 1 on the object, 0 not on it.
            boxes: ``(B, 4)``, XYXY.
            mask_input: ``(B, 1, S/4, S/4)`` logits of an earlier call.
            multimask_output: three candidates an object, or one mask.
            return_logits: give the logits of each pixel instead of bool masks.

        Returns:
            Masks ``(B, C, H, W)`` bool (or float32 logits), their predicted IoU ``(B, C)``, and
            low-resolution logits ``(B, C, S/4, S/4)``. No object gives arrays of length 0.

        Raises:
            ImageNotSetError: before ``set_image``.
            PromptError: if a prompt cannot be meant for this photo, or the arrays' lengths differ.
        """
        embedding = self.embedding
        _check_labelled(point_coords, point_labels)
        prompts = _one_each(
            point_coords=point_coords,
            point_labels=point_labels,
            boxes=boxes,
            mask_input=mask_input,
        )
        spec = self.model.spec
        shape = len(prompts), len(spec.masks.candidates) if multimask_output else 1
        kind = np.float32 if return_logits else np.bool_
        masks: NDArray[Any] = np.empty((*shape, *embedding.original_size), kind)
        scores = np.empty(shape, np.float32)
        logits = np.empty((*shape, spec.low_res_size, spec.low_res_size), np.float32)
        for index, result in self.model.decode_each(embedding, prompts, multimask_output):
            masks[index] = self._masks(result, return_logits)
            scores[index], logits[index] = result.scores, result.low_res_logits
        return masks, scores, logits

    def _masks(self, result: Segmentation, return_logits: bool) -> NDArray[Any]:
        """Return a result's masks, or the logits that they are cut from."""
        if not return_logits:
            return result.masks
        from sam_edge.masks.upsample import upsample_logits

        embedding = self.embedding
        return upsample_logits(
            result.low_res_logits,
            input_size=embedding.input_size,
            image_size=embedding.image_size,
            original_size=embedding.original_size,
        )


def _check_labelled(point_coords: NDArray[Any] | None, point_labels: NDArray[Any] | None) -> None:
    if point_coords is not None and point_labels is None:
        raise PromptError("point_labels must be supplied if point_coords is supplied")


def _mask_prompt(mask_input: Any) -> Any:  # noqa: ANN401 - checked where the prompt is made
    """Return a mask prompt with numbers in float32, as the official predictor converts them."""
    if mask_input is None or getattr(mask_input, "dtype", None) == np.bool_:
        return mask_input
    with np.errstate(over="ignore"):  # what becomes infinite is refused where the prompt is made
        return as_array(mask_input, "mask_input").astype(np.float32)


_ROWS = {
    "point_coords": "(B, N, 2)",
    "point_labels": "(B, N)",
    "boxes": "(B, 4)",
    "mask_input": "(B, 1, S/4, S/4)",
}


def _one_each(**arrays: object) -> list[Prompt]:
    """Take arrays of one row an object apart: those of ``_ROWS``, None where there is none.

    Raises:
        PromptError: if all are None, or they are of other shapes or lengths.
    """
    given = {name: as_array(array, name) for name, array in arrays.items() if array is not None}
    for name, array in given.items():
        if array.ndim != _ROWS[name].count(",") + 1:
            raise PromptError(
                f"{name} has shape {_ROWS[name]}, one row an object; got {array.shape}"
            )
    if len({len(array) for array in given.values()}) != 1:
        counts = ", ".join(f"{len(array)} {name}" for name, array in given.items())
        raise PromptError(f"each object has a row in every array, got {counts or 'no array'}")
    if "mask_input" in given:
        given["mask_input"] = _mask_prompt(arrays["mask_input"])
    columns = [given.get(name, repeat(None)) for name in _ROWS]
    return [Prompt.of(*row) for row in zip(*columns, strict=False)]
