"""The stateless core: a photo becomes an embedding, an embedding and a prompt become masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from math import prod
from pickle import PicklingError
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.compute import EXACT, Compute
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ArgumentError
from sam_edge.image import (
    ImageLike,
    input_shape,
    photo_sha256,
    preprocess,
    read_image,
)
from sam_edge.prompts import (
    Box,
    Prompt,
    check_mask_size,
    group_by_length,
    mask_logits,
    sparse_prompts,
)
from sam_edge.segmenter import MEMORY_LIMIT, Segmentation
from sam_edge.spec import IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER, ModelSpec
from sam_edge_runtimes import (
    EngineError,
    Float32,
    Session,
)
from sam_edge_runtimes.stopping import Stop, stoppable_by

EncodeStage: TypeAlias = Literal["reading", "preparing", "encoding"]
"""What ``encode_image`` does, in this order; nearly all of the time goes into the last."""

PROMPTS_PER_CALL = 8
"""A larger batch takes more memory and is hardly faster a prompt."""


class Model:
    """Sessions and the host code around them. Stateless, so any number of threads may use it.

    A model from ``load_model`` can be pickled, for a pool of workers: the copy opens the same
    bundle in the same way, so the bundle must be there, too.

    Args:
        spec: what the sessions are.
        sessions: role -> session, as the spec's graphs have roles: ``image_encoder`` and
            ``prompt_encoder_mask_decoder``, whose tensors ``docs/bundle.md`` describes.
        engine: what the sessions run on, for records.
        reopen: opens the same model again, elsewhere; None if sessions made it.
        compute: the format that each graph is computed in, and why.
    """

    def __init__(
        self,
        spec: ModelSpec,
        sessions: Mapping[str, Session],
        engine: str,
        reopen: Callable[[], Model] | None = None,
        compute: Compute = EXACT,
    ) -> None:
        self.spec = spec
        self.engine = engine
        self.sessions = sessions
        self.compute = compute
        self._reopen = reopen

    def __reduce__(self) -> tuple[Callable[[Callable[[], Model]], Model], tuple[Any, ...]]:
        if self._reopen is None:
            raise PicklingError(
                "this model was made from open sessions, which cannot leave their process; "
                "pickle one that load_model opened"
            )
        return _reopened, (self._reopen,)

    def encode_image(
        self,
        image: ImageLike,
        progress: Callable[[EncodeStage], None] | None = None,
        cancel: Stop | None = None,
    ) -> ImageEmbedding:
        """Encode a photo once, for any number of prompts.

        Args:
            image: a path, a ``PIL.Image`` or an ``(H, W, 3)`` uint8 RGB array; see
                ``sam_edge.image.read_image`` for what else is taken.
            progress: told each stage as it begins, in this thread. No engine says how far it is
                inside a graph, so there is no fraction of the last stage.
            cancel: asked from any other thread, it stops the encode. Both engines stop before the
                graph's next operator; reading a photo, preparing it and opening a graph for its
                first run end before they notice.

        Raises:
            ImageError: if it is no photo.
            RunStoppedError: if ``cancel`` was asked. The model works on as before.
            ArgumentError: if ``cancel`` is no ``Stop``.
        """
        if not (cancel is None or isinstance(cancel, Stop)):
            raise ArgumentError(
                "cancel is a sam_edge_runtimes.stopping.Stop, whose ask() stops an encode; "
                f"got {type(cancel).__name__}"
            )

        def begin(stage: EncodeStage) -> None:
            if cancel is not None:
                cancel.check()
            if progress is not None:
                progress(stage)

        begin("reading")
        pixels = read_image(image)
        begin("preparing")
        height, width = pixels.shape[:2]
        digest = photo_sha256(pixels)
        prepared = preprocess(pixels, self.spec)
        del pixels  # a photo can be larger than what the encoder has to work with
        begin("encoding")
        with nullcontext() if cancel is None else stoppable_by(cancel):
            answer = self.sessions[IMAGE_ENCODER].run({"image": prepared})
        if cancel is not None:
            cancel.check()  # a session of another kind may have run on
        return ImageEmbedding(
            features={tensor.name: answer[tensor.name] for tensor in self.spec.embeddings},
            original_size=(height, width),
            input_size=input_shape(height, width, self.spec.image),
            photo_sha256=digest,
            source_sha256=self.spec.source.sha256,
            image_size=self.spec.image_size,
            engine=self.engine,
            precision=self.spec.precision,
            frame=self.spec.image.frame,
        )

    def decode(
        self,
        embedding: ImageEmbedding,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: Box | Iterable[float] | None = None,
        mask: NDArray[Any] | None = None,
        multimask: bool = True,
    ) -> Segmentation:
        """Segment one object.

        Args:
            embedding: the photo's.
            points: ``[(x, y), ...]`` in the photo's pixels.
            labels: one a point: 1 on the object, 0 not on it; None means all 1.
            box: ``(x0, y0, x1, y1)`` in the photo's pixels.
            mask: low-resolution logits of an earlier decode, or an ``(H, W)`` bool mask.
            multimask: True gives the decoder's three candidates (its outputs 1 to 3), for an
                ambiguous prompt; False its single answer (output 0).

        Raises:
            PromptError: if the prompt cannot be meant for this photo.
            EmbeddingError: if the embedding is another model's.
        """
        prompt = Prompt.of(points, labels, box, mask)
        return self.decode_batch(embedding, [prompt], multimask)[0]

    def decode_batch(
        self, embedding: ImageEmbedding, prompts: Sequence[Prompt], multimask: bool = True
    ) -> list[Segmentation]:
        """Segment many objects of one photo, several a decoder call.

        All masks are kept, three bytes a pixel for each prompt; ``decode_each`` keeps none.

        Args:
            embedding: the photo's.
            prompts: one an object.
            multimask: as in ``decode``.

        Returns:
            One result a prompt, in their order.
        """
        results = dict(self.decode_each(embedding, prompts, multimask))
        return [results[index] for index in range(len(prompts))]

    def decode_each(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool = True,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Iterator[tuple[int, Segmentation]]:
        """Segment many objects of one photo; for callers who use up each result as it comes.

        Args:
            embedding: the photo's.
            prompts: one an object. All are checked before this returns.
            multimask: as in ``decode``.
            memory_limit: in bytes, for the decoder's work and one result; one prompt is decoded at
                a time where it is too small for more.

        Returns:
            An iterator over pairs of a prompt's index and its result. Prompts that are alike come
            together, so indices are not in order.

        Raises:
            PromptError: if a prompt cannot be meant for this photo.
            EmbeddingError: if the embedding is another model's.
        """
        embedding.check_made_for(self.spec)
        sparse = [
            sparse_prompts(prompt, embedding.original_size, embedding.input_size)
            for prompt in prompts
        ]
        for prompt in prompts:
            if prompt.mask is not None:
                check_mask_size(prompt.mask, embedding.original_size, self.spec.image_size)
        return self._decode_each(embedding, prompts, sparse, multimask, memory_limit)

    def _decode_each(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        sparse: Sequence[tuple[Float32, Float32]],
        multimask: bool,
        memory_limit: int,
    ) -> Iterator[tuple[int, Segmentation]]:
        masks = self.spec.masks
        outputs = list(masks.candidates if multimask else (masks.single,))
        result_bytes = len(outputs) * prod(embedding.original_size)
        kinds = [
            (len(labels), prompt.mask is not None)
            for (_, labels), prompt in zip(sparse, prompts, strict=True)
        ]
        for group in group_by_length(kinds):
            tokens, has_mask = kinds[group[0]]
            room = (memory_limit - result_bytes) // self.spec.decoder_bytes(tokens)
            at_once = max(1, min(PROMPTS_PER_CALL, room))
            for start in range(0, len(group), at_once):
                indices = group[start : start + at_once]
                dense = [
                    mask_logits(
                        mask, embedding.original_size, embedding.input_size, self.spec.image_size
                    )
                    for mask in (prompts[index].mask for index in indices)
                    if mask is not None
                ]
                logits, scores = self.decode_tensors(
                    embedding,
                    np.stack([sparse[index][0] for index in indices]),
                    np.stack([sparse[index][1] for index in indices]),
                    np.stack(dense)[:, None] if has_mask else None,
                )
                for row, index in enumerate(indices):
                    yield (
                        index,
                        self._segmentation(embedding, logits[row, outputs], scores[row, outputs]),
                    )

    def decode_tensors(
        self,
        embedding: ImageEmbedding,
        point_coords: Float32,
        point_labels: Float32,
        mask_input: Float32 | None = None,
    ) -> tuple[Float32, Float32]:
        """Run the decoder graph on prompts that are already in the encoder's frame.

        Args:
            embedding: the photo's.
            point_coords: ``(B, N, 2)``.
            point_labels: ``(B, N)``, see ``PointLabel``.
            mask_input: ``(B, 1, S/4, S/4)`` logits, or None for no mask.

        Returns:
            ``low_res_masks`` of shape ``(B, 4, S/4, S/4)`` and ``iou_predictions`` of ``(B, 4)``.
        """
        has_mask = mask_input is not None
        if mask_input is None:
            side = self.spec.low_res_size
            mask_input = np.zeros((1, 1, side, side), np.float32)
        answer = self.sessions[PROMPT_ENCODER_MASK_DECODER].run(
            {
                **embedding.features,
                "point_coords": np.ascontiguousarray(point_coords, np.float32),
                "point_labels": np.ascontiguousarray(point_labels, np.float32),
                "mask_input": np.ascontiguousarray(mask_input, np.float32),
                "has_mask_input": np.full(len(mask_input), has_mask, np.float32),
            }
        )
        scores = answer["iou_predictions"]
        if np.isnan(scores).any():
            raise EngineError("the model's scores are NaN: the bundle or the embedding is damaged")
        return answer["low_res_masks"], scores

    def _segmentation(
        self, embedding: ImageEmbedding, logits: Float32, scores: Float32
    ) -> Segmentation:
        from sam_edge.masks.upsample import upsample_masks  # a quarter of `import sam_edge`

        masks = upsample_masks(
            logits,
            input_size=embedding.input_size,
            image_size=self.spec.image_size,
            original_size=embedding.original_size,
            threshold=self.spec.masks.threshold,
        )
        return Segmentation(masks, scores.copy(), logits.copy())


def _reopened(reopen: Callable[[], Model]) -> Model:
    return reopen()
