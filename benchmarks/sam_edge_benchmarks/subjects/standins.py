"""What a machine with torch alone lacks, as far as it is needed to measure.

That is the few functions of torchvision that the official code imports, and the names of
safetensors that our loader imports and seeded weights never call. Each function does what the
original does in the one way that the official code calls it. Where the real package is installed,
it is used.
"""

from __future__ import annotations

import importlib.util
import sys
import types

from sam_edge_benchmarks.work import Opaque


def install_torchvision() -> None:
    """Put the stand-ins where ``import torchvision`` looks."""
    if _is_there("torchvision"):
        return
    boxes = _module("torchvision.ops.boxes", batched_nms=_batched_nms, box_area=_box_area)
    functional = _module(
        "torchvision.transforms.functional", resize=_resize, to_pil_image=_to_pil_image
    )
    transforms = _module("torchvision.transforms", functional=functional)
    ops = _module("torchvision.ops", boxes=boxes)
    _module("torchvision", transforms=transforms, ops=ops, __version__="0")
    _install_timm()


def _install_timm() -> None:
    """Stand in for timm as well: the real one asks far more of torchvision than mobile_sam does.

    The three names are only used while a TinyViT is built, or in training.
    """
    import torch

    class DropPath(torch.nn.Identity):
        """Drops nothing: that is for training."""

        def __init__(self, drop_prob: float | None = None) -> None:
            super().__init__()
            self.drop_prob = drop_prob

    layers = _module(
        "timm.models.layers",
        DropPath=DropPath,
        to_2tuple=lambda value: value if isinstance(value, tuple) else (value, value),
        trunc_normal_=torch.nn.init.trunc_normal_,
    )
    registry = _module("timm.models.registry", register_model=lambda function: function)
    models = _module("timm.models", layers=layers, registry=registry)
    _module("timm", models=models)


def install_safetensors() -> None:
    """Let modules be imported that could read safetensors, but will not be asked to."""
    if _is_there("safetensors"):
        return
    # Any name may be imported: whichever of them our loader takes, seeded weights call none.
    for name in ("safetensors.torch", "safetensors"):
        _module(name, __getattr__=lambda name: None)


def _is_there(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def _module(name: str, **contents: Opaque) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__spec__ = importlib.util.spec_from_loader(name, loader=None)
    made.__dict__.update(contents, __path__=[])
    sys.modules[name] = made
    return made


def _to_pil_image(array: Opaque) -> Opaque:
    from PIL import Image

    return Image.fromarray(array)


def _resize(picture: Opaque, size: tuple[int, int]) -> Opaque:
    from PIL import Image

    return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def _box_area(boxes: Opaque) -> Opaque:
    """Areas of ``(N, 4)`` XYXY boxes."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]


def _batched_nms(boxes: Opaque, scores: Opaque, categories: Opaque, iou_threshold: float) -> Opaque:
    """Indices of the boxes that no better box of their category overlaps, best first."""
    import torch

    areas = _box_area(boxes)
    waiting = torch.argsort(scores, descending=True, stable=True)  # equal scores keep their order
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        sides = torch.minimum(boxes[waiting, 2:], boxes[best, 2:]) - torch.maximum(
            boxes[waiting, :2], boxes[best, :2]
        )
        shared = sides.clamp(min=0).prod(dim=1)
        overlap = shared / (areas[waiting] + areas[best] - shared)
        waiting = waiting[(overlap <= iou_threshold) | (categories[waiting] != categories[best])]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)
