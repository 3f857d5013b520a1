"""A bundle on an engine, opened as ``sam_edge.load_model`` opens it, but at once.

An encoder of photo frames opens with the photo, whose size it is opened for.

``request.model`` is the bundle's directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam_edge_benchmarks.subjects.engine_model import ModelSubject
from sam_edge_benchmarks.work import Request, UnavailableError
from sam_edge_runtimes import import_engine


def import_libraries(request: Request) -> None:
    """Import what ``load_model`` and a first photo import, the engine included."""
    import PIL.Image  # noqa: F401

    import sam_edge  # noqa: F401

    import_engine(request.backend)


def load(request: Request) -> ModelSubject:
    """Open both graphs, as a machine does that has never seen them."""
    from sam_edge.bundle import read_spec
    from sam_edge.compute import Compute, formats_by_role
    from sam_edge.loading import graph_opener
    from sam_edge.model import Model
    from sam_edge.spec import IMAGE_ENCODER, ROLES
    from sam_edge_benchmarks.subjects import FORMAT_OF
    from sam_edge_runtimes import FLOAT32, engine_version, formats_of

    directory, engine = Path(request.model), request.backend
    spec = read_spec(directory)
    name = FORMAT_OF.get(request.mode, FLOAT32)
    if name not in formats_of(engine):
        raise UnavailableError(f"{engine} does not compute in {name} on this CPU")
    compute = Compute(formats_by_role(spec, engine, name), "to be measured")
    sessions = {
        role: graph_opener(
            directory, spec, role, engine, request.threads, compute=compute.of(role), cache=False
        )()
        for role in ROLES
    }

    def describe() -> dict[str, Any]:
        return {
            "name": engine,
            "version": engine_version(engine),
            "threads": request.threads,
            "compute": dict(compute.formats),
        }

    return ModelSubject(
        Model(spec, sessions, engine, compute=compute), sessions[IMAGE_ENCODER], describe
    )


def prepare(arguments: dict[str, Any]) -> str:
    """Export a checkpoint to a bundle. Returns its directory."""
    from sam_edge_export.pipeline import export_bundle
    from sam_edge_export.quantize.gate import Int8

    export_bundle(
        Path(arguments["checkpoint"]),
        Path(arguments["output"]),
        variant=arguments["variant"],
        image_size=arguments["image_size"],
        precision=arguments["precision"],
        # The benchmark itself measures masks and times, and shows a slow bundle as slow.
        verify=False,
        min_iou=0,
        int8=Int8(allow_slow=True) if arguments["precision"] == "int8" else None,
    )
    return str(arguments["output"])
