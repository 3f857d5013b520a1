"""The official PyTorch code, as its own predictor and generator call it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sam_edge_benchmarks.subjects.official as official
from sam_edge_benchmarks.subjects.torch_device import TorchDevice
from sam_edge_benchmarks.work import Opaque, Request

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sam_edge.image import RgbImage
    from sam_edge_benchmarks.prompts import Prompts


def import_libraries(request: Request) -> None:
    """Import what a script written for the official code imports."""
    import torch  # noqa: F401

    official.import_package(request.variant)


def load(request: Request) -> OfficialTorch:
    """Build the model, read its weights, move it to the device."""
    return OfficialTorch(request)


@dataclass(frozen=True, slots=True, eq=False)
class _Sizes:
    original: tuple[int, int]
    input: tuple[int, int]


class OfficialTorch:
    """The phases of ``SamPredictor.set_image`` and ``predict_torch``."""

    def __init__(self, request: Request) -> None:
        self._device = TorchDevice(request)
        self._package = official.import_package(request.variant).__name__
        self._sam = official.build(request.variant, request.image_size, request.model)
        self._sam.to(request.backend)
        # compiled in place, so that the official generator runs the compiled halves, too
        self._sam.image_encoder = self._device.place(self._sam.image_encoder)
        self._sam.mask_decoder = self._device.place(self._sam.mask_decoder)
        transforms = importlib.import_module(f"{self._package}.utils.transforms")
        self._transform = transforms.ResizeLongestSide(request.image_size)
        self._sizes = _Sizes((0, 0), (0, 0))

    def device(self) -> dict[str, Any]:
        """Name what it runs on."""
        return self._device.describe()

    def preprocess(self, photo: RgbImage) -> Opaque:
        """Resize, copy to the device, normalise, pad."""
        import torch

        with self._device.computing():
            resized = self._transform.apply_image(photo)
            tensor = torch.as_tensor(resized, device=self._device.name)
            tensor = tensor.permute(2, 0, 1).contiguous()[None]
            self._sizes = _Sizes(photo.shape[:2], (tensor.shape[-2], tensor.shape[-1]))
            return self._sam.preprocess(tensor)

    def encode(self, frame: Opaque) -> Opaque:
        """Run the image encoder."""
        with self._device.computing():
            return self._sam.image_encoder(frame)

    def decode(self, embedding: Opaque, prompts: Prompts) -> Opaque:
        """Run the prompt encoder and the mask decoder on all prompts in one call."""
        import torch

        device = self._device.name
        with self._device.computing():
            points = boxes = None
            if prompts.points is not None:
                coords = self._transform.apply_coords(prompts.points, self._sizes.original)
                points = (
                    torch.as_tensor(coords, dtype=torch.float32, device=device),
                    torch.ones(coords.shape[:2], dtype=torch.int, device=device),
                )
            if prompts.boxes is not None:
                corners = self._transform.apply_boxes(prompts.boxes, self._sizes.original)
                boxes = torch.as_tensor(corners, dtype=torch.float32, device=device)
            sparse, dense = self._sam.prompt_encoder(points=points, boxes=boxes, masks=None)
            low_res, _ = self._sam.mask_decoder(
                image_embeddings=embedding,
                image_pe=self._sam.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
            return low_res

    def postprocess(self, decoded: Opaque) -> NDArray[np.bool_]:
        """Upsample to the photo, threshold, copy to the host."""
        with self._device.computing():
            logits = self._sam.postprocess_masks(decoded, self._sizes.input, self._sizes.original)
            masks: NDArray[np.bool_] = (logits > self._sam.mask_threshold).cpu().numpy()
        return masks

    def everything(self, photo: RgbImage, points_per_side: int) -> int:
        """Run the official generator with its own defaults."""
        generator = importlib.import_module(f"{self._package}.automatic_mask_generator")
        with self._device.computing():
            return len(
                generator.SamAutomaticMaskGenerator(
                    self._sam, points_per_side=points_per_side
                ).generate(photo)
            )
