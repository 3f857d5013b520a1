"""What is measured: the work, how often, and the request that a worker process gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

Opaque: TypeAlias = Any
"""A value of a subject's own kind, a tensor or a tuple: only the subject looks inside."""


class UnavailableError(Exception):
    """Something that this machine does not have, such as a CUDA device: a line in the report."""


@dataclass(frozen=True, slots=True)
class Work:
    """The identity of a piece of work. Two timings compare only when all of it is equal.

    Attributes:
        variant: ``vit_b``, ``mobile_sam``, ``nano``...
        image_size: side of the encoder's frame, in pixels.
        weights: ``seeded:N``, or the sha256 of the checkpoint behind the model.
        photo_sha256: of the photo's pixels.
        photo_height: in pixels.
        photo_width: in pixels.
        points_per_side: of the grid that "everything" asks about.
    """

    variant: str
    image_size: int
    weights: str
    photo_sha256: str
    photo_height: int
    photo_width: int
    points_per_side: int


@dataclass(frozen=True, slots=True)
class Settings:
    """How often a phase is repeated.

    Attributes:
        warmup: calls before the first sample; they are made and thrown away.
        repeats: most samples a phase.
        min_repeats: fewest, however long they take.
        budget_seconds: a phase stops after its fewest samples once it has taken this long.
        everything_repeats: samples of "everything"; 0 leaves it out.
        cold_starts: processes started afresh for import, load and first run.
    """

    warmup: int
    repeats: int
    min_repeats: int
    budget_seconds: float
    everything_repeats: int
    cold_starts: int


QUICK = Settings(
    warmup=1, repeats=10, min_repeats=2, budget_seconds=4.0, everything_repeats=0, cold_starts=1
)
FULL = Settings(
    warmup=3, repeats=40, min_repeats=5, budget_seconds=45.0, everything_repeats=3, cold_starts=5
)


@dataclass(frozen=True, slots=True)
class Request:
    """Everything a worker process needs to know, as plain values that travel as JSON.

    Attributes:
        module: the Python module that opens the subject.
        backend: ``cpu``, ``cuda``, ``onnxruntime`` or ``openvino``.
        mode: ``eager``, ``compile`` or ``graph``.
        precision: ``fp32``, ``tf32``, ``fp16``, ``bf16``, ``int8``.
        variant: as in ``Work``.
        image_size: as in ``Work``.
        model: the checkpoint's file, or the directory of graphs; see the subject's module.
        photo: the photo's file.
        threads: for one call; None leaves it to the engine.
        prompts: sizes of the batches of clicks that are decoded, one phase each.
        points_per_side: as in ``Work``.
        settings: see ``Settings``.
        masks_file: where to put the masks that fidelity is computed from; None for none.
    """

    module: str
    backend: str
    mode: str
    precision: str
    variant: str
    image_size: int
    model: str
    photo: str
    threads: int | None
    prompts: tuple[int, ...]
    points_per_side: int
    settings: Settings
    masks_file: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``from_json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Request:
        """Read what ``to_json`` wrote."""
        rest = {**values, "settings": Settings(**values["settings"])}
        return cls(**{**rest, "prompts": tuple(rest["prompts"])})
