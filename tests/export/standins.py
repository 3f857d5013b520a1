"""What the official code needs of torchvision and timm, where torchvision cannot be installed.

Each function does what the original does, in the one way the official code calls it, so that the
reference implementations run unchanged. A real torchvision is used where there is one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image


def to_pil_image(array):
    return Image.fromarray(np.asarray(array))


def resize(picture, size):
    """Bilinear, as torchvision resizes a PIL image by default."""
    height, width = size
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def box_area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def nms(boxes, scores, iou_threshold):
    order = scores.argsort(descending=True, stable=True)
    areas = box_area(boxes)
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low = torch.maximum(boxes[first, :2], boxes[rest, :2])
        high = torch.minimum(boxes[first, 2:], boxes[rest, 2:])
        both = (high - low).clamp(min=0).prod(1)
        iou = both / (areas[first] + areas[rest] - both)
        order = rest[~(iou > iou_threshold)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)


def batched_nms(boxes, scores, categories, iou_threshold):
    """Boxes of different categories never suppress each other: they are moved apart."""
    if not len(boxes):
        return torch.zeros(0, dtype=torch.long)
    offsets = categories.to(boxes) * (boxes.max() + 1)
    return nms(boxes + offsets[:, None], scores, iou_threshold)


class DropPath(torch.nn.Module):
    """Stochastic depth: nothing at all in eval mode, which is all that the tests use."""

    def __init__(self, drop_prob=None):
        super().__init__()

    def forward(self, x):
        assert not self.training
        return x


def to_2tuple(value):
    return value if isinstance(value, tuple) else (value, value)


@contextmanager
def absent():
    """Take the stand-ins away for a while: transformers would take them for the real thing."""
    held = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name.split(".")[0] in ("torchvision", "timm")
    }
    try:
        yield
    finally:
        sys.modules.update(held)


def install():
    """Put the stand-ins where ``import torchvision`` looks, unless the real one is there."""
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is not None:
        return

    def module(name, **contents):
        made = types.ModuleType(name)
        made.__dict__.update(contents)
        made.__path__ = []
        made.__spec__ = importlib.util.spec_from_loader(name, loader=None)
        sys.modules[name] = made
        return made

    functional = module(
        "torchvision.transforms.functional", resize=resize, to_pil_image=to_pil_image
    )
    transforms = module("torchvision.transforms", functional=functional)
    boxes = module("torchvision.ops.boxes", batched_nms=batched_nms, box_area=box_area)
    ops = module("torchvision.ops", boxes=boxes, batched_nms=batched_nms, nms=nms)
    module("torchvision", transforms=transforms, ops=ops, __version__="0")
    # The real timm imports much more of torchvision than the official code uses.
    layers = module(
        "timm.models.layers",
        DropPath=DropPath,
        to_2tuple=to_2tuple,
        trunc_normal_=torch.nn.init.trunc_normal_,
    )
    registry = module("timm.models.registry", register_model=lambda function: function)
    models = module("timm.models", layers=layers, registry=registry)
    module("timm", models=models)


@contextlib.contextmanager
def hidden():
    """Take the stand-ins away while something is imported that would ask more of them."""
    ours = {
        name: module
        for name, module in sys.modules.items()
        if name.split(".")[0] in ("torchvision", "timm") and not hasattr(module, "__file__")
    }
    for name in ours:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(ours)
