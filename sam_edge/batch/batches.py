"""A batch from its arguments to its summary."""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.batch.collected import COCO, ErrorLog, write_coco
from sam_edge.batch.inputs import PhotoSet, photo_set
from sam_edge.batch.places import is_remote, place_at
from sam_edge.batch.values import (
    DONE,
    FAILED,
    KEPT,
    BatchError,
    Item,
    Job,
    Outcome,
    Settings,
    Words,
    reason,
)
from sam_edge.batch.worker import RECORD, fingerprint_of, made_by
from sam_edge.detections import DetectionError, PhotoPrompts, UnnamedPhotoError
from sam_edge.errors import ArgumentError, SamEdgeError
from sam_edge.files import json_text
from sam_edge.formats.write import FORMATS
from sam_edge.formats.yolo import yolo_data
from sam_edge.grounding.opening import load_grounder
from sam_edge.grounding.phrases import checked_phrases
from sam_edge.grounding.selection import Selection
from sam_edge.loading import load_model
from sam_edge.prompt_files import PromptFile, read_prompt_file
from sam_edge.prompt_files.coco import DetectionFile
from sam_edge.segmenter import MEMORY_LIMIT
from sam_edge.text import printable, shown
from sam_edge.tiling import check_tiles
from sam_edge.zoo import resolve
from sam_edge.zoo.grounders import DEFAULT_GROUNDER, resolve_grounder

MARK = "batch.json"
"""In the folder of the results: what made them."""

