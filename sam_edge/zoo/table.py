"""The models that have a name: ``models.json``, read into values.

A row says all of a model family that needs no torch: how its checkpoints are recognised, what its
photos become, what "everything" keeps, where its weights are. What builds it in PyTorch stands
under the same name in ``sam_edge_export.families``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from sam_edge.errors import JsonFileError
from sam_edge.files import parse_json
from sam_edge.spec import OFFICIAL_THRESHOLDS, Thresholds

TABLE = files("sam_edge.zoo") / "models.json"

BOXED = "nano"
"""The model whose bundle comes with the package."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""What photos are normalised with where a row does not say, RGB in 0..255 units. Source:
``segment_anything/build_sam.py``."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file on the network, and how to know that it is the right one.

    Attributes:
        url: its official source.
        size: in bytes.
        sha256: of the whole file; None where nobody published one.
    """

    url: str
    size: int
    sha256: str | None

    @property
    def file(self) -> str:
        """The last part of the address."""
        return urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a family's checkpoints are recognised by.

    Attributes:
        tensor: the official name of a weight that its encoder has.
        channels: the weight's first dimension, where others have such a weight, too.
    """

    tensor: str
    channels: int | None = None

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether a checkpoint with tensors of these shapes has it."""
        shape = shapes.get(self.tensor)
        return shape is not None and self.channels in (None, *shape[:1])


@dataclass(frozen=True, slots=True)
class NamedModel:
    """One row of the table.

    Attributes:
        name: also its checkpoints' variant.
        title: in a few words.
        licence: of its published weights, an SPDX identifier.
        image_size: what its checkpoints were trained at, in pixels.
        encoder: what they are recognised by.
        official: the package with its authors' code; None where ours is the only code there is.
        everything: what "everything" keeps.
        mean: of pixels, RGB in 0..255 units.
        std: of pixels, RGB in 0..255 units.
        checkpoint: its published weights; None for the model in the box.
    """

    name: str
    title: str
    licence: str
    image_size: int
    encoder: Mark
    official: str | None = None
    everything: Thresholds = OFFICIAL_THRESHOLDS
    mean: tuple[float, float, float] = PIXEL_MEAN
    std: tuple[float, float, float] = PIXEL_STD
    checkpoint: Checkpoint | None = None


@cache
def named_models() -> dict[str, NamedModel]:
    """Return the table by name, smallest model first.

    Raises:
        JsonFileError: if the installed file is damaged.
    """
    rows = parse_json(TABLE.read_bytes(), str(TABLE))
    try:
        return {name: _model(name, row) for name, row in rows.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise JsonFileError(f"{TABLE} is no table of models; install sam-edge again") from error


def _model(name: str, row: dict[str, Any]) -> NamedModel:
    return NamedModel(
        name,
        row["title"],
        row["licence"],
        row["image_size"],
        Mark(**row["encoder"]),
        row.get("official"),
        Thresholds(**row.get("thresholds", {})),
        tuple(row.get("mean", PIXEL_MEAN)),
        tuple(row.get("std", PIXEL_STD)),
        Checkpoint(row["url"], row["size"], row["sha256"]) if "url" in row else None,
    )
