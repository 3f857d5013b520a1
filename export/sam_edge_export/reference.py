"""PyTorch behind the runtime's protocol, so that it is compared through the same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn

from sam_edge.model import Model
from sam_edge.spec import (
    IMAGE_EMBEDDINGS,
    IMAGE_ENCODER,
    PROMPT_ENCODER_MASK_DECODER,
    ModelSpec,
)
from sam_edge_export.modules.sam import NativeDecoder, Sam
from sam_edge_runtimes import Array


class TorchSession:
    """A torch module as a ``Session``.

    Args:
        module: takes its inputs in the order of ``inputs``.
        inputs: tensor names.
        outputs: tensor names.
    """

    def __init__(
        self, module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]
    ) -> None:
        self._module = module.eval()
        self._inputs = inputs
        self._outputs = outputs

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the module once; see ``Session.run``."""
        with torch.inference_mode():
            answer = self._module(*(torch.from_numpy(feeds[name]) for name in self._inputs))
        tensors = answer if isinstance(answer, tuple) else (answer,)
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, tensors, strict=True)}


def reference_model(sam: Sam, spec: ModelSpec) -> Model:
    """Return the PyTorch model that a bundle is compared with: it encodes the whole square."""
    return Model(
        replace(spec, image=replace(spec.image, frame="square")),
        {
            IMAGE_ENCODER: TorchSession(sam.image_encoder, ("image",), (IMAGE_EMBEDDINGS,)),
            PROMPT_ENCODER_MASK_DECODER: TorchSession(
                NativeDecoder(sam),
                (
                    IMAGE_EMBEDDINGS,
                    "point_coords",
                    "point_labels",
                    "mask_input",
                    "has_mask_input",
                ),
                ("low_res_masks", "iou_predictions"),
            ),
        },
        engine="torch",
    )
