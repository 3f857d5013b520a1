"""A Hugging Face directory's weights in the towers that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam_edge.checkpoints import CheckpointError
from sam_edge.checkpoints.containers import read_file
from sam_edge.checkpoints.huggingface import weight_files
from sam_edge.checkpoints.stored import Leaf, shown
from sam_edge.checkpoints.weights import checked, read_values
from sam_edge.errors import JsonFileError
from sam_edge.files import read_json
from sam_edge.spec import FRAME_STEP, LARGEST_FRAME
from sam_edge_export.grounding.towers import GroundingShape, Towers, TransformerShape

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "text_config": {
        "vocab_size": 49408,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "max_position_embeddings": 16,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 768,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
}
"""What ``config.json`` leaves out where it is the default, which differs by kind in ``PATCHES``."""

PATCHES = {"owlvit": 32, "owlv2": 16}
"""Default sides of a patch, by ``model_type``: the kinds of detectors that are known."""

UNUSED = (".visual_projection.weight", ".logit_scale", ".position_ids")
"""Of CLIP, whose image embedding a detector does not use. Names end so behind the first dot."""

_BLOCK = {
    "layer_norm1": "norm1",
    "self_attn.out_proj": "attn.proj",
    "layer_norm2": "norm2",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}


def kind_of(directory: Path) -> str | None:
    """Return which kind of detector a directory holds; None if it is none."""
    try:
        kind = read_json(directory / "config.json").get("model_type")
    except (OSError, JsonFileError, AttributeError):
        return None
    return kind if kind in PATCHES else None


def shape_of(directory: Path) -> GroundingShape:
    """Read the sizes of a detector from its ``config.json``.

    Raises:
        CheckpointError: if it is none, or has sizes that no tower can have.
    """
    path = directory / "config.json"
    kind = kind_of(directory)
    if kind is None:
        raise CheckpointError(f"{path}: expected model_type {' or '.join(PATCHES)}")
    config = read_json(path)
    try:
        text = {**DEFAULTS["text_config"], **(config.get("text_config") or {})}
        vision = {"patch_size": PATCHES[kind], **DEFAULTS["vision_config"]}
        vision |= config.get("vision_config") or {}
        for part in (text, vision):
            if part["hidden_act"] != "quick_gelu":
                raise ValueError(f"hidden_act {shown(str(part['hidden_act']))} is not quick_gelu")
        shape = GroundingShape(
            kind,
            _transformer(vision),
            _transformer(text),
            _whole(vision, "image_size"),
            _whole(vision, "patch_size"),
            _whole(text, "vocab_size"),
            _whole(text, "max_position_embeddings", 1024),
            _whole({"projection_dim": 512, **config}, "projection_dim"),
        )
        if shape.image_size % shape.patch or shape.image_size % FRAME_STEP:
            raise ValueError(
                f"image_size {shape.image_size} is no multiple of {FRAME_STEP} and of the patch"
            )
        if shape.embedding != shape.text.width:
            raise ValueError(f"projection_dim {shape.embedding} is not the text tower's width")
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: {shown(str(error))}") from error
    return shape


def load_towers(directory: Path) -> Towers:
    """Read a directory into its towers, in eval mode.

    Raises:
        CheckpointError: if it is not what its ``config.json`` says.
    """
    shape = shape_of(directory)
    with torch.device("meta"):
        sizes = {name: tuple(t.shape) for name, t in Towers(shape).state_dict().items()}
    wanted: dict[str, tuple[int, ...]] = {}
    for name, size in sizes.items():
        sources = source_names(name, shape.kind)
        rows = size[0] // len(sources)
        wanted |= dict.fromkeys(sources, (rows, *size[1:]))
    tensors: dict[str, Leaf] = {}
    for path in weight_files(directory):
        tensors |= {
            name: tensor
            for name, tensor in read_file(path).tensors.items()
            if not any(name.endswith(end) and not name.startswith("class_head") for end in UNUSED)
        }
    found = checked(tensors, wanted, shape.kind, directory)
    state: dict[str, Tensor] = {}
    for name in sizes:
        values = [
            torch.from_numpy(read_values(found[source], source, directory).copy())
            for source in source_names(name, shape.kind)
        ]
        state[name] = values[0] if len(values) == 1 else torch.cat(values)
    towers = Towers(shape)
    towers.load_state_dict(state)
    return towers.eval()


def source_names(name: str, kind: str) -> list[str]:
    """Return which of Hugging Face's tensors, joined by rows, one of ours is.

    >>> source_names("text.blocks.3.attn.qkv.bias", "owlv2")[1]
    'owlv2.text_model.encoder.layers.3.self_attn.k_proj.bias'
    >>> source_names("image.boxes.4.weight", "owlvit")
    ['box_head.dense2.weight']
    """
    tower, _, rest = name.partition(".")
    model = f"{kind}.{'vision_model' if tower == 'image' else 'text_model'}"
    whole = {
        "image.patches.weight": f"{model}.embeddings.patch_embedding.weight",
        "image.whole": f"{model}.embeddings.class_embedding",
        "image.positions": f"{model}.embeddings.position_embedding.weight",
        "text.tokens.weight": f"{model}.embeddings.token_embedding.weight",
        "text.positions": f"{model}.embeddings.position_embedding.weight",
        "text.projection.weight": f"{kind}.text_projection.weight",
    }
    if name in whole:
        return [whole[name]]
    module, _, parameter = rest.rpartition(".")
    if module.startswith("blocks."):
        _, number, part = module.split(".", 2)
        layer = f"{model}.encoder.layers.{number}"
        if part == "attn.qkv":
            return [f"{layer}.self_attn.{letter}_proj.{parameter}" for letter in "qkv"]
        theirs = next(theirs for theirs, ours in _BLOCK.items() if ours == part)
        return [f"{layer}.{theirs}.{parameter}"]
    if module == "norm_after":
        norm = "post_layernorm" if tower == "image" else "final_layer_norm"
        return [f"{model}.{norm}.{parameter}"]
    part, _, index = module.partition(".")
    modules = {
        "norm_before": f"{model}.pre_layernorm",
        "norm_merged": "layer_norm",
        "classes": "class_head.dense0",
        "logit_shift": "class_head.logit_shift",
        "logit_scale": "class_head.logit_scale",
        "boxes": "box_head",
        "objectness": "objectness_head",
    }
    dense = f".dense{int(index) // 2}" if index else ""
    return [f"{modules[part]}{dense}.{parameter}"]


def _transformer(config: Mapping[str, Any]) -> TransformerShape:
    shape = TransformerShape(
        _whole(config, "hidden_size"),
        _whole(config, "intermediate_size"),
        _whole(config, "num_hidden_layers", 256),
        _whole(config, "num_attention_heads", 256),
        float(config["layer_norm_eps"]),
    )
    if shape.width % shape.heads:
        raise ValueError(f"hidden_size {shape.width} is no multiple of {shape.heads} heads")
    return shape


def _whole(config: Mapping[str, Any], name: str, most: int = 2**20) -> int:
    value = config[name]
    if name == "image_size":
        most = LARGEST_FRAME
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, got {shown(str(value))}")
    return value
