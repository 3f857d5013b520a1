"""A batch from its arguments to its summary."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Unpack

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.batch.categories import joined
from sam_edge.batch.collected import COCO, ERRORS, ErrorLog, write_coco
from sam_edge.batch.inputs import PhotoSet, folder_read, is_below, photo_set, real_path
from sam_edge.batch.options import ENGINES, Options, Paths, Summary, all_knobs
from sam_edge.batch.places import local_folder, place_at
from sam_edge.batch.values import (
    DONE,
    FAILED,
    KEPT,
    STALL_TIMEOUT,
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
from sam_edge.fields import is_number
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

YOLO_DATA = "data.yaml"
"""Likewise, where they are YOLO's: the names of the classes."""


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
        unknown = options.keys() - Options.__annotations__.keys()
        if unknown:
            raise ArgumentError(f"there is no option {', '.join(sorted(unknown))}; see Options")
        kind = options.get("format", "coco")
        if kind not in FORMATS:
            raise ArgumentError(f"format is one of {', '.join(FORMATS)}, got {shown(kind)}")
        if options.get("engine", "local") not in ENGINES:
            raise ArgumentError(f"engine is one of {', '.join(ENGINES)}")
        for name in ("processes", "threads", "memory_limit", "tile", "overlap"):
            count = options.get(name)
            if count is not None and (not isinstance(count, int) or count < 1):
                raise ArgumentError(f"{name} must be a whole number from 1 up, got {shown(count)}")
        stall_timeout = options.get("stall_timeout")
        stall_timeout = STALL_TIMEOUT if stall_timeout is None else stall_timeout
        if not is_number(stall_timeout) or not 1 <= stall_timeout <= threading.TIMEOUT_MAX:
            raise ArgumentError(f"stall_timeout is seconds, 1 at least, got {shown(stall_timeout)}")
        tolerance = options.get("tolerance", 1.0)
        if not is_number(tolerance) or tolerance < 0:
            raise ArgumentError(f"tolerance is pixels, 0 at least, got {shown(tolerance)}")
        check_tiles(options.get("tile"), options.get("overlap"))
        for name in ("prompts", "text", "embeddings"):
            if options.get("tile") is not None and options.get(name):
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
            out=local_folder(address),
            skip=skip,
        )
        self._by_id = False
        self._prompts = self._read_prompts(options)
        categories = {} if self._prompts is None else self._prompts.categories
        self._category_of = joined(self.photos.categories, categories)
        used = {entry["id"]: entry for entry in self._category_of.values()}
        self.categories = list({**self.photos.categories, **used}.values())
        knobs = all_knobs(options.get("generator", {}))
        memory = options.get("memory", "normal")
        model = load_model(
            options.get("model"),
            runtime=options.get("runtime", "auto"),
            memory=memory,
            compute=options.get("compute", "auto"),
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
            compute=model.compute.name,
            memory=memory,
            kind=kind,
            tolerance=tolerance,
            stretch=options.get("stretch", False),
            generator={} if self._prompts is not None or words is not None else knobs,
            tile=options.get("tile"),
            overlap=options.get("overlap"),
            embeddings=None if embeddings is None else _absolute(os.fspath(embeddings)),
            resume=options.get("resume", False),
            labels=tuple(sorted(labels)) if kind == "yolo" else (),
            memory_limit=MEMORY_LIMIT if limit is None else min(MEMORY_LIMIT, limit // 2),
            words=words,
            stall_timeout=stall_timeout,
        )
        self._model = fingerprint_of(model.spec, model.engine, self.settings)["model"]
        self._unnamed = 0
        self._place = place_at(self.settings.out)
        begun = self._place.read(MARK) is not None
        if begun and not self.settings.resume:
            raise ArgumentError(
                f"{address} holds the results of a batch: go on with it by --resume, or name "
                "another folder"
            )
        folder = local_folder(self.settings.out)
        if folder is not None:
            prompts = options.get("prompts")
            _refuse_to_be_read(
                self.photos.items, folder, kind, sources, None if prompts is None else Path(prompts)
            )
            _refuse_to_write_over(self.photos.items, folder, kind, begun)

    @property
    def problems(self) -> list[str]:
        """What is bad in the call's files and of no photo, a line each; more may come."""
        return list(self._problems)

    def writes(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file is one of the results."""
        folder = local_folder(self.settings.out)
        if folder is None or not is_below(Path(path), folder):
            return False
        name = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
        mine = name.replace(os.sep, "/").casefold()
        return any(
            each.casefold() == mine for each in _names(self.photos.items, self.settings.kind)
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
        ids = {item.image_id for item in self.photos.items} - {None}
        # A list of results gives numbers and no names, so they may be those of the photos' set.
        self._by_id = (
            isinstance(prompts, DetectionFile)
            and prompts.photos is None
            and not ids.isdisjoint(prompts.entries)
        )
        if not self._by_id:
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
                number = item.image_id if self._by_id else None
                found = self._prompts.prompts_of(item.path, number, skip=problems.append)
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
            self._place.write(YOLO_DATA, yolo_data(self.settings.labels).encode())
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


def _words(options: Options, memory: str) -> Words | None:
    """Return what words look for, once everything that can be refused was."""
    if not options.get("text"):
        return None
    grounder = load_grounder(
        options.get("grounder", DEFAULT_GROUNDER),
        options.get("runtime", "auto"),
        memory=memory,
        compute=options.get("compute", "auto"),
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
        compute=grounder.compute.name,
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
    kept = ("runtime", "compute", "kind", "tolerance", "stretch", "generator", "tile", "overlap")
    return {name: described[name] for name in kept}


def _refuse_to_be_read(
    items: Sequence[Item],
    folder: Path,
    kind: str,
    sources: Sequence[str | os.PathLike[str]],
    prompts: Path | None,
) -> None:
    """Refuse results that the next run would take for photos, or for prompts."""
    for source in sources if kind == "png" else ():
        place = folder_read(source)
        if place is None or not is_below(place, folder):
            continue
        real = cache(real_path)
        if any(is_below(folder / f"{item.name}.png", place, real) for item in items):
            raise ArgumentError(
                f"results would be among the photos of {place}, and a label map is a photo, too; "
                "name another folder, which may be below it"
            )
    if kind not in ("yolo", "labelme") or prompts is None or not prompts.is_dir():
        return
    if is_below(folder, prompts):
        raise ArgumentError(
            f"{folder} is below {prompts}, and all that is there is read as prompts; name a folder "
            "outside it"
        )


def _of_all(kind: str) -> tuple[str, ...]:
    return (COCO, MARK, ERRORS, *([YOLO_DATA] if kind == "yolo" else []))


def _names(items: Sequence[Item], kind: str) -> Iterator[str]:
    """Yield every file that a batch may write into the folder of its results."""
    yield from _of_all(kind)
    for item in items:
        yield from (f"{item.name}{FORMATS[kind]}", f"{item.name}{RECORD}")


def _refuse_to_write_over(items: Sequence[Item], folder: Path, kind: str, begun: bool) -> None:
    """Refuse results that would replace a photo of the set, or what no batch has written.

    Args:
        items: the photos.
        folder: of the results.
        kind: their format.
        begun: whether a batch has written there; what is there is its own then.
    """
    read = {os.path.abspath(item.path).casefold() for item in items}
    for name in _of_all(kind):
        if os.path.isdir(folder / name):
            raise ArgumentError(f"{folder / name} is a folder; name another one for the results")
    look = not begun and os.path.isdir(folder)
    for name in _names(items, kind):
        target = os.path.abspath(folder / name)
        if target.casefold() in read or (look and os.path.lexists(target)):
            raise ArgumentError(
                f"{target} is there already and would be written over; name another folder"
            )
