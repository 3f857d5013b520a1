"""What a batch may be told, and what it says at its end."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from sam_edge.automatic import SamAutomaticMaskGenerator
from sam_edge.errors import ArgumentError

ENGINES = ("local", "ray")

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Options(TypedDict, total=False):
    """How a batch is done; each may be left out.

    Attributes:
        model: as ``load_model`` takes it.
        runtime: likewise.
        compute: likewise.
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
        address: of a Ray cluster; without it that of ``RAY_ADDRESS``, or one that is started here.
        stall_timeout: seconds after which a worker process that neither opened the model nor ended
            an encode, a decode or a photo is replaced; its photo is tried once more, then reported.
            None for an hour.
        stop: where it is set, what is under way is finished and no more is begun.
    """

    model: str | os.PathLike[str] | None
    runtime: str
    compute: str
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
    stall_timeout: float | None
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


def all_knobs(chosen: Mapping[str, Any]) -> dict[str, Any]:
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
