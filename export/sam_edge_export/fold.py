"""BatchNorm folded into the convolutions before it, before anything is traced.

PyTorch would fold it while it traces, but its vectorised square root is not rounded as IEEE 754
says, so that weights would depend on the processor.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from sam_edge.filling.arithmetic import NORM_EPSILON, folded_norm
from sam_edge_runtimes import Float32


def pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of each convolution and of the BatchNorm right behind it."""
    for name, parent in module.named_modules():
        if isinstance(parent, nn.Sequential):
            children = list(parent.named_children())
            for (first, conv), (second, norm) in pairwise(children):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    start = f"{name}." if name else ""
                    yield f"{start}{first}", f"{start}{second}"


def folded(module: nn.Module) -> nn.Module:
    """Return a module without BatchNorm that computes the same; itself where it has none."""
    found = list(pairs(module))
    if not found:
        return module
    module = copy.deepcopy(module)
    for conv_name, norm_name in found:
        conv, norm = module.get_submodule(conv_name), module.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert conv.bias is None
        assert norm.eps == NORM_EPSILON
        state = (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        weight, bias = folded_norm(*(_array(tensor) for tensor in state))
        conv.weight = nn.Parameter(torch.from_numpy(weight))
        conv.bias = nn.Parameter(torch.from_numpy(bias))
        parent, _, last = norm_name.rpartition(".")
        setattr(module.get_submodule(parent), last, nn.Identity())
    return module


def _array(tensor: Tensor | None) -> Float32:
    assert tensor is not None  # BatchNorm's statistics may be left out, which none here does
    return tensor.detach().numpy()
