"""What goes between the parts of a batch: data that crosses processes and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sam_edge.detections import PhotoPrompts
from sam_edge.errors import SamEdgeError
from sam_edge.segmenter import MEMORY_LIMIT
from sam_edge_runtimes import FLOAT32

STALL_TIMEOUT = 3600.0
"""Seconds: ten times what ViT-H takes to encode a photo on a small board."""


class BatchError(SamEdgeError, RuntimeError):
    """A batch that cannot go on, or whose arguments do not fit together."""


@dataclass(frozen=True, slots=True)
class Item:
    """One photo of a set.

    Attributes:
        index: its place in the set, from 0.
        path: its file.
        name: of its results, below the batch's folder, without a suffix.
        file_name: as the set calls it.
        image_id: as the set numbers it; None if it does not.
    """

    index: int
    path: Path
    name: str
    file_name: str
    image_id: int | str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One photo to do.

    Attributes:
        item: the photo.
        prompts: what to segment in it; None for everything.
        problems: what of its prompts is bad and left out.
        fault: why it cannot be done at all; None if it can.
        attempt: how many workers have died of it.
    """

    item: Item
    prompts: PhotoPrompts | None
    problems: tuple[str, ...] = ()
    fault: str | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """What words look for in each photo, and what finds it; see ``Grounder.ground``.

    Attributes:
        bundle: the grounder's folder.
        runtime: its engine.
        compute: the format it computes in.
        made_by: what of the grounder the boxes depend on, as JSON holds it.
        phrases: what is wanted.
        exclude: what must not match.
        threshold: the least score of a box.
        top_k: boxes of each phrase at most; None for all.
        best_phrase: whether a box is given to one phrase only.
    """

    bundle: str
    runtime: str
    compute: str
    made_by: Mapping[str, Any]
    phrases: tuple[str, ...]
    exclude: tuple[str, ...]
    threshold: float
    top_k: int | None = None
    best_phrase: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """How photos are done, wherever that is.

    Attributes:
        out: the folder of the results, or an address that fsspec knows.
        bundle: the model's folder.
        runtime: the engine.
        compute: the format it computes in, so that every worker gives the same bytes.
        threads: of the engine, in each worker.
        memory: as ``load_model`` takes it.
        kind: one of ``sam_edge.formats.write.FORMATS``.
        tolerance: see ``labelme_document``.
        stretch: see ``read_image``.
        generator: the knobs of ``SamAutomaticMaskGenerator``, for photos without prompts.
        tile: side of the tiles that photos without prompts are cut into, in pixels; None for none.
        overlap: of tiles, see ``sam_edge.tiling.Grid``.
        embeddings: where embeddings are written, as ``out``; None for nowhere.
        resume: whether what is done and right is kept.
        labels: every label of the set, sorted: YOLO numbers them.
        memory_limit: in bytes, for what decoding a photo may hold.
        words: what to look for in photos without prompts; None for everything.
        stall_timeout: seconds after which a worker that neither opened the model nor ended an
            encode or a decode is replaced.
    """

    out: str
    bundle: str
    runtime: str
    compute: str = FLOAT32
    threads: int | None = None
    memory: str = "normal"
    kind: str = "coco"
    tolerance: float = 1.0
    stretch: bool = False
    generator: Mapping[str, Any] = field(default_factory=dict)
    tile: int | None = None
    overlap: int | None = None
    embeddings: str | None = None
    resume: bool = False
    labels: tuple[str, ...] = ()
    memory_limit: int = MEMORY_LIMIT
    words: Words | None = None
    stall_timeout: float = STALL_TIMEOUT


ALIVE = "alive"
"""What a worker process says that has no answer yet: it gets on."""

WANTS_MEMORY = "it may need more memory than its share of the limit"

DONE, KEPT, FAILED = "done", "kept", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one photo.

    Attributes:
        item: the photo.
        status: ``done``; ``kept``, if an earlier run did it; ``failed``.
        masks: how many were found.
        problems: what of its prompts was left out, a line each.
        error: why it failed, in one line; None if it did not.
        seconds: how long it took.
        peak_bytes: the largest resident size of the worker so far, or its data where that is more
            and limited; None where it is not known.
        fatal: whether the next photo would fail of the same, as on a full disk.
    """

    item: Item
    status: str
    masks: int = 0
    problems: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    peak_bytes: int | None = None
    fatal: bool = False


def reason(error: BaseException) -> str:
    """Say an error of one photo in one line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and not isinstance(error, SamEdgeError) and error.strerror:
        subject = "" if error.filename is None else f"{error.filename}: "
        return f"{subject}{error.strerror}"
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, SamEdgeError) else f"{type(error).__name__}: {text}"
