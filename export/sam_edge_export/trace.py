"""Torch modules to ONNX files: traced, simplified, checked, with their provenance inside."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxslim
import torch
from torch import Tensor, nn

from sam_edge.errors import SamEdgeError
from sam_edge.spec import IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER, TensorInfo
from sam_edge_export.fold import folded
from sam_edge_export.modules.photo_frame import PhotoFrameEncoder
from sam_edge_export.modules.sam import NativeDecoder, OfficialDecoder, Sam
from sam_edge_export.quantize.products import store_as_int8

OPSET = 17
"""LayerNormalization is one operator from here on; ONNX Runtime Web and OpenVINO take it."""

EXTERNAL_DATA_BYTES = 1_900_000_000
"""Protocol buffers end at 2 GB; larger weights go into a file beside the graph."""

LARGEST_PHOTO_FRAME = 1024
"""Nothing larger was tried, and a ViT's attention would have more chunks than a photo has rows."""

LENT_BYTES = 1_000_000
"""From this size on, a weight is kept away from the simplifier, which has nothing to fold in it."""


@dataclass(frozen=True)
class Traceable:
    """A module with what tracing needs to know.

    Attributes:
        role: as in the manifest.
        module: in eval mode.
        inputs: example tensors by name.
        outputs: names, in order.
        dynamic: tensor name -> axis -> dimension name.
    """

    role: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, Mapping[int, str]]


def encoder(sam: Sam, frame: str = "square") -> Traceable:
    """The image encoder, with a dynamic batch.

    Args:
        sam: the model.
        frame: as in the manifest; for ``photo`` height and width are dynamic, too.

    Raises:
        SamEdgeError: if the model cannot be traced for the frame.
    """
    module, size = sam.image_encoder, sam.image_size
    height, axes = size, {0: "batch"}
    if frame == "photo":
        if size > LARGEST_PHOTO_FRAME:
            raise SamEdgeError(
                f"--frame photo is for image sizes up to {LARGEST_PHOTO_FRAME}, not {size}: "
                "leave it out, or give a smaller --image-size"
            )
        module = PhotoFrameEncoder(module, size)
        height = size * 3 // 4 // 64 * 64  # another number than the width's
        axes |= {2: "height", 3: "width"}
    return Traceable(
        IMAGE_ENCODER,
        module,
        # Traced with two images, so that no dimension of one is baked in.
        {"image": torch.zeros(2, 3, height, size)},
        ("image_embeddings",),
        {"image": axes, "image_embeddings": {0: "batch"}},
    )


def decoder(sam: Sam, contract: str) -> Traceable:
    """The decoder under one of the contracts ``native``, ``official``, ``official-multi``.

    Prompts B, points N and the embedding's height and width are dynamic in the native one. The
    official ones have the notebook's shapes.
    """
    native = contract == "native"
    prompts, points = (2, 3) if native else (1, 3)
    grid = sam.image_size // 16
    inputs = {
        "image_embeddings": torch.randn(1, 256, grid, grid),
        "point_coords": torch.rand(prompts, points, 2) * sam.image_size,
        "point_labels": torch.tensor([[1.0, 0.0, -1.0]]).expand(prompts, -1).contiguous(),
        "mask_input": torch.randn(prompts, 1, 4 * grid, 4 * grid),
        "has_mask_input": torch.ones(prompts),
    }
    if not native:
        inputs["orig_im_size"] = torch.tensor([sam.image_size * 1.5, sam.image_size * 1.25])
        return Traceable(
            PROMPT_ENCODER_MASK_DECODER,
            OfficialDecoder(sam, single=contract == "official"),
            inputs,
            ("masks", "iou_predictions", "low_res_masks"),
            {
                "point_coords": {1: "points"},
                "point_labels": {1: "points"},
                "masks": {2: "photo_height", 3: "photo_width"},
            },
        )
    return Traceable(
        PROMPT_ENCODER_MASK_DECODER,
        NativeDecoder(sam),
        inputs,
        ("low_res_masks", "iou_predictions"),
        {
            "image_embeddings": {2: "grid_height", 3: "grid_width"},
            "point_coords": {0: "prompts", 1: "points"},
            "point_labels": {0: "prompts", 1: "points"},
            "mask_input": {0: "masks", 2: "mask_height", 3: "mask_width"},
            "has_mask_input": {0: "masks"},
            "low_res_masks": {0: "prompts", 2: "mask_height", 3: "mask_width"},
            "iou_predictions": {0: "prompts"},
        },
    )


