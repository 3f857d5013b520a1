"""The models that have a name: ``models.json``, read into values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from sam_edge.errors import JsonFileError
from sam_edge.files import parse_json

TABLE = files("sam_edge.zoo") / "models.json"

BOXED = "nano"
"""The model whose bundle comes with the package."""


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
class NamedModel:
    """One row of the table; ``checkpoint`` is None for the model in the box."""

    name: str
    title: str
    licence: str
    checkpoint: Checkpoint | None


@cache
def named_models() -> dict[str, NamedModel]:
    """Return the table by name, smallest model first.

    Raises:
        JsonFileError: if the installed file is damaged.
    """
    rows = parse_json(TABLE.read_bytes(), str(TABLE))
    try:
        return {
            name: NamedModel(
                name,
                row["title"],
                row["licence"],
                Checkpoint(row["url"], row["size"], row["sha256"]) if "url" in row else None,
            )
            for name, row in rows.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise JsonFileError(f"{TABLE} is no table of models; install sam-edge again") from error
