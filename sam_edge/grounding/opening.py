"""Open a grounder: from its bundle to sessions that open at their first run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path

from sam_edge.compute import settle
from sam_edge.grounding.grounder import Grounder
from sam_edge.grounding.manifest import check_tokenizer, read_grounding_spec
from sam_edge.grounding.phrases import Phrases
from sam_edge.loading import Opening, check_arguments, check_products, file_opener
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER, GroundingSpec
from sam_edge.zoo.grounders import resolve_grounder
from sam_edge_runtimes import FLOAT32, DeferredSession

logger = logging.getLogger("sam_edge")

OPENINGS: Mapping[str, Opening] = {
    # An image tower's products have thousands of rows: packing gains nothing there.
    IMAGE_TOWER: Opening(pack_weights=False, stays_open=False),
    TEXT_TOWER: Opening(),
}


def load_grounder(
    grounder: str | PathLike[str],
    runtime: str = "auto",
    threads: int | None = None,
    memory: str = "normal",
    cache: bool = True,
) -> Grounder:
    """Open what finds the boxes of words. It needs ``pip install 'sam-edge[text]'``.

    Args:
        grounder: a grounding bundle's directory, or a name that ``sam-edge models list`` shows,
            with or without a precision (``owlvit-base-patch32-fp16``).
        runtime: as for ``load_model``.
        threads: as for ``load_model``.
        memory: as for ``load_model``; ``low`` opens the image tower for each photo.
        cache: as for ``load_model``.

    Raises:
        ModelNotFoundError: if there is no such directory, or a named one is not here yet.
        ManifestError: if the bundle cannot be trusted; when a file is first used,
            ``ChecksumError`` if its bytes are not those promised.
        MissingDependencyError: if the engine is not installed; when a phrase is first asked, if
            ``tokenizers`` is not.
        ArgumentError: if an argument has no meaning.
    """
    check_arguments(memory, threads)
    directory = resolve_grounder(grounder).absolute()
    spec = read_grounding_spec(directory)
    engine, _ = settle(spec, runtime, FLOAT32, memory)
    check_products(spec)
    logger.info("%s runs on %s", directory, engine)
    sessions = {}
    for role, opening in OPENINGS.items():
        opener = file_opener(
            directory,
            spec.graph(role, engine),
            engine,
            threads,
            opening=opening,
            fixed={"batch": 1},
            shrink=memory == "low",
            cache=cache,
        )
        sessions[role] = DeferredSession(opener, keep=memory == "normal" or opening.stays_open)
    reopen = partial(load_grounder, str(directory), engine, threads, memory, cache)
    return Grounder(spec, sessions, partial(open_phrases, directory, spec), engine, reopen)


def open_phrases(directory: Path, spec: GroundingSpec) -> Phrases:
    """Open a bundle's tokenizer, once its bytes are the promised.

    Raises:
        ChecksumError: if they are not.
        MissingDependencyError: if ``tokenizers`` is not installed.
        ManifestError: if the file holds no tokenizer.
    """
    return Phrases(check_tokenizer(directory, spec), spec.tokenizer)
