"""Full-size checkpoints of seeded random weights, in the official format.

Parity, speed and memory are exact on them. What their masks show means nothing.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sam_edge_export.load import load_checkpoint
from sam_edge_export.modules.sam import Sam


def seeded_state(variant: str, image_size: int, seed: int) -> dict[str, Tensor]:
    """Return random weights whose activations stay in the range that trained ones have.

    Args:
        variant: a key of ``FAMILIES``.
        image_size: in pixels.
        seed: the same seed gives the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for name, tensor in Sam(variant, image_size).state_dict().items():
        if not tensor.is_floating_point():
            state[name] = tensor  # BatchNorm's counter
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith(("running_var",)):
            state[name] = noise.abs() + 0.5
        elif "norm" in name and name.endswith("weight"):
            state[name] = 1 + 0.1 * noise
        elif tensor.ndim >= 2 and name.endswith("weight"):
            # Fan-in scaling keeps the variance from layer to layer.
            state[name] = noise * tensor[0].numel() ** -0.5
        elif "gaussian_matrix" in name:
            state[name] = noise
        else:
            state[name] = 0.05 * noise
    return state


def seeded_checkpoint(
    variant: str,
    image_size: int,
    seed: int,
    path: Path,
    decoder_weights: Path | None = None,
) -> Path:
    """Write a checkpoint of seeded weights.

    Args:
        variant: a key of ``FAMILIES``.
        image_size: in pixels.
        seed: for the random weights.
        path: the ``.pth`` to write.
        decoder_weights: whose trained prompt encoder and mask decoder replace the random ones, see
            ``trained_decoder``.

    Returns:
        ``path``.
    """
    state = seeded_state(variant, image_size, seed)
    if decoder_weights is not None:
        state.update(trained_decoder(decoder_weights))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return path


def trained_decoder(path: Path) -> dict[str, Tensor]:
    """Read a trained prompt encoder and mask decoder under the official names.

    Args:
        path: a checkpoint, such as nano's; or MobileSAMv2's Prompt_guided_Mask_Decoder.pt with
            keys ``PromtEncoder`` (sic) and ``MaskDecoder``.
    """
    if path.suffix != ".pt":
        state = load_checkpoint(path)[0].state_dict()
        wanted = ("prompt_encoder.", "mask_decoder.")
        return {name: tensor for name, tensor in state.items() if name.startswith(wanted)}
    halves = torch.load(path, map_location="cpu", weights_only=True)
    return {
        f"{half}.{name}": tensor
        for half, key in (("prompt_encoder", "PromtEncoder"), ("mask_decoder", "MaskDecoder"))
        for name, tensor in halves[key].items()
    }
