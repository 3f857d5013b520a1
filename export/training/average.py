"""Average a run's weights with those it began from: wider minima, better masks, for no training.

Wortsman et al., "Robust fine-tuning of zero-shot models" (2022): weights between the two ends of a
fine-tuning are often better than both, on what was trained and on what was not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from model import DEFAULT_SIZE, NanoModel
from safetensors.torch import load_file
from torch import Tensor
from train import grow, save_weights


def average(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return ``share`` of ``end`` and the rest of ``start``; names and shapes are the same."""
    return {key: torch.lerp(start[key], value, share) for key, value in end.items()}


def main() -> None:
    """Write the average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("start", type=Path, help="weights the run began from")
    parser.add_argument("end", type=Path, help="weights it ended with")
    parser.add_argument("--share", type=float, default=0.6, help="of the end")
    parser.add_argument("--seed", type=int, required=True, help="of the run: it drew new blocks")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    began, ended = NanoModel(), NanoModel()
    grow(began, load_file(options.start))
    ended.load_state_dict(load_file(options.end), strict=False)
    start, end = (
        {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
        for model in (began, ended)
    )
    save_weights(average(start, end, options.share), options.out, DEFAULT_SIZE)


if __name__ == "__main__":
    main()
