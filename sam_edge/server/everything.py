"""Everything in a photo, for a client that watches: what ``sam-edge everything`` finds."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar

from sam_edge.automatic import CancelledError, SamAutomaticMaskGenerator
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
        turns = _Turns(loop)
        emit({"event": "queued", "position": self._lane.ahead})

        def work() -> dict[str, Any]:
            pixels = read_image(photo.path)
            model = _TurnTaker(self._model, held, pixels, self._encodes, self._decodes, turns)

            def progress(done: int, total: int) -> None:
                event = {"event": "progress", "done": done, "total": total}
                loop.call_soon_threadsafe(emit, event)

            records = make(model).generate(pixels, progress=progress, cancelled=turns.are_over)
            return {"masks": list(map(_record, records)), "size": list(pixels.shape[:2])}

        try:
            return await self._lane.run(work)
        finally:
            turns.end()


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


_GONE = "nobody waits for everything in this photo any more"


class _Turns:
    """What threads of one piece of work ask lanes for, until it is over.

    A loop that was told to stop, and is not closed yet, takes what it never does: whoever waited
    for that would wait for ever.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = Lock()
        self._waiting: set[concurrent.futures.Future[Any]] = set()
        self._over = False

    def take(self, lane: Lane, work: Callable[[], T]) -> T:
        """Do work when a lane comes to it. Called in any thread but the loop's.

        Raises:
            CancelledError: if there are no turns any more, or none are left while it waits.
        """
        with self._lock:
            if self._over:
                raise CancelledError(_GONE)
            turn = asyncio.run_coroutine_threadsafe(lane.run(work), self._loop)
            self._waiting.add(turn)
        try:
            return turn.result()
        except concurrent.futures.CancelledError:
            raise CancelledError(_GONE) from None
        finally:
            with self._lock:
                self._waiting.discard(turn)

    def are_over(self) -> bool:
        """Whether ``end`` was called."""
        return self._over

    def end(self) -> None:
        """Give no turn any more, and let nobody wait. Called in the loop's thread."""
        with self._lock:
            self._over = True
            waiting = list(self._waiting)
        for turn in waiting:
            turn.cancel()


class _TurnTaker:
    """A model for the generator's threads, whose calls take their turns in lanes."""

    def __init__(
        self,
        model: Model,
        held: Held,
        pixels: RgbImage,
        encodes: Lane,
        decodes: Lane,
        turns: _Turns,
    ) -> None:
        self._model, self._held, self._pixels = model, held, pixels
        self._encodes, self._decodes, self._turns = encodes, decodes, turns

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        return self._model.spec

    def encode_image(self, image: ImageLike) -> ImageEmbedding:
        """Return what is held of the whole photo, and encode its crops."""
        if getattr(image, "shape", None) == self._pixels.shape:
            return self._held.embedding
        return self._turns.take(self._encodes, lambda: self._model.encode_image(image))

    def decode_tensors(
        self,
        embedding: ImageEmbedding,
        point_coords: Float32,
        point_labels: Float32,
        mask_input: Float32 | None = None,
    ) -> tuple[Float32, Float32]:
        """Decode, as ``Model.decode_tensors``."""
        return self._turns.take(
            self._decodes,
            lambda: self._model.decode_tensors(embedding, point_coords, point_labels, mask_input),
        )