ENGINES = ("local", "ray")

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Options(TypedDict, total=False):
    """How a batch is done; each may be left out.

    Attributes:
        model: as ``load_model`` takes it.
        runtime: likewise.
        memory: likewise.
        threads: of the engine, in each worker process.
        processes: worker processes; with Ray, of the whole cluster.
        memory_limit: in bytes, for all worker processes of a machine.
        prompts: what to segment, see ``read_prompt_file``; without it, everything.
        text: phrases to look for, instead of everything; see ``Grounder.ground``.
        exclude: phrases that must not match.
        grounder: what finds them, as ``load_grounder`` takes it.
        text_threshold: the least score of a box; None takes the grounder's.
        top_k: boxes of each phrase at most.
        best_phrase: give a box to its best phrase and no other.
        classes: names of YOLO's classes.
        dataset: what folders are: ``coco``, ``sa1b`` or ``labelme``.
        images: the folder of a COCO data set's photos.
        format: one of ``sam_edge.formats.write.FORMATS``; ``coco`` if left out.
        tolerance: in pixels, of polygons.
        stretch: see ``read_image``.
        generator: the knobs of ``SamAutomaticMaskGenerator``.
        tile: side of tiles, in pixels, for photos larger than the model sees well; a tile that
            cannot be read is left out and a line of ``errors.jsonl``.
        overlap: of tiles, see ``sam_edge.tiling.Grid``.
        embeddings: a folder or address to which each photo's embedding is written.
        resume: keep what an earlier run did, where photo, prompts, model and settings are the same.
        engine: ``local`` or ``ray``.
        address: of a Ray cluster; without it Ray looks for one, and starts one here.
        stop: where it is set, what is under way is finished and no more is begun.
    """

    model: str | os.PathLike[str] | None
    runtime: str
    memory: str
    threads: int | None
    processes: int | None
    memory_limit: int | None
    prompts: str | os.PathLike[str] | None
    text: Sequence[str]
    exclude: Sequence[str]
    grounder: str | os.PathLike[str]
    text_threshold: float | None
    top_k: int | None
    best_phrase: bool
    classes: str | os.PathLike[str] | None
    dataset: str | None
    images: str | os.PathLike[str] | None
    format: str
    tolerance: float
    stretch: bool
    generator: Mapping[str, Any]
    tile: int | None
    overlap: int | None
    embeddings: str | os.PathLike[str] | None
    resume: bool
    engine: str
    address: str | None
    stop: threading.Event | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a batch.

    Attributes:
        total: photos of the set.
        done: of them, in this run.
        kept: of an earlier run, and right.
        failed: each a line of ``errors.jsonl``.
        unnamed: of those done, how many the prompts' file says nothing of: they have no masks.
        masks: of all photos that were done or kept.
        errors: lines of ``errors.jsonl``: prompts that were left out are there, too.
        seconds: how long it took.
        stopped: whether it ended before all photos were looked at.
    """

    total: int
    done: int
    kept: int
    failed: int
    unnamed: int
    masks: int
    errors: int
    seconds: float
    stopped: bool


class Batch:
    """A set of photos and how it is done; iterating does it.

    All that can be refused is refused when it is made: nothing is written before ``iterate``.

    Args:
        photos: what ``photo_set`` takes, one or several.
        out: the folder of the results, or an address that fsspec knows.
        options: see ``Options``.

    Raises:
        ArgumentError: if arguments do not fit together, or something would be lost in ``out``.
        SamEdgeError: if the model, the photos or the prompts cannot be had.
        OSError: if a file of the call cannot be read.
    """

    def __init__(
        self, photos: Paths, out: str | os.PathLike[str], **options: Unpack[Options]
    ) -> None:
        kind = options.get("format", "coco")
        if kind not in FORMATS:
            raise ArgumentError(f"format is one of {', '.join(FORMATS)}, got {shown(kind)}")
        if options.get("engine", "local") not in ENGINES:
            raise ArgumentError(f"engine is one of {', '.join(ENGINES)}")
        for name in ("processes", "threads"):
            count = options.get(name)
            if count is not None and (not isinstance(count, int) or count < 1):
                raise ArgumentError(f"{name} must be a whole number from 1 up, got {shown(count)}")
        check_tiles(options.get("tile"), options.get("overlap"))
        for name in ("prompts", "text", "embeddings"):
            if options.get("tile") is not None and options.get(name) is not None:
                raise ArgumentError(
                    f"tiles are for everything in a photo; leave out {name}, or tile"
                )
        if options.get("text") and options.get("prompts") is not None:
            raise ArgumentError("prompts and text both say what to segment; give one of them")
        self._options = options
        self._problems: list[str] = []
        skip = self._problems.append
        address = os.fspath(out)
        images = options.get("images")
        sources = [photos] if isinstance(photos, str | os.PathLike) else list(photos)
        self.photos: PhotoSet = photo_set(
            sources,
            dataset=options.get("dataset"),
            images=None if images is None else Path(images),
            out=None if is_remote(address) else Path(address),
            skip=skip,
        )
        self._prompts = self._read_prompts(options)
        categories = {} if self._prompts is None else self._prompts.categories
        self._category_of = joined(self.photos.categories, categories)
        used = {entry["id"]: entry for entry in self._category_of.values()}
        self.categories = list({**self.photos.categories, **used}.values())
        knobs = _all_knobs(options.get("generator", {}))
        memory = options.get("memory", "normal")
        model = load_model(
            options.get("model"), runtime=options.get("runtime", "auto"), memory=memory
        )
        SamAutomaticMaskGenerator(model, **knobs)  # says what is wrong with them
        words = _words(options, memory)
        limit = options.get("memory_limit")
        embeddings = options.get("embeddings")
        labels = {"object", *(printable(entry["name"]) for entry in self.categories)}
        labels |= set() if words is None else set(words.phrases)
        self.settings = Settings(
            out=_absolute(address),
            bundle=str(resolve(options.get("model")).absolute()),
            runtime=model.engine,
            memory=memory,
            kind=kind,
            tolerance=options.get("tolerance", 1.0),
            stretch=options.get("stretch", False),
            generator={} if self._prompts is not None or words is not None else knobs,
            tile=options.get("tile"),
            overlap=options.get("overlap"),
            embeddings=None if embeddings is None else _absolute(os.fspath(embeddings)),
            resume=options.get("resume", False),
            labels=tuple(sorted(labels)) if kind == "yolo" else (),
            memory_limit=MEMORY_LIMIT if limit is None else min(MEMORY_LIMIT, limit // 2),
            words=words,
        )
        self._model = fingerprint_of(model.spec, model.engine, self.settings)["model"]
        self._unnamed = 0
        _refuse_to_write_over(self.photos.items, self.settings)
        self._place = place_at(self.settings.out)
        if not self.settings.resume and self._place.read(MARK) is not None:
            raise ArgumentError(
                f"{address} holds the results of a batch: go on with it by --resume, or name "
                "another folder"
            )

    def _read_prompts(self, options: Options) -> PromptFile | None:
        path, classes = options.get("prompts"), options.get("classes")
        if path is None:
            return None
        prompts = read_prompt_file(
            Path(path),
            classes=None if classes is None else Path(classes),
            skip=self._problems.append,
        )
        numbered = any(item.image_id is not None for item in self.photos.items)
        if not (numbered and isinstance(prompts, DetectionFile) and prompts.photos is None):
            named = prompts.check_apart(item.path for item in self.photos.items)
            if not named:
                raise DetectionError(
                    f"{path} names none of the {len(self.photos.items)} photos, such as "
                    f"{self.photos.items[0].file_name}; give the prompts of these photos"
                )
        return prompts

    def jobs(self) -> Iterator[Job]:
        """Yield the photos with their prompts, which are read as they come."""
        for item in self.photos.items:
            if self._prompts is None:
                yield Job(item, None)
                continue
            problems: list[str] = []
            prompts, fault = None, None
            try:
                found = self._prompts.prompts_of(item.path, item.image_id, skip=problems.append)
                prompts = self._renamed(found)
            except UnnamedPhotoError:
                self._unnamed += 1
                prompts = PhotoPrompts("")
            except (SamEdgeError, OSError) as error:
                fault = reason(error)
            yield Job(item, prompts, tuple(problems), fault)

    def _renamed(self, prompts: PhotoPrompts) -> PhotoPrompts:
        """Give prompts the categories of the whole set."""
        detections = []
        for detection in prompts.detections:
            coco = detection.coco
            if coco is not None and coco.category is not None:
                category = self._category_of[coco.category["id"]]
                coco = replace(coco, category=category)
                detection = replace(detection, coco=coco, label=category["name"])
            detections.append(detection)
        return replace(prompts, detections=tuple(detections))

    def iterate(self) -> Iterator[Outcome]:
        """Do the photos, and yield what became of each, in the order in which they end.

        What goes with all of them is written when the last was taken; ``summary`` is known then.

        Raises:
            SamEdgeError: if the batch cannot go on; what was done stays.
        """
        start = time.monotonic()
        stop = self._options.get("stop") or threading.Event()
        mark = {"format": 1, "model": self._model, "settings": _described(self.settings)}
        self._place.write(MARK, (json_text(mark, indent=1)).encode())
        if self.settings.kind == "yolo":
            self._place.write("data.yaml", yolo_data(self.settings.labels).encode())
        log = ErrorLog(self._place, self._problems)
        counts = dict.fromkeys((DONE, KEPT, FAILED), 0)
        masks = 0
        right = bytearray(len(self.photos.items))
        fatal: Outcome | None = None
        for outcome in self._outcomes(stop):
            counts[outcome.status] += 1
            masks += outcome.masks
            right[outcome.item.index] = outcome.status != FAILED
            if outcome.fatal:
                fatal = fatal or outcome
                stop.set()
                continue
            log.add(outcome)
            yield outcome
        if fatal is not None:
            raise BatchError(f"{fatal.error}; what was done stays, go on with --resume")
        log.close()
        looked_at = sum(counts.values())
        stopped = looked_at < len(self.photos.items)
        if not stopped:
            done = [item for item in self.photos.items if right[item.index]]
            keep = isinstance(self._prompts, DetectionFile) and self._prompts.has_distinct_ids()
            write_coco(self._place, done, self.settings.kind, self.categories, keep)
        self.summary = Summary(
            total=len(self.photos.items),
            done=counts[DONE],
            kept=counts[KEPT],
            failed=counts[FAILED],
            unnamed=self._unnamed,
            masks=masks,
            errors=len(log),
            seconds=time.monotonic() - start,
            stopped=stopped,
        )

    def _outcomes(self, stop: threading.Event) -> Iterator[Outcome]:
        options = self._options
        if options.get("engine", "local") == "ray":
            from sam_edge.batch.ray import run_ray

            return run_ray(
                self.jobs(),
                self.settings,
                address=options.get("address"),
                processes=options.get("processes"),
                threads=options.get("threads"),
                limit=options.get("memory_limit"),
                stop=stop,
            )
        from sam_edge.batch.local import run_local

        return run_local(
            self.jobs(),
            self.settings,
            processes=options.get("processes"),
            threads=options.get("threads"),
            limit=options.get("memory_limit"),
            stop=stop,
        )


def run(photos: Paths, out: str | os.PathLike[str], **options: Unpack[Options]) -> Summary:
    """Take a folder or a data set through a model; see ``Batch``.

    Raises:
        SamEdgeError: as ``Batch`` and ``Batch.iterate``. A photo that fails does not raise: it is
            counted, and a line of ``errors.jsonl``.
    """
    batch = Batch(photos, out, **options)
    for _ in batch.iterate():
        pass
    return batch.summary


def iterate(
    photos: Paths, out: str | os.PathLike[str], **options: Unpack[Options]
) -> Iterator[Outcome]:
    """Do as ``run``, and yield what became of each photo, in the order in which they end.

    Raises:
        SamEdgeError: as ``run``.
    """
    yield from Batch(photos, out, **options).iterate()


def joined(
    known: Mapping[int | str, Mapping[str, Any]], others: Mapping[int | str, Mapping[str, Any]]
) -> dict[int | str, Mapping[str, Any]]:
    """Say which category of a whole set each of a prompts' file is.

    The set's own stay. Another with the number and the name of one is that one; so is one that
    has its name alone, or its number alone and no name but the number. The rest keep their
    numbers where they are free.

    >>> joined({1: {"id": 1, "name": "cat"}}, {1: {"id": 1, "name": "dog"}})
    {1: {'id': 2, 'name': 'dog'}}
    """
    taken = dict(known)
    by_name = {entry["name"]: entry for entry in known.values()}
    result: dict[int | str, Mapping[str, Any]] = {}
    for key, entry in others.items():
        same = known.get(key)
        if same is not None and entry["name"] in (same["name"], str(key)):
            result[key] = same
        elif entry["name"] in by_name:
            result[key] = by_name[entry["name"]]
        else:
            number = key
            if key in taken:
                number = 1 + max([0, *(other for other in taken if isinstance(other, int))])
            taken[number] = result[key] = {**entry, "id": number}
    return result


def _all_knobs(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the generator's arguments with its defaults, so that saying one changes nothing."""
    parameters = inspect.signature(SamAutomaticMaskGenerator).parameters
    ours = ("model", "output_mode", "memory_ceiling_bytes")
    unknown = sorted({*chosen} - {*parameters} | {*chosen} & {*ours})
    if unknown:
        raise ArgumentError(f"{unknown[0]} is no knob of the generator's that a batch has")
    knobs = {name: entry.default for name, entry in parameters.items() if name not in ours}
    knobs |= chosen
    if knobs["point_grids"] is not None:  # as JSON holds them
        knobs["point_grids"] = [np.asarray(grid).tolist() for grid in knobs["point_grids"]]
    return knobs


