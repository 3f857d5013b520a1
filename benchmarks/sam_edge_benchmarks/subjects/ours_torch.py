"""Our export-friendly modules in torch, inside our own host code. No graph, no engine.

``request.model`` is a checkpoint with the official names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_edge_benchmarks.subjects import standins
from sam_edge_benchmarks.subjects.engine_model import ModelSubject
from sam_edge_benchmarks.subjects.torch_device import TorchDevice
from sam_edge_benchmarks.work import Request

if TYPE_CHECKING:
    pass


def import_libraries(request: Request) -> None:
    """Import torch and our modules."""
    import torch  # noqa: F401

    import sam_edge_export.modules.sam  # noqa: F401


def load(request: Request) -> ModelSubject:
    """Build the modules, read their weights, move them to the device."""
    import torch

    from sam_edge.model import Model
    from sam_edge.spec import IMAGE_ENCODER, ImageSpec, ModelSpec, Source
    from sam_edge.zoo.table import named_models
    from sam_edge_export.modules.sam import Sam
    from sam_edge_export.reference import sessions_of

    family = named_models()[request.variant]
    device = TorchDevice(request)
    sam = Sam(request.variant, request.image_size)
    sam.load_state_dict(torch.load(request.model, map_location="cpu", weights_only=True))
    sessions = sessions_of(sam, device.place, device=device.name, computing=device.computing)
    spec = ModelSpec(
        variant=request.variant,
        image=ImageSpec(request.image_size, family.mean, family.std),
        precision="fp32",
        decoder="native",
        opset=0,
        graphs=(),
        source=Source(Path(request.model).name, "", ""),
        exporter={},
    )
    return ModelSubject(Model(spec, sessions, "torch"), sessions[IMAGE_ENCODER], device.describe)


def prepare(arguments: dict[str, Any]) -> str:
    """Write a checkpoint that the torch subjects load directly: official names, wanted size.

    Args:
        arguments: ``checkpoint`` or, for seeded weights, ``seed``; ``variant``, ``image_size``,
            ``output`` and, for seeded weights, ``decoder_weights`` (a file or None).
    """
    import torch

    if arguments["checkpoint"] is None:
        standins.install_safetensors()
    from sam_edge_export.load import load_checkpoint
    from sam_edge_export.seeded import seeded_checkpoint

    output = Path(arguments["output"])
    partial = output.with_suffix(".partial")
    if arguments["checkpoint"] is None:
        trained = arguments["decoder_weights"]
        seeded_checkpoint(
            arguments["variant"],
            arguments["image_size"],
            arguments["seed"],
            partial,
            decoder_weights=None if trained is None else Path(trained),
        )
    else:
        sam, _ = load_checkpoint(
            Path(arguments["checkpoint"]), arguments["variant"], arguments["image_size"]
        )
        torch.save(sam.state_dict(), partial)
    partial.replace(output)
    return str(output)
