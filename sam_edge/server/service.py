"""What a server holds: the model, the photos, the queues and what was made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_edge.grounding.grounder import Grounder
from sam_edge.model import Model
from sam_edge.server.ahead import AheadProcess
from sam_edge.server.annotations import Annotations
from sam_edge.server.embeddings import EmbeddingCache
from sam_edge.server.encoding import Encoder
from sam_edge.server.everything import Everything
from sam_edge.server.lane import Lane
from sam_edge.server.library import Library
from sam_edge.server.options import Options
from sam_edge.server.refusals import TooManyDecodesError, TooMuchWorkError
from sam_edge.server.words import Words
from sam_edge.server.yielding import Yielding


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``load_model`` was told, to open the same model in another process.

    Attributes:
        directory: the bundle's.
        threads: how many a call may use, or None.
        memory: ``normal`` or ``low``.
    """

    directory: Path
    threads: int | None
    memory: str


class Service:
    """Everything behind the routes. Used from one event loop.

    Args:
        model: what is served.
        choice: how it was opened.
        words: photos and folders.
        options: see there.
        grounder: finds what words name; None for none.
    """

    def __init__(
        self,
        model: Model,
        choice: Choice,
        words: Sequence[str],
        options: Options,
        grounder: Grounder | None = None,
    ) -> None:
        limits = options.limits
        self.model, self.options = model, options
        self.directory = choice.directory
        self.library = Library(words, options)
        self.annotations = Annotations(self.library, options.annotations, limits.objects)
        self.embeddings = EmbeddingCache(options.cache_bytes)
        yielding = Yielding()
        self.decodes = Lane(
            "decode",
            limits.decodes_waiting,
            TooManyDecodesError,
            f"{limits.decodes_waiting} decodes wait already; try again in a moment",
            yielding.decoding,
        )
        busy = "too many wait already; try again in a few seconds"
        self._encodes = Lane("encode", limits.encodes_waiting, TooMuchWorkError, busy)
        self._everything = Lane("everything", limits.encodes_waiting, TooMuchWorkError, busy)
        self.pictures = Lane("pictures", limits.pictures_waiting, TooMuchWorkError, busy)
        process = AheadProcess(
            {
                "model": str(choice.directory),
                "runtime": model.engine,
                "compute": model.compute.name,
                "threads": choice.threads,
                "memory": choice.memory,
            },
            yielding,
        )
        self.encoder = Encoder(
            model,
            model.spec.variant,
            self.library,
            self.embeddings,
            self._encodes,
            process,
            options.timeout_s,
        )
        self._words = Lane("words", limits.encodes_waiting, TooMuchWorkError, busy)
        self.words = Words(grounder, model, self.encoder, self._words, self.decodes)
        self.everything = Everything(model, self._everything, self._encodes, self.decodes)

    async def close(self) -> None:
        """End what runs beside the server."""
        await self.encoder.close()
        for lane in (self.decodes, self._encodes, self._everything, self._words, self.pictures):
            lane.close()