def write_graph(
    traceable: Traceable,
    path: Path,
    metadata: Mapping[str, str],
    *,
    precision: str,
    rounded: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Trace and write a graph that computes in float32.

    Args:
        traceable: what to trace.
        path: the ``.onnx`` file to write.
        metadata: provenance, written into the graph.
        precision: what its weights are stored as, see ``STORED``.
        rounded: as for ``save_graph``.

    Returns:
        The names of external data files that were written beside it.
    """
    return save_graph(traced(traceable, path.parent), path, metadata, precision, rounded)


def traced(traceable: Traceable, directory: Path) -> onnx.ModelProto:
    """Trace and simplify a module, float32 weights in the graph.

    Args:
        traceable: what to trace.
        directory: for temporary files.
    """
    with (
        tempfile.TemporaryDirectory(dir=directory) as raw,
        torch.no_grad(),
        warnings.catch_warnings(),
    ):
        # The tracer warns of every Python number it sees; the tests run other shapes instead.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            folded(traceable.module.eval()),
            tuple(traceable.inputs.values()),
            f"{raw}/graph.onnx",
            input_names=list(traceable.inputs),
            output_names=list(traceable.outputs),
            dynamic_axes={name: dict(axes) for name, axes in traceable.dynamic.items()},
            opset_version=OPSET,
            dynamo=False,
        )
        return simplified(onnx.load(f"{raw}/graph.onnx"))


def save_graph(
    graph: onnx.ModelProto,
    path: Path,
    metadata: Mapping[str, str],
    precision: str = "fp32",
    rounded: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Write a graph and check it.

    Args:
        graph: it loses its names of nodes, its inferred shapes, and with external data its weights.
        path: the ``.onnx`` file to write.
        metadata: provenance, written into the graph.
        precision: what its float32 weights are stored as, see ``STORED``.
        rounded: names of the weights that ``int8-weights`` stores in 8 bits; None takes the large.

    Returns:
        The names of external data files that were written beside it.
    """
    STORED[precision](graph, rounded)
    large = weight_bytes(graph) > EXTERNAL_DATA_BYTES
    # Shapes and names that engines derive by themselves are a tenth of a megabyte.
    del graph.graph.value_info[:]
    for node in graph.graph.node:
        node.name = ""
    graph.producer_name = "sam-edge"
    onnx.helper.set_model_props(graph, dict(metadata))
    data = f"{path.name}.data"
    onnx.save_model(graph, path, save_as_external_data=large, location=data if large else None)
    if large:
        # onnx writes it for its owner only; a bundle's files share their permissions.
        path.with_name(data).chmod(path.stat().st_mode)
    onnx.checker.check_model(path)
    return (data,) if large else ()


def copied(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy, because what writes or rewrites a graph changes it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    return copy


def weight_bytes(graph: onnx.ModelProto) -> int:
    """Return how much a graph's initializers weigh."""
    return sum(len(tensor.raw_data) for tensor in graph.graph.initializer)


def simplified(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and drop what does nothing.

    The simplifier passes the graph through one protocol buffer, which ends at 2 GB, and keeps five
    times its weights in memory ever after. So the big ones are lent out meanwhile: each becomes an
    input, and an initializer again.
    """
    lent = [tensor for tensor in graph.graph.initializer if len(tensor.raw_data) >= LENT_BYTES]
    small = [tensor for tensor in graph.graph.initializer if len(tensor.raw_data) < LENT_BYTES]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(small)
    graph.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in lent
    )
    slimmed: onnx.ModelProto = onnxslim.slim(graph)
    names = {tensor.name for tensor in lent}
    inputs = [value for value in slimmed.graph.input if value.name not in names]
    del slimmed.graph.input[:]
    slimmed.graph.input.extend(inputs)
    slimmed.graph.initializer.extend(lent)
    return slimmed


def store_as_half(graph: onnx.ModelProto) -> None:
    """Store float32 weights as float16, each followed by a Cast that engines fold at load.

    Small tensors and single rows stay: norms, biases and the scales of integers are a thousandth of
    the size and need their digits.
    """
    casts = []
    for tensor in graph.graph.initializer:
        row = max(tensor.dims, default=1) == math.prod(tensor.dims)
        small = row or len(tensor.raw_data) < 4096
        if tensor.data_type != onnx.TensorProto.FLOAT or small:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype("float16"), f"{name}_fp16"))
        casts.append(
            onnx.helper.make_node(
                "Cast", [f"{name}_fp16"], [name], f"{name}_cast", to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def store_in_8_bits(graph: onnx.ModelProto, rounded: Collection[str] | None) -> None:
    """Store some weights as int8, None for the large ones, and the others as float16."""
    store_as_int8(graph, rounded)
    store_as_half(graph)


STORED: Mapping[str, Callable[[onnx.ModelProto, Collection[str] | None], None]] = {
    "fp32": lambda graph, rounded: None,
    "fp16": lambda graph, rounded: store_as_half(graph),
    "int8-weights": store_in_8_bits,
}
"""How weights are stored of graphs that compute in float32; see ``save_graph``."""


def tensor_infos(
    path: Path,
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Return a graph's inputs and outputs as the manifest lists them."""
    graph = onnx.load(path, load_external_data=False).graph

    def infos(values: list[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
        return tuple(
            TensorInfo(
                value.name,
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
                tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
            )
            for value in values
        )

    return infos(list(graph.input)), infos(list(graph.output))


def tool_versions() -> dict[str, str]:
    """Return the versions of what traces and rewrites graphs."""
    return {
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxslim": onnxslim.__version__,
    }
