"""The stateless core: a photo becomes an embedding, an embedding and a prompt become masks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from os import PathLike
from pathlib import Path
from pickle import PicklingError
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import ManifestError
from sam_edge.image import (
    ImageLike,
    photo_sha256,
    preprocess,
    read_image,
    resized_shape,
)
from sam_edge.prompts import (
    Box,
    Prompt,
    check_mask_size,
    group_by_length,
    mask_logits,
    sparse_prompts,
)
from sam_edge.spec import (
    IMAGE_ENCODER,
    PROMPT_ENCODER_MASK_DECODER,
    ModelSpec,
    checked_digest,
    read_spec,
)
from sam_edge_runtimes import (
    ENGINES,
    DeferredSession,
    EngineError,
    Float32,
    MissingDependencyError,
    Session,
    ShapedSession,
    choose_engine,
    open_session,
)
from sam_edge_runtimes.cpu import saturates_here

logger = logging.getLogger("sam_edge")

PROMPTS_PER_CALL = 8
"""A larger batch takes more memory and is hardly faster a prompt."""

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


class Segmenter(Protocol):
    """What can turn prompts into masks: a bundle on an engine, or the PyTorch reference."""

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        ...

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

    def decode_each(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool = True,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Iterator[tuple[int, Segmentation]]:
        """Segment many objects of one photo without keeping their masks."""
        ...


class Model:
    """Two sessions and the host code around them. Stateless, so any number of threads may use it.

    A model from ``load_model`` can be pickled, for a pool of workers: the copy opens the same
    bundle in the same way, so the bundle must be there, too.

    Args:
        spec: what the sessions are.
        encoder: ``image`` -> ``image_embeddings``.
        decoder: the native decoder contract, see ``docs/bundle.md``.
        engine: what the sessions run on, for records.
        opened_by: the arguments of the ``load_model`` that opened it; None if sessions made it.
    """

    def __init__(
        self,
        spec: ModelSpec,
        encoder: Session,
        decoder: Session,
        engine: str,
        opened_by: tuple[str, str, int | None, str, bool] | None = None,
    ) -> None:
        self.spec = spec
        self.engine = engine
        self._encoder = encoder
        self._decoder = decoder
        self._opened_by = opened_by

    def __reduce__(self) -> tuple[Callable[..., Model], tuple[Any, ...]]:
        if self._opened_by is None:
            raise PicklingError(
                "this model was made from open sessions, which cannot leave their process; "
                "pickle one that load_model opened"
            )
        return load_model, self._opened_by

    def encode_image(self, image: ImageLike) -> ImageEmbedding:
        """Encode a photo once, for any number of prompts.

        Args:
            image: a path, a ``PIL.Image`` or an ``(H, W, 3)`` uint8 RGB array; see
                ``sam_edge.image.read_image`` for what else is taken.

        Raises:
            ImageError: if it is no photo.
        """
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        digest = photo_sha256(pixels)
        prepared = preprocess(pixels, self.spec)
        del pixels  # a photo can be larger than what the encoder has to work with
        return ImageEmbedding(
            features=self._encoder.run({"image": prepared})["image_embeddings"],
            original_size=(height, width),
            input_size=resized_shape(height, width, self.spec.image_size),
            photo_sha256=digest,
            source_sha256=self.spec.source.sha256,
            image_size=self.spec.image_size,
            engine=self.engine,
            precision=self.spec.precision,
            frame=self.spec.frame,
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
        outputs = slice(1, None) if multimask else slice(0, 1)
        result_bytes = (3 if multimask else 1) * prod(embedding.original_size)
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
                    mask_logits(mask, embedding.original_size, self.spec.image_size)
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
        answer = self._decoder.run(
            {
                "image_embeddings": embedding.features,
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
            threshold=self.spec.mask_threshold,
        )
        return Segmentation(masks, scores.copy(), logits.copy())


def load_model(
    model: str | PathLike[str] | None = None,
    runtime: str = "auto",
    threads: int | None = None,
    memory: str = "normal",
    cache: bool = True,
) -> Model:
    """Open a model.

    Args:
        model: a bundle's directory, or a name that ``sam-edge models list`` shows, with or without
            a precision (``vit_b``, ``vit_b-fp16``); None means the model in the box.
        runtime: ``onnxruntime``, ``openvino``, or ``auto``: the one that ``sam-edge bench run``
            measured to be faster here, else the first of them installed. The model says which as
            ``model.engine``.
        threads: how many threads one call may use; None leaves it to the engine, up to the cores
            that this process may use.
        memory: ``normal``, or ``low`` to open the encoder for each photo and close it after: its
            memory is then free while masks are decoded, at the price of opening it every time.
            ``auto`` is then ONNX Runtime where it is installed, which needs less.
        cache: keep what the engine makes of the graphs in the user's cache, so that the model opens
            faster the next time; it takes as much disk as the float32 weights, four times that at
            most where a bundle encodes photo frames of many sizes.

    Raises:
        ModelNotFoundError: if there is no such directory, or a named model is not here yet.
        ManifestError: if the bundle cannot be trusted; when a graph is first used,
            ``ChecksumError`` if its bytes are not those promised.
        EngineError: if its integers cannot be computed exactly on this CPU.
        MissingDependencyError: if the engine is not installed.
        ValueError: if an argument has no meaning.
    """
    from sam_edge.zoo import resolve

    if memory not in ("normal", "low"):
        raise ValueError(f"memory is 'normal' or 'low', got {memory!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    directory = resolve(model).absolute()
    spec = read_spec(directory)
    if spec.decoder != "native":
        raise ManifestError(
            f"{directory} has the {spec.decoder} decoder, which is for clients of the official "
            "ONNX notebook; export the checkpoint with --decoder native"
        )
    engine = _engine(runtime, spec, memory)
    _check_products(spec)
    logger.info("%s runs on %s", directory, engine)

    opener = partial(
        graph_opener,
        directory,
        spec,
        engine=engine,
        threads=threads,
        shrink=memory == "low",  # of the decoder, which stays open
        cache=cache,
    )
    encoder = DeferredSession(
        opener(role=IMAGE_ENCODER),
        keep=memory == "normal",
    )
    decoder = DeferredSession(opener(role=PROMPT_ENCODER_MASK_DECODER))
    return Model(spec, encoder, decoder, engine, (str(directory), engine, threads, memory, cache))


def graph_opener(
    directory: Path,
    spec: ModelSpec,
    role: str,
    engine: str,
    threads: int | None,
    *,
    shrink: bool = False,
    cache: bool = True,
) -> Callable[[], Session]:
    """Return what opens one graph of a bundle as ``Model`` runs it.

    Args:
        directory: the bundle's.
        spec: its manifest.
        role: as in the manifest.
        engine: an installed one.
        threads: how many one run may use; None leaves it to the engine.
        shrink: give the engine's working memory back after each run.
        cache: as in ``load_model``.

    Raises:
        ManifestError: if the bundle has no such graph for the engine.
        ChecksumError: by what is returned, at its first call, if the graph's bytes are not those
            that the manifest promises.
    """
    from sam_edge.zoo.cache import compiled_directory

    graph = spec.graph(role, engine)
    digest: list[str] = []
    # encode_image takes one photo at a time: a batch fixed at 1 lets the engine plan its memory.
    # With the grid's size known, it folds the decoder's positional encoding into a constant.
    grid, mask = spec.embedding_size, spec.low_res_size
    fixed = {"batch": 1, "grid_height": grid, "grid_width": grid}
    fixed |= {"mask_height": mask, "mask_width": mask}

    def opened(sizes: Mapping[str, int]) -> Session:
        if not digest:  # once, as low memory opens the encoder for every photo
            digest.append(checked_digest(directory, graph))
        return open_session(
            engine,
            directory / graph.file,
            threads=threads,
            input_shapes={tensor.name: tensor.shape for tensor in graph.inputs},
            fixed={**fixed, **sizes},
            # An encoder's products have thousands of rows: packing gains nothing there.
            pack_weights=role != IMAGE_ENCODER,
            shrink=shrink,
            cache=compiled_directory(digest[0]) if cache else None,
        )

    if role == IMAGE_ENCODER and spec.frame == "photo":
        return lambda: ShapedSession(opened, "image", {2: "height", 3: "width"})
    return lambda: opened({})


def _engine(runtime: str, spec: ModelSpec, memory: str) -> str:
    """Turn what the caller asked for into an installed engine that the bundle has graphs for."""
    if runtime != "auto":
        return choose_engine(runtime)
    if memory == "normal":
        from sam_edge.engine_choice import fastest_engine

        known = fastest_engine(spec)
        if known is not None and spec.runs_on(known):
            try:
                return choose_engine(known)
            except MissingDependencyError:
                pass  # measured once, uninstalled since
    return choose_engine(runtime, [engine for engine in ENGINES if spec.runs_on(engine)])


def _check_products(spec: ModelSpec) -> None:
    """Refuse 8-bit products on a processor that would saturate in them."""
    bits = (spec.quantization or {}).get("weight_bits", 0)
    if bits == 8 and saturates_here():
        raise EngineError(
            "this CPU has no VNNI: sums of 8-bit products saturate, and masks would be wrong; "
            "export with --precision int8 --target x86-64, or with --precision fp16"
        )
