"""Everything in a photo, for a client that watches: what ``sam-edge everything`` finds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any, TypeVar

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.embedding import ImageEmbedding
from sam_edge.image import ImageLike, RgbImage, read_image
from sam_edge.masks import from_coco_rle, rle_to_box
from sam_edge.model import Model
from sam_edge.server.answers import Emit
from sam_edge.server.body import flag
from sam_edge.server.embeddings import Held
from sam_edge.server.lane import Lane
from sam_edge.server.library import ServedPhoto
from sam_edge.spec import ModelSpec
from sam_edge_runtimes import Float32

T = TypeVar("T")

KNOBS = (
    "points_per_side",
    "pred_iou_thresh",
    "stability_score_thresh",
    "stability_score_offset",
    "box_nms_thresh",
    "crop_n_layers",
    "crop_nms_thresh",
    "crop_overlap_ratio",
    "crop_n_points_downscale_factor",
    "min_mask_region_area",
)


class Everything:
    """Runs the generator in a lane of its own; encoding and decoding take their turns in theirs.

    Args:
        model: encodes and decodes.
        lane: for the generator.
        encodes: for its encodes, of crops.
        decodes: for its decodes: somebody's hover comes between two of them.
    """

    def __init__(self, model: Model, lane: Lane, encodes: Lane, decodes: Lane) -> None:
        self._model, self._lane = model, lane
        self._encodes, self._decodes = encodes, decodes

    def generator(
        self, content: Mapping[str, Any]
    ) -> Callable[[_TurnTaker], SamAutomaticMaskGenerator]:
        """Check the knobs of a request.

        Raises:
            GeneratorError, BadRequestError: if they cannot be meant.
        """
        knobs = {name: content[name] for name in KNOBS if content.get(name) is not None}
        coarse_first = flag(dict(content), "coarse_first")

        def make(model: _TurnTaker | Model) -> SamAutomaticMaskGenerator:
            return SamAutomaticMaskGenerator(
                model, output_mode="coco_rle", coarse_first=coarse_first, **knobs
            )

        make(self._model)
        return make

    async def find(
        self,
        photo: ServedPhoto,
        held: Held,
        make: Callable[[_TurnTaker], SamAutomaticMaskGenerator],
        emit: Emit,
    ) -> dict[str, Any]:
        """Find everything. Cancelled, it stops before the next decoder call.

        Args:
            photo: the photo.
            held: its embedding.
            make: from ``generator``.
            emit: is told how far it is.
        """
        loop = asyncio.get_running_loop()
        stop = Event()
        emit({"event": "queued", "position": self._lane.ahead})

        def work() -> dict[str, Any]:
            pixels = read_image(photo.path)
            model = _TurnTaker(self._model, held, pixels, self._encodes, self._decodes, loop)

            def progress(done: int, total: int) -> None:
                event = {"event": "progress", "done": done, "total": total}
                loop.call_soon_threadsafe(emit, event)

            records = make(model).generate(pixels, progress=progress, cancelled=stop.is_set)
            return {"masks": list(map(_record, records)), "size": list(pixels.shape[:2])}

        try:
            return await self._lane.run(work)
        finally:
            stop.set()


def _record(record: Any) -> dict[str, Any]:  # noqa: ANN401 - a MaskRecord whose mask is COCO's
    rle = record["segmentation"]
    x, y, width, height = record["crop_box"]
    return {
        "rle": rle,
        "score": record["predicted_iou"],
        "stability": record["stability_score"],
        "area": record["area"],
        "box": list(rle_to_box(from_coco_rle(rle))),
        "point": record["point_coords"][0],
        "part": [x, y, x + width, y + height],
    }


class _TurnTaker:
    """A model for the generator's thread, whose calls take their turns in lanes."""

    def __init__(
        self,
        model: Model,
        held: Held,
        pixels: RgbImage,
        encodes: Lane,
        decodes: Lane,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._model, self._held, self._pixels = model, held, pixels
        self._encodes, self._decodes, self._loop = encodes, decodes, loop

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        return self._model.spec

    def encode_image(self, image: ImageLike) -> ImageEmbedding:
        """Return what is held of the whole photo, and encode its crops."""
        if getattr(image, "shape", None) == self._pixels.shape:
            return self._held.embedding
        return self._turn(self._encodes, lambda: self._model.encode_image(image))

    def decode_tensors(
        self,
        embedding: ImageEmbedding,
        point_coords: Float32,
        point_labels: Float32,
        mask_input: Float32 | None = None,
    ) -> tuple[Float32, Float32]:
        """Decode, as ``Model.decode_tensors``."""
        return self._turn(
            self._decodes,
            lambda: self._model.decode_tensors(embedding, point_coords, point_labels, mask_input),
        )

    def _turn(self, lane: Lane, work: Callable[[], T]) -> T:
        return asyncio.run_coroutine_threadsafe(lane.run(work), self._loop).result()
