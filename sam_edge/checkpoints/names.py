"""Which of a checkpoint's tensors are the model's, and what they are called officially."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from sam_edge.checkpoints import huggingface
from sam_edge.checkpoints.errors import CheckpointError
from sam_edge.checkpoints.stored import Leaf, StoredTensor, shown

ANCHOR = "mask_decoder.iou_token.weight"
"""Every model has it, official or Hugging Face's: what stands before it is the wrapper's."""

INSIDE_WRAPPERS = re.compile(
    r"(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""What ``torch.compile`` and FSDP put into the middle of names."""

COPIES = re.compile(
    r"(^|[._])(ema|swa|teacher|momentum|target|averaged?|optimi[sz]er)([._]|$)", re.IGNORECASE
)
"""Where a second copy of the weights lies, which is not the one that was trained."""

EXTRA_KEYS = (
    "pixel_mean",
    "pixel_std",
    "image_encoder.norm_head.weight",
    "image_encoder.norm_head.bias",
    "image_encoder.head.weight",
    "image_encoder.head.bias",
)
"""What some checkpoints store and no mask depends on: normalisation, TinyViT's classifier."""

COUNTER = ".num_batches_tracked"
"""BatchNorm's counters matter to nobody but a trainer, and not every file has them."""


def official_tensors(found: Mapping[str, Leaf], path: Path) -> tuple[dict[str, Leaf], list[str]]:
    """Return the tensors under their official names, and a note if there were several copies.

    Of several copies of the weights the one that was trained is taken before an average of it, then
    the one in fewer wrappers, then the first in the file.

    Raises:
        CheckpointError: if there are none.
    """
    tensors = {INSIDE_WRAPPERS.sub(r"\1", name): tensor for name, tensor in found.items()}
    prefixes = prefixes_of(tensors)
    if not prefixes:
        example = "nothing"
        for name, tensor in tensors.items():
            if isinstance(tensor, StoredTensor):
                example = shown(name)
                break
            example = f"{shown(tensor.name)}, which will not be executed"
        raise CheckpointError(
            f"{path} is no Segment Anything checkpoint: expected tensors such as {ANCHOR}, "
            f"found {example}"
        )
    taken, *others = sorted(
        prefixes, key=lambda prefix: (COPIES.search(prefix) is not None, prefix.count("."))
    )
    inner = tuple(prefix for prefix in others if prefix.startswith(taken))
    ours = {
        name.removeprefix(taken): tensor
        for name, tensor in tensors.items()
        if name.startswith(taken) and not (inner and name.startswith(inner))
    }
    if huggingface.has_its_names(ours):
        ours = huggingface.renamed(ours)
    notes = []
    if others:
        places = [shown(prefix.rstrip(".")) or "the top" for prefix in (taken, *others[:3])]
        notes.append(f"weights of {places[0]}, not those of {', '.join(places[1:])}")
    return {
        name: tensor
        for name, tensor in ours.items()
        if name not in EXTRA_KEYS and not name.endswith(COUNTER)
    }, notes


def prefixes_of(names: Iterable[str]) -> list[str]:
    """Return what stands before the weights' names, one for each copy of them.

    >>> prefixes_of(["model.mask_decoder.iou_token.weight", "ema.mask_decoder.iou_token.weight"])
    ['model.', 'ema.']
    """
    names = list(names)
    starts = [name.removesuffix(ANCHOR) for name in names if name.endswith(ANCHOR)]
    # A file may lack that very tensor, which is then said of it.
    starts += [name.partition("mask_decoder.")[0] for name in names if "mask_decoder." in name]
    return [start for start in dict.fromkeys(starts) if not start or start.endswith(".")]
