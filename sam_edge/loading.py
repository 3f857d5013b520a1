"""Open a model: from its bundle to sessions that open at their first run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

from sam_edge.bundle import checked_digest, read_spec
from sam_edge.compute import EXACT, Compute, settle
from sam_edge.errors import ArgumentError, ManifestError
from sam_edge.model import Model
from sam_edge.spec import (
    IMAGE_ENCODER,
    PROMPT_ENCODER_MASK_DECODER,
    ROLES,
    BundleSpec,
    GraphFile,
    ModelSpec,
)
from sam_edge_runtimes import (
    FLOAT32,
    DeferredSession,
    EngineError,
    GraphSession,
    Session,
    ShapedSession,
    open_session,
)
from sam_edge_runtimes.cpu import saturates_here
from sam_edge_runtimes.held import open_held
from sam_edge_runtimes.split import InseparableError

logger = logging.getLogger("sam_edge")


@dataclass(frozen=True, slots=True)
class Opening:
    """How the graphs of a role are opened.

    Attributes:
        pack_weights: lay weights out once more for small products.
        stays_open: also where memory is low, as every click needs it.
        per_photo: the input whose dimensions differ from photo to photo where frames do, and their
            names by axis.
        changing: inputs that are others at every run, where the rest are not: what depends on the
            rest alone is computed once, and held, unless memory is low.
    """

    pack_weights: bool = True
    stays_open: bool = True
    per_photo: tuple[str, Mapping[int, str]] | None = None
    changing: Collection[str] = ()


OPENINGS: Mapping[str, Opening] = {
    # An encoder's products have thousands of rows: packing gains nothing there.
    IMAGE_ENCODER: Opening(False, False, ("image", {2: "height", 3: "width"})),
    PROMPT_ENCODER_MASK_DECODER: Opening(changing=("point_coords", "point_labels")),
}
"""By role; one that is not listed is opened as ``Opening()``."""


def load_model(
    model: str | PathLike[str] | None = None,
    runtime: str = "auto",
    threads: int | None = None,
    memory: str = "normal",
    cache: bool = True,
    compute: str = "auto",
) -> Model:
    """Open a model.

    Args:
        model: a bundle's directory, or a name that ``sam-edge models list`` shows, with or without
            a precision (``vit_b``, ``vit_b-fp16``); None means the model in the box.
        runtime: ``onnxruntime``, ``openvino``, or ``auto``: the one that ``sam-edge bench run``
            measured to be faster here, else the first of them installed. The model says which as
            ``model.engine``.
        threads: how many threads one call may use; None leaves it to the engine, up to the cores
            that this process may use.
        memory: ``normal``, or ``low`` to open the encoder for each photo and close it after: its
            memory is then free while masks are decoded, at the price of opening it every time.
            ``auto`` is then ONNX Runtime where it is installed, which needs less.
        cache: keep what the engine makes of the graphs in the user's cache, so that the model opens
            faster the next time; it takes as much disk as the float32 weights, four times that at
            most where a bundle encodes photo frames of many sizes.
        compute: the format of the products: ``float32``, ``bfloat16``, ``float16``, or ``auto``: a
            reduced one where this CPU has it, where it was measured faster here, and where the
            bundle's masks in it pass the gate; see ``docs/performance.md``. The model says which
            and why as ``model.compute``.

    Raises:
        ModelNotFoundError: if there is no such directory, or a named model is not here yet.
        ManifestError: if the bundle cannot be trusted; when a graph is first used,
            ``ChecksumError`` if its bytes are not those promised.
        EngineError: if its integers cannot be computed exactly on this CPU, or the format is not
            in its instructions.
        MissingDependencyError: if the engine is not installed.
        ArgumentError: if an argument has no meaning.
    """
    from sam_edge.zoo import resolve

    check_arguments(memory, threads)
    directory = resolve(model).absolute()
    spec = read_spec(directory)
    engine, settled = settle(spec, runtime, compute, memory)
    return _opened(directory, spec, engine, settled, threads, memory, cache)


def open_model(
    directory: Path,
    engine: str,
    compute: Compute = EXACT,
    *,
    threads: int | None = None,
    memory: str = "normal",
    cache: bool = True,
) -> Model:
    """Open a bundle as ``load_model`` does, where engine and formats are settled.

    Args:
        directory: the bundle's.
        engine: an installed one.
        compute: the format of each graph.
        threads: as in ``load_model``.
        memory: as in ``load_model``.
        cache: as in ``load_model``.

    Raises:
        ManifestError: if the bundle cannot be trusted, or is for other clients.
        EngineError: if its integers cannot be computed exactly on this CPU.
    """
    return _opened(directory, read_spec(directory), engine, compute, threads, memory, cache)


def _opened(
    directory: Path,
    spec: ModelSpec,
    engine: str,
    compute: Compute,
    threads: int | None,
    memory: str,
    cache: bool,
) -> Model:
    if spec.decoder != "native":
        raise ManifestError(
            f"{directory} has the {spec.decoder} decoder, which is for clients of the official "
            "ONNX notebook; export the checkpoint with --decoder native"
        )
    check_products(spec)
    logger.info("%s runs on %s in %s: %s", directory, engine, compute.name, compute.reason)

    sessions = {}
    for role in (*ROLES, *sorted({graph.role for graph in spec.graphs} - {*ROLES})):
        opener = graph_opener(
            directory,
            spec,
            role,
            engine,
            threads,
            compute=compute.of(role),
            shrink=memory == "low",  # of the decoder, which stays open
            cache=cache,
        )
        keep = memory == "normal" or OPENINGS.get(role, Opening()).stays_open
        sessions[role] = DeferredSession(opener, keep=keep)
    reopen = partial(
        open_model, directory, engine, compute, threads=threads, memory=memory, cache=cache
    )
    return Model(spec, sessions, engine, reopen, compute)


def graph_opener(
    directory: Path,
    spec: ModelSpec,
    role: str,
    engine: str,
    threads: int | None,
    *,
    compute: str = FLOAT32,
    shrink: bool = False,
    cache: bool = True,
) -> Callable[[], Session]:
    """Return what opens one graph of a bundle as ``Model`` runs it.

    Args:
        directory: the bundle's.
        spec: its manifest.
        role: as in the manifest.
        engine: an installed one.
        threads: how many one run may use; None leaves it to the engine.
        compute: the format of its products.
        shrink: give the engine's working memory back after each run.
        cache: as in ``load_model``.

    Raises:
        ManifestError: if the bundle has no such graph for the engine.
        ChecksumError: by what is returned, at its first call, if the graph's bytes are not those
            that the manifest promises.
    """
    # encode_image takes one photo at a time: a batch fixed at 1 lets the engine plan its memory.
    # With the grid's size known, it folds the decoder's positional encoding into a constant.
    grid, mask = spec.embedding_size, spec.low_res_size
    fixed = {"batch": 1, "grid_height": grid, "grid_width": grid}
    fixed |= {"mask_height": mask, "mask_width": mask}
    opening = OPENINGS.get(role, Opening())
    if spec.image.frame != "photo":
        opening = replace(opening, per_photo=None)
    return file_opener(
        directory,
        spec.graph(role, engine),
        engine,
        threads,
        opening=opening,
        fixed=fixed,
        compute=compute,
        shrink=shrink,
        cache=cache,
    )


def file_opener(
    directory: Path,
    graph: GraphFile,
    engine: str,
    threads: int | None,
    *,
    opening: Opening,
    fixed: Mapping[str, int],
    compute: str = FLOAT32,
    shrink: bool = False,
    cache: bool = True,
) -> Callable[[], Session]:
    """Return what opens one graph file, once its bytes are the promised; see ``graph_opener``.

    Args:
        directory: the bundle's.
        graph: the file.
        engine: an installed one.
        threads: how many one run may use; None leaves it to the engine.
        opening: how.
        fixed: sizes of dynamic dimensions, by name.
        compute: the format of its products.
        shrink: give the engine's working memory back after each run.
        cache: as in ``load_model``.
    """
    from sam_edge.cache import compiled_directory

    digest: list[str] = []
    path = directory / graph.file

    def opened(sizes: Mapping[str, int]) -> Session:
        if not digest:  # once, as low memory opens the encoder for every photo
            digest.append(checked_digest(directory, graph))

        def open_as(key: str, content: Callable[[], bytes] | None = None) -> GraphSession:
            return open_session(
                engine,
                path,
                threads=threads,
                compute=compute,
                input_shapes={tensor.name: tensor.shape for tensor in graph.inputs},
                fixed={**fixed, **sizes},
                pack_weights=opening.pack_weights,
                shrink=shrink,
                cache=compiled_directory(key) if cache else None,
                content=content,
            )

        def open_part(name: str, content: Callable[[], bytes]) -> GraphSession:
            import hashlib  # it loads OpenSSL, which `import sam_edge` has no use for

            return open_as(hashlib.sha256(f"{digest[0]}-{name}".encode()).hexdigest(), content)

        if opening.changing and not shrink and not graph.external_data:
            with suppress(InseparableError):
                return open_held(path.read_bytes, opening.changing, open_part)
        return open_as(digest[0])

    if opening.per_photo is not None:
        tensor, dimensions = opening.per_photo
        return lambda: ShapedSession(opened, tensor, dimensions)
    return lambda: opened({})


def check_arguments(memory: str, threads: int | None) -> None:
    """Refuse what no model can be opened with.

    Raises:
        ArgumentError: naming it.
    """
    if memory not in ("normal", "low"):
        raise ArgumentError(f"memory is 'normal' or 'low', got {memory!r}")
    if threads is not None and threads < 1:
        raise ArgumentError(f"threads must be at least 1, got {threads}")


def check_products(spec: BundleSpec) -> None:
    """Refuse 8-bit products on a processor that would saturate in them."""
    bits = (spec.quantization or {}).get("weight_bits", 0)
    if bits == 8 and saturates_here():
        raise EngineError(
            "this CPU has no VNNI: sums of 8-bit products saturate, and masks would be wrong; "
            "export with --precision int8 --target x86-64, or with --precision fp16"
        )
