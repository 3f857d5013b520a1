"""What a page must know of the model behind it, as JSON; see ``docs/http.md``."""

from __future__ import annotations

from typing import Any

from sam_edge.errors import ManifestError
from sam_edge.spec import GraphFile, ModelSpec, graph_for


def model_record(spec: ModelSpec, engine: str, compute: str) -> dict[str, Any]:
    """Return a MODEL without its ``decoder``.

    Args:
        spec: of the bundle.
        engine: that runs it.
        compute: the number format it computes in.
    """
    image, masks = spec.image, spec.masks
    return {
        "id": spec.variant,
        "variant": spec.variant,
        "precision": spec.precision,
        "engine": engine,
        "compute": compute,
        "image": {
            "size": image.size,
            "mean": list(image.mean),
            "std": list(image.std),
            "resize": image.resize,
            "frame": image.frame,
        },
        "low_res_size": spec.low_res_size,
        "embeddings": [
            {"name": tensor.name, "channels": tensor.channels, "stride": tensor.stride}
            for tensor in spec.embeddings
        ],
        "masks": {
            "single": masks.single,
            "candidates": list(masks.candidates),
            "threshold": masks.threshold,
        },
        "everything": {
            "pred_iou_thresh": spec.everything.pred_iou_thresh,
            "stability_score_thresh": spec.everything.stability_score_thresh,
        },
        "source": {
            "file": spec.source.file,
            "sha256": spec.source.sha256,
            "licence": spec.source.licence,
            "random": spec.source.random,
        },
        "notes": list(spec.notes),
    }


def portable_graph(spec: ModelSpec, role: str) -> GraphFile | None:
    """Return a graph that onnxruntime-web runs, as one file; None if the bundle has none.

    One that is for any engine goes before one that was made for ONNX Runtime.
    """
    for graph in spec.graphs:
        if graph.role == role and not graph.engines:
            return None if graph.external_data else graph
    try:
        graph = graph_for(spec.graphs, role, "onnxruntime")
    except ManifestError:
        return None
    return None if graph.external_data else graph
