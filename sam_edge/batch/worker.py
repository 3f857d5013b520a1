"""One photo after another: what every process does, on this machine or another."""

from __future__ import annotations

import errno
import hashlib
import json
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.batch.places import place_at
from sam_edge.batch.values import (
    DONE,
    FAILED,
    KEPT,
    WANTS_MEMORY,
    Item,
    Job,
    Outcome,
    Settings,
    reason,
)
from sam_edge.detections import PhotoPrompts, segment_boxes
from sam_edge.embedding import ImageEmbedding
from sam_edge.errors import (
    ChecksumError,
    EngineError,
    ImageError,
    JsonFileError,
    ManifestError,
    UnwritableError,
)
from sam_edge.files import json_text, parse_json
from sam_edge.formats import coco_document, labelled, sa1b_document, yolo_text
from sam_edge.formats.records import LabelledMask
from sam_edge.formats.write import FORMATS, label_map_bytes, masks_text
from sam_edge.grounding.grounder import Grounder
from sam_edge.grounding.masks import segment_detections
from sam_edge.grounding.opening import load_grounder
from sam_edge.image import MAX_PIXELS, ImageLike, RgbImage
from sam_edge.loading import load_model
from sam_edge.model import Model
from sam_edge.photos import Photo
from sam_edge.prompts import Prompt
from sam_edge.segmenter import MEMORY_LIMIT, Segmentation
from sam_edge.spec import BundleSpec, ModelSpec
from sam_edge.tiling import georeference_of, open_windows, segment_tiles
from sam_edge_runtimes import Float32
from sam_edge_runtimes.memory import peak_rss, resident_sizes

RECORD_FORMAT = 2
RECORD = ".done.json"
"""Beside each result: what it was made of. It is written last, so where it is, all is."""


