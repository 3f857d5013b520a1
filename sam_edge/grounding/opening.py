"""Open a grounder: from its bundle to sessions that open at their first run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path

from sam_edge.compute import EXACT, Compute, settle
from sam_edge.grounding.grounder import Grounder
from sam_edge.grounding.manifest import check_tokenizer, read_grounding_spec
from sam_edge.grounding.phrases import Phrases
from sam_edge.loading import Opening, check_arguments, check_products, file_opener
from sam_edge.spec import IMAGE_TOWER, TEXT_TOWER, GraphFile, GroundingSpec
from sam_edge.zoo.grounders import resolve_grounder
from sam_edge_runtimes import DeferredSession

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
    compute: str = "auto",
) -> Grounder:
    """Open what finds the boxes of words. It needs ``pip install 'sam-edge[text]'``.

    Args:
        grounder: a grounding bundle's directory, or a name that ``sam-edge models list`` shows,
            with or without a precision (``owlvit-base-patch32-fp16``).
        runtime: ``onnxruntime``, ``openvino``, or ``auto``: the one that ``sam-edge export`` or
            ``verify`` measured to be faster here, else the first of them installed. The grounder
            says which as ``grounder.engine``.
        threads: as for ``load_model``.
        memory: as for ``load_model``; ``low`` opens the image tower for each photo.
        cache: as for ``load_model``.
        compute: as for ``load_model``, with boxes and scores in place of masks; ``export`` and
            ``verify`` measure both answers and speed. The grounder says which format and why as
            ``grounder.compute``.

    Raises:
        ModelNotFoundError: if there is no such directory, or a named one is not here yet.
        ManifestError: if the bundle cannot be trusted; when a file is first used,
            ``ChecksumError`` if its bytes are not those promised.
        EngineError: as for ``load_model``.
        MissingDependencyError: if the engine is not installed; when a phrase is first asked, if
            ``tokenizers`` is not.
        ArgumentError: if an argument has no meaning.
    """
    check_arguments(memory, threads)
    directory = resolve_grounder(grounder).absolute()
    spec = read_grounding_spec(directory)
    engine, settled = settle(spec, runtime, compute, memory)
    return _opened(directory, spec, engine, settled, threads, memory, cache)


def open_grounder(
    directory: Path,
    engine: str,
    compute: Compute = EXACT,
    *,
    threads: int | None = None,
    memory: str = "normal",
    cache: bool = True,
) -> Grounder:
    """Open a bundle as ``load_grounder`` does, where engine and formats are settled.

    Args:
        directory: the bundle's.
        engine: an installed one.
        compute: the format of each graph.
        threads: as in ``load_grounder``.
        memory: as in ``load_grounder``.
        cache: as in ``load_grounder``.

    Raises:
        ManifestError: if the bundle cannot be trusted.
        EngineError: if its integers cannot be computed exactly on this CPU.
    """
    spec = read_grounding_spec(directory)
    return _opened(directory, spec, engine, compute, threads, memory, cache)


def _opened(
    directory: Path,
    spec: GroundingSpec,
    engine: str,
    compute: Compute,
    threads: int | None,
    memory: str,
    cache: bool,
) -> Grounder:
    check_products(spec)
    logger.info("%s runs on %s in %s: %s", directory, engine, compute.name, compute.reason)
    sessions = {}
    for role, opening in OPENINGS.items():
        graph = spec.graph(role, engine)
        opener = file_opener(
            directory,
            graph,
            engine,
            threads,
            opening=opening,
            fixed=fixed_sizes(graph, engine),
            compute=compute.of(role),
            shrink=memory == "low",
            cache=cache,
        )
        sessions[role] = DeferredSession(opener, keep=memory == "normal" or opening.stays_open)
    reopen = partial(
        open_grounder, directory, engine, compute, threads=threads, memory=memory, cache=cache
    )
    phrases = partial(open_phrases, directory, spec)
    return Grounder(spec, sessions, phrases, engine, reopen, compute)


def fixed_sizes(graph: GraphFile, engine: str) -> dict[str, int]:
    """Return which dynamic dimensions of a tower are fixed at its opening.

    A batch fixed at 1 lets an engine plan its memory, but OpenVINO takes that memory while it lays
    the weights out, which is when a tower in integers needs most: left open, B/32's peaks at 0.38
    GB instead of 0.40, at the same speed.
    """
    return {} if engine == "openvino" and graph.precision == "int8" else {"batch": 1}


def open_phrases(directory: Path, spec: GroundingSpec) -> Phrases:
    """Open a bundle's tokenizer, once its bytes are the promised.

    Raises:
        ChecksumError: if they are not.
        MissingDependencyError: if ``tokenizers`` is not installed.
        ManifestError: if the file holds no tokenizer.
    """
    return Phrases(check_tokenizer(directory, spec), spec.tokenizer)