def _words(options: Options, memory: str) -> Words | None:
    """Return what words look for, once everything that can be refused was."""
    if not options.get("text"):
        return None
    grounder = load_grounder(
        options.get("grounder", DEFAULT_GROUNDER), options.get("runtime", "auto"), memory=memory
    )
    phrases = tuple(checked_phrases(options["text"]))
    exclude = tuple(checked_phrases(options["exclude"])) if options.get("exclude") else ()
    threshold = options.get("text_threshold")
    threshold = grounder.spec.threshold if threshold is None else threshold
    Selection(threshold, options.get("top_k"))  # says what is wrong with them
    grounder.encode_phrases([*phrases, *exclude])
    return Words(
        bundle=str(resolve_grounder(options.get("grounder", DEFAULT_GROUNDER)).absolute()),
        runtime=grounder.engine,
        made_by=made_by(grounder.spec, grounder.engine),
        phrases=phrases,
        exclude=exclude,
        threshold=threshold,
        top_k=options.get("top_k"),
        best_phrase=options.get("best_phrase", False),
    )


def _absolute(address: str) -> str:
    return address if "://" in address else os.path.abspath(address)


def _described(settings: Settings) -> dict[str, Any]:
    """Return what a reader of the results may want to know, no places among it."""
    described = asdict(settings)
    kept = ("runtime", "kind", "tolerance", "stretch", "generator", "tile", "overlap")
    return {name: described[name] for name in kept}


def _refuse_to_write_over(items: Sequence[Item], settings: Settings) -> None:
    """Refuse results that would replace a photo of the set."""
    if is_remote(settings.out):
        return
    read = {os.path.abspath(item.path).casefold() for item in items}
    endings = (FORMATS[settings.kind], RECORD)
    for item in items:
        for ending in endings:
            target = os.path.abspath(os.path.join(settings.out, f"{item.name}{ending}"))
            if target.casefold() in read:
                raise ArgumentError(
                    f"{target} would be written over, which is read; name another folder"
                )
    for name in (COCO, MARK):
        target = os.path.join(settings.out, name)
        if os.path.isdir(target):
            raise ArgumentError(f"{target} is a folder; name another one for the results")
