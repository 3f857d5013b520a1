"""What most people run: the official modules traced as they are, on ONNX Runtime.

The decoder is the official notebook's graph. It takes one prompt a call and upsamples inside, so
B prompts are B calls, "postprocess" is a threshold, and there is no generator for "everything".
``request.model`` is the directory that ``prepare`` wrote.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sam_edge_benchmarks.subjects.official as official
from sam_edge_benchmarks.work import Opaque, Request
from sam_edge_runtimes import engine_version, import_engine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sam_edge.image import RgbImage
    from sam_edge_benchmarks.prompts import Prompts

OPSET = 17
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


def import_libraries(request: Request) -> None:
    """Import what a script of the notebook's kind imports."""
    import numpy  # noqa: F401
    import PIL.Image  # noqa: F401

    import_engine("onnxruntime")


def load(request: Request) -> NaiveOnnx:
    """Open both graphs with ONNX Runtime's defaults."""
    return NaiveOnnx(request)


class NaiveOnnx:
    """The notebook's flow. Preprocessing is ours: the encoder's graph holds none."""

    def __init__(self, request: Request) -> None:
        onnxruntime = import_engine("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if request.threads is not None:
            options.intra_op_num_threads = request.threads
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(
                str(Path(request.model) / file), options, providers=["CPUExecutionProvider"]
            )
            for file in (ENCODER, DECODER)
        )
        self._threads = request.threads
        self._image_size = request.image_size
        self._original: tuple[int, int] = (0, 0)

    def device(self) -> dict[str, Any]:
        """Name what it runs on."""
        version = engine_version("onnxruntime")
        return {"name": "onnxruntime", "version": version, "threads": self._threads}

    def preprocess(self, photo: RgbImage) -> Opaque:
        """Resize, normalise, pad."""
        import numpy as np
        from PIL import Image

        from sam_edge.image import resized_shape

        self._original = (photo.shape[0], photo.shape[1])
        height, width = resized_shape(*self._original, self._image_size)
        picture = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
        mean = np.array([123.675, 116.28, 103.53], np.float32)
        deviation = np.array([58.395, 57.12, 57.375], np.float32)
        frame = np.zeros((1, 3, self._image_size, self._image_size), np.float32)
        normalised = (np.asarray(picture, np.float32) - mean) / deviation
        frame[0, :, :height, :width] = normalised.transpose(2, 0, 1)
        return frame

    def encode(self, frame: Opaque) -> Opaque:
        """Run the image encoder."""
        return self._encoder.run(None, {"image": frame})[0]

    def decode(self, embedding: Opaque, prompts: Prompts) -> Opaque:
        """Run the decoder once a prompt."""
        import numpy as np

        from sam_edge.image import resized_shape
        from sam_edge.prompts import Prompt, sparse_prompts

        input_size = resized_shape(*self._original, self._image_size)
        side = self._image_size // 4
        feeds = {
            "image_embeddings": embedding,
            "mask_input": np.zeros((1, 1, side, side), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(self._original, np.float32),
        }
        masks = []
        for index in range(len(prompts)):
            prompt = Prompt.of(
                points=None if prompts.points is None else prompts.points[index],
                box=None if prompts.boxes is None else prompts.boxes[index],
            )
            coords, labels = sparse_prompts(prompt, self._original, input_size)
            prompted = {"point_coords": coords[None], "point_labels": labels[None]}
            masks.append(self._decoder.run(["masks"], {**feeds, **prompted})[0])
        return masks

    def postprocess(self, decoded: Opaque) -> NDArray[np.bool_]:
        """Threshold: the graph has upsampled."""
        import numpy as np

        masks: NDArray[np.bool_] = np.concatenate(decoded)[:, 1:] > 0.0
        return masks


def prepare(arguments: dict[str, Any]) -> str:
    """Trace the official modules, float32 or ``quantize_dynamic``. Returns the directory.

    Args:
        arguments: ``checkpoint``, ``variant``, ``image_size``, ``precision``, ``output``.
    """
    import importlib

    import onnx  # noqa: F401 - what the tracer needs, missed here rather than after the trace
    import torch

    package = official.import_package(arguments["variant"]).__name__
    size = arguments["image_size"]
    sam = official.build(arguments["variant"], size, arguments["checkpoint"])
    output = Path(arguments["output"])
    partial = output.with_name(output.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    model = importlib.import_module(f"{package}.utils.onnx").SamOnnxModel(
        sam, return_single_mask=False
    )
    grid = size // 16
    inputs = {
        "image_embeddings": torch.randn(1, 256, grid, grid),
        "point_coords": torch.rand(1, 5, 2) * size,
        "point_labels": torch.ones(1, 5),
        "mask_input": torch.randn(1, 1, 4 * grid, 4 * grid),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([1500.0, 2250.0]),
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about Python numbers
        torch.onnx.export(
            sam.image_encoder,
            (torch.zeros(1, 3, size, size),),
            str(partial / ENCODER),
            input_names=["image"],
            output_names=["image_embeddings"],
            opset_version=OPSET,
            dynamo=False,
        )
        torch.onnx.export(
            model,
            tuple(inputs.values()),
            str(partial / DECODER),
            input_names=list(inputs),
            output_names=["masks", "iou_predictions", "low_res_masks"],
            dynamic_axes={"point_coords": {1: "points"}, "point_labels": {1: "points"}},
            opset_version=OPSET,
            dynamo=False,
        )
    if arguments["precision"] == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        for file in (ENCODER, DECODER):
            whole = (partial / file).rename(partial / f"float-{file}")
            quantize_dynamic(whole, partial / file, weight_type=QuantType.QUInt8)
            whole.unlink()
    partial.rename(output)
    return str(output)
