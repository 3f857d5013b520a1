"""PyTorch behind the runtime's protocol, so that it is compared through the same code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

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
        module: on the device, in eval mode; takes its inputs in the order of ``inputs``.
        inputs: tensor names.
        outputs: tensor names.
        device: where the module is.
        computing: what surrounds each run; the default computes without gradients.
    """

    def __init__(
        self,
        module: Callable[..., Any],
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        device: str = "cpu",
        computing: Callable[[], AbstractContextManager[Any]] = torch.inference_mode,
    ) -> None:
        self._module = module
        self._inputs = inputs
        self._outputs = outputs
        self._device = device
        self._computing = computing

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run the module once; see ``Session.run``."""
        with self._computing():
            tensors = (torch.from_numpy(feeds[name]).to(self._device) for name in self._inputs)
            answer = self._module(*tensors)
        answers = answer if isinstance(answer, tuple) else (answer,)
        return {
            name: tensor.float().cpu().numpy()
            for name, tensor in zip(self._outputs, answers, strict=True)
        }


def sessions_of(
    sam: Sam,
    place: Callable[[nn.Module], Callable[..., Any]] = nn.Module.eval,
    **where: Any,  # noqa: ANN401 - those of TorchSession
) -> dict[str, TorchSession]:
    """Return a model's two halves as sessions, by role.

    Args:
        sam: the model.
        place: puts a module where it runs.
        where: ``device`` and ``computing``, as for ``TorchSession``.
    """
    encoder = TorchSession(place(sam.image_encoder), ("image",), (IMAGE_EMBEDDINGS,), **where)
    inputs = (IMAGE_EMBEDDINGS, "point_coords", "point_labels", "mask_input", "has_mask_input")
    outputs = ("low_res_masks", "iou_predictions")
    decoder = TorchSession(place(NativeDecoder(sam)), inputs, outputs, **where)
    return {IMAGE_ENCODER: encoder, PROMPT_ENCODER_MASK_DECODER: decoder}


def reference_model(sam: Sam, spec: ModelSpec) -> Model:
    """Return the PyTorch model that a bundle is compared with: it encodes the whole square."""
    square = replace(spec, image=replace(spec.image, frame="square"))
    return Model(square, sessions_of(sam), engine="torch")