class Worker:
    """A model that is open, and the place of its results.

    Args:
        settings: how photos are done.
        alive: called where an encode or a decode of the model ends.

    Raises:
        SamEdgeError: if the model cannot be opened, or the place is none.
    """

    def __init__(self, settings: Settings, alive: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        model = load_model(
            settings.bundle,
            settings.runtime,
            settings.threads,
            memory=settings.memory,
            compute=settings.compute,
        )
        self._model = _Remembering(model, alive)
        self._grounder = None
        if (words := settings.words) is not None:
            self._grounder = load_grounder(
                words.bundle,
                words.runtime,
                settings.threads,
                settings.memory,
                compute=words.compute,
            )
        self._place = place_at(settings.out)
        self._embeddings = None if settings.embeddings is None else place_at(settings.embeddings)
        self._generator = SamAutomaticMaskGenerator(
            self._model,
            output_mode="uncompressed_rle",
            memory_ceiling_bytes=settings.memory_limit,
            **settings.generator,
        )
        self._alive = alive
        self._proved = False
        self.limited = False  # whether this process may have only so much memory
        self._made_by = fingerprint_of(model.spec, model.engine, settings)

    def __call__(self, job: Job) -> Outcome:
        """Do one photo. Whatever is wrong with it is said by what is returned."""
        start = time.perf_counter()
        try:
            outcome = self._done(job)
        except Exception as error:  # a million photos hold what nobody foresaw
            outcome = Outcome(
                job.item,
                FAILED,
                problems=job.problems,
                error=self._reason(error),
                fatal=self._is_fatal(error),
            )
        self._proved |= outcome.status == DONE
        peak = peak_rss()
        if self.limited and peak is not None:
            peak = max(peak, resident_sizes().get("VmData", 0))
        return replace(outcome, seconds=time.perf_counter() - start, peak_bytes=peak)

    def _reason(self, error: Exception) -> str:
        # Engines have errors of their own for want of memory.
        wanting = self.limited and isinstance(error, MemoryError | EngineError)
        return f"{reason(error)}; {WANTS_MEMORY}" if wanting else reason(error)

    def _is_fatal(self, error: Exception) -> bool:
        """Whether the next photo would fail of the same: a full disk, or a model that never ran."""
        if isinstance(error, UnwritableError):
            # A name that is too long is this photo's alone.
            return getattr(error.__cause__, "errno", None) != errno.ENAMETOOLONG
        broken = isinstance(error, EngineError | ChecksumError | ManifestError)
        return broken and not self._proved and not (self.limited and isinstance(error, EngineError))

    def _done(self, job: Job) -> Outcome:
        item = job.item
        if job.fault is not None:
            return Outcome(item, FAILED, problems=job.problems, error=job.fault)
        made_of = {
            **self._made_by,
            "photo": _file_sha256(item.path),
            "prompts": None if job.prompts is None else digest_of(job.prompts),
            "image": [item.file_name, item.image_id],
        }
        if self._settings.resume or job.attempt:
            record = self._right(item, made_of)
            if record is not None:
                problems = (*job.problems, *record["problems"])
                return Outcome(item, KEPT, record["masks"], problems)
        photo = Photo(item.path)
        found: list[str] = []
        outputs = {}
        if self._settings.tile is not None:
            masks, size = self._tiled(item.path, self._settings.tile, found)
        else:
            pixels = photo.read(stretch=self._settings.stretch)
            size = (pixels.shape[0], pixels.shape[1])
            self._model.last = None
            masks = self._masks(pixels, job.prompts, photo, found)
            if self._embeddings is not None:
                embedding = self._model.last or self._model.encode_image(pixels)
                data = embedding.to_bytes()
                self._embeddings.write(f"{item.name}.npz", data)
                outputs["embedding"] = _sha256(data)
            del pixels
        document = coco_document(masks, file_name=item.file_name, size=size, image_id=item.image_id)
        data = self._result(masks, document, photo, item, size)
        self._place.write(f"{item.name}{FORMATS[self._settings.kind]}", data)
        outputs["result"] = _sha256(data)
        record = {
            "format": RECORD_FORMAT,
            "made_of": made_of,
            "outputs": outputs,
            "masks": len(masks),
            "problems": found,
        }
        if self._settings.kind != "coco":
            record["coco"] = document
            outputs["coco"] = _sha256(json_text(document).encode())
        self._place.write(f"{item.name}{RECORD}", json_text(record).encode())
        return Outcome(item, DONE, len(masks), (*job.problems, *found))

    def _right(self, item: Item, made_of: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the record of results that are there and as this run would make them."""
        record = read_record(self._place.read(f"{item.name}{RECORD}"), item.name)
        if record is None or record["made_of"] != made_of:
            return None
        result = self._place.read(f"{item.name}{FORMATS[self._settings.kind]}")
        if result is None or _sha256(result) != record["outputs"].get("result"):
            return None
        if self._settings.kind != "coco":
            masks = json_text(record.get("coco")).encode()
            if _sha256(masks) != record["outputs"].get("coco"):
                return None
        if self._embeddings is not None:
            data = self._embeddings.read(f"{item.name}.npz")
            if data is None or _sha256(data) != record["outputs"].get("embedding"):
                return None
        return record

    def _masks(
        self,
        pixels: RgbImage,
        prompts: PhotoPrompts | None,
        photo: Photo,
        problems: list[str],
    ) -> list[LabelledMask]:
        if prompts is None and self._grounder is not None:
            return self._named(pixels, self._grounder)
        if prompts is None:
            return labelled(self._generator.generate(pixels))
        size = (pixels.shape[0], pixels.shape[1])
        detections = prompts.at(size, photo.file_name, skip=problems.append)
        if not detections:
            return []
        return segment_boxes(
            self._model,
            self._model.encode_image(pixels),
            detections,
            memory_limit=self._settings.memory_limit,
            skip=problems.append,
        )

    def _tiled(
        self, path: Path, tile: int, problems: list[str]
    ) -> tuple[list[LabelledMask], tuple[int, int]]:
        """Return everything in a picture that is read tile by tile, and its size."""
        with open_windows(path, stretch=self._settings.stretch) as picture:
            height, width = size = picture.size
            if height * width > MAX_PIXELS:
                raise ImageError(
                    f"{path} has {width} x {height} pixels, and COCO's file of the set holds masks "
                    f"of {MAX_PIXELS}; use sam-edge everything --tile --format geojson"
                )
            found = segment_tiles(
                picture, self._generator, tile, self._settings.overlap, skip=problems.append
            )
        return [mask.labelled(size) for mask in found], size

    def _named(self, pixels: RgbImage, grounder: Grounder) -> list[LabelledMask]:
        words = self._settings.words
        assert words is not None  # or there were no grounder
        found = grounder.ground(
            pixels,
            words.phrases,
            exclude=words.exclude,
            threshold=words.threshold,
            top_k=words.top_k,
            best_phrase=words.best_phrase,
        )
        self._alive()
        if not found:
            return []
        embedding = self._model.encode_image(pixels)
        limit = self._settings.memory_limit
        return segment_detections(self._model, embedding, found, memory_limit=limit)

    def _result(
        self,
        masks: list[LabelledMask],
        document: Mapping[str, Any],
        photo: Photo,
        item: Item,
        size: tuple[int, int],
    ) -> bytes:
        kind, tolerance = self._settings.kind, self._settings.tolerance
        if kind == "png":
            return label_map_bytes(masks, size)
        if kind == "coco":
            return json_text(document).encode()
        if kind == "sa1b":
            number = item.image_id if isinstance(item.image_id, int) else 0
            return json_text(
                sa1b_document(masks, file_name=item.file_name, size=size, image_id=number)
            ).encode()
        if kind == "yolo":
            names = self._settings.labels
            return yolo_text(masks, size=size, names=names, tolerance=tolerance).encode()
        name = f"{item.name}{FORMATS[kind]}"
        path = self._place.path(name) or Path(name)
        place = georeference_of(item.path) if kind == "geojson" else None
        return masks_text(masks, kind, path, photo, size, tolerance, place).encode()


class _Remembering:
    """A model that says when it did something, and keeps its first embedding of a photo.

    That is the embedding of all of it, not of a crop.
    """

    def __init__(self, model: Model, alive: Callable[[], None]) -> None:
        self._model = model
        self._alive = alive
        self.last: ImageEmbedding | None = None

    @property
    def spec(self) -> ModelSpec:
        return self._model.spec

    def encode_image(self, image: ImageLike) -> ImageEmbedding:
        embedding = self._model.encode_image(image)
        self._alive()
        if self.last is None:
            self.last = embedding
        return embedding

    def decode_tensors(
        self,
        embedding: ImageEmbedding,
        point_coords: Float32,
        point_labels: Float32,
        mask_input: Float32 | None = None,
    ) -> tuple[Float32, Float32]:
        answer = self._model.decode_tensors(embedding, point_coords, point_labels, mask_input)
        self._alive()
        return answer

    def decode_each(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompt],
        multimask: bool = True,
        memory_limit: int = MEMORY_LIMIT,
    ) -> Iterator[tuple[int, Segmentation]]:
        for found in self._model.decode_each(embedding, prompts, multimask, memory_limit):
            self._alive()
            yield found


def fingerprint_of(spec: ModelSpec, engine: str, settings: Settings) -> dict[str, Any]:
    """Return what results depend on beside the photo and its prompts, as JSON holds it.

    How many processes and threads there are is no part of it, nor are sam-edge's own and the
    engine's version: start anew after an upgrade that changes masks.
    """
    chosen: dict[str, Any] = {"format": settings.kind, "stretch": settings.stretch}
    chosen["generator"] = dict(settings.generator)
    if settings.tile is not None:
        chosen["tile"] = [settings.tile, settings.overlap]
    if settings.kind in ("labelme", "yolo", "geojson"):
        chosen["tolerance"] = settings.tolerance
    if settings.kind == "yolo":
        chosen["labels"] = list(settings.labels)
    chosen["embeddings"] = settings.embeddings is not None
    if settings.words is not None:
        chosen["words"] = asdict(replace(settings.words, bundle="", runtime=""))
    return {
        "model": made_by(spec, engine) | {"compute": settings.compute},
        "settings": json.loads(json.dumps(chosen)),
    }


def made_by(spec: BundleSpec, engine: str) -> dict[str, Any]:
    """Return what identifies a bundle on an engine, as JSON holds it."""
    graphs = {graph.role: graph.sha256 for graph in spec.graphs if engine in graph.engines}
    graphs |= {graph.role: graph.sha256 for graph in spec.graphs if not graph.engines}
    return {"source": spec.source.sha256, "graphs": graphs, "engine": engine}


def digest_of(prompts: PhotoPrompts) -> str:
    """Return what is equal for the same prompts, wherever their file lies."""
    said = asdict(replace(prompts, source=""))
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_record(data: bytes | None, name: str) -> dict[str, Any] | None:
    """Return a record of this format; None if there is none, or it is another's."""
    if data is None:
        return None
    try:
        record = parse_json(data, name)
    except JsonFileError:
        return None
    wanted = {"made_of": dict, "outputs": dict, "masks": int, "problems": list}
    if not isinstance(record, dict) or record.get("format") != RECORD_FORMAT:
        return None
    if not all(isinstance(record.get(key), kind) for key, kind in wanted.items()):
        return None
    return record


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file_sha256(path: Path) -> str:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise ImageError(f"{path} is no regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
