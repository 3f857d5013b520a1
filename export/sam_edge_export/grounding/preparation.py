"""What stands between a photo or a phrase and the towers: the photo's preparation, the tokenizer.

Source: ``transformers/models/clip/tokenization_clip.py`` for a tokenizer in two files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sam_edge.checkpoints import CheckpointError
from sam_edge.checkpoints.stored import shown
from sam_edge.errors import JsonFileError, MissingDependencyError
from sam_edge.fields import is_number
from sam_edge.files import read_json
from sam_edge.grounding.phrases import Phrases
from sam_edge.spec import PAD_SQUARE, STRETCH_BICUBIC, ImageSpec, TokenizerFile
from sam_edge_export.grounding.towers import GroundingShape
from sam_edge_runtimes.graph_file import sha256_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP, in 0..1."""

BICUBIC = 3
"""Pillow's number."""

BEGINNING, END = "<|startoftext|>", "<|endoftext|>"

TOKENIZER = "tokenizer.json"

WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def image_spec(directory: Path, shape: GroundingShape) -> ImageSpec:
    """Return how photos become an image tower's input, from ``preprocessor_config.json``.

    Raises:
        CheckpointError: if it asks for something that is not what its kind was trained with.
    """
    path = directory / "preprocessor_config.json"
    config: dict[str, Any] = {}
    if path.is_file():
        try:
            config = read_json(path)
            mean, std = (
                tuple(_three(config.get(name, default)))
                for name, default in (("image_mean", MEAN), ("image_std", STD))
            )
            _check(config, shape)
        except (OSError, JsonFileError, AttributeError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {shown(str(error))}") from error
    else:
        mean, std = MEAN, STD
    resize = STRETCH_BICUBIC if shape.kind == "owlvit" else PAD_SQUARE
    red, green, blue = (255 * value for value in mean)
    spread = tuple(255 * value for value in std)
    return ImageSpec(
        shape.image_size, (red, green, blue), (spread[0], spread[1], spread[2]), resize
    )


def _three(values: object) -> Sequence[float]:
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(map(is_number, values)):
        raise ValueError(f"expected three numbers, got {shown(str(values))}")
    return values


def _check(config: dict[str, Any], shape: GroundingShape) -> None:
    size = config.get("size", shape.image_size)
    sides = (
        set(size.values())
        if isinstance(size, dict)
        else set(size if isinstance(size, list) else [size])
    )
    if sides != {shape.image_size}:
        raise ValueError(f"size {shown(str(size))} is not the tower's {shape.image_size}")
    if shape.kind == "owlvit" and config.get("resample", BICUBIC) != BICUBIC:
        raise ValueError(f"resample {shown(str(config['resample']))} is not bicubic, {BICUBIC}")
    if config.get("do_center_crop") and shape.kind == "owlvit":
        crop = config.get("crop_size", shape.image_size)
        sides = set(crop.values()) if isinstance(crop, dict) else {crop}
        if sides != {shape.image_size}:  # a crop of all that there is does nothing
            raise ValueError(f"do_center_crop to {shown(str(crop))} would cut photos")
    for name in ("do_resize", "do_normalize", "do_rescale"):
        if config.get(name, True) is not True:
            raise ValueError(f"{name} is not true")


def write_tokenizer(directory: Path, bundle: Path, shape: GroundingShape) -> TokenizerFile:
    """Write a bundle's tokenizer: the directory's own, or one made of its vocabulary and merges.

    Raises:
        CheckpointError: if there is none, or it is not the text tower's.
        MissingDependencyError: if ``tokenizers`` is not installed.
    """
    target = bundle / TOKENIZER
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "a tokenizer needs tokenizers, which is not installed; run: "
            "pip install 'sam-edge[export,text]'"
        ) from error
    try:
        if (directory / TOKENIZER).is_file():
            tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        else:
            tokenizer = _of_two_files(directory)
        # What fills phrases up is special: of both published kinds it is "!", which as a part of a
        # phrase is then that token, too, and not the word that "!" is to CLIP.
        tokenizer.add_special_tokens(_padding(directory))
        tokenizer.save(str(target))
    except CheckpointError:
        raise
    except Exception as error:  # tokenizers raises nothing more special
        raise CheckpointError(
            f"{directory} holds no tokenizer that reads: {shown(str(error))}"
        ) from error
    file = TokenizerFile(TOKENIZER, sha256_file(target), target.stat().st_size, shape.length)
    tokens = Phrases(target, file).tokens("a photo of a cat")
    if tokens.max() >= shape.vocabulary or tokens.max() != tokens[np.flatnonzero(tokens)[-1]]:
        raise CheckpointError(
            f"{directory}: the tokenizer's words are not those of the text tower, which has "
            f"{shape.vocabulary}, and whose last token must have the highest number"
        )
    return file


def _of_two_files(directory: Path) -> Tokenizer:
    """Make CLIP's tokenizer of its vocabulary and its merges."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    for path in (vocabulary, merges):
        if not path.is_file():
            raise CheckpointError(
                f"{directory} has no {TOKENIZER}, and no {path.name} to make one of; fetch it from "
                "where the weights are"
            )
    words = read_json(vocabulary)
    pairs = []
    for line in merges.read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("#version"):
            first, second = line.split()
            pairs.append((first, second))
    tokenizer = Tokenizer(
        models.BPE(
            words,
            pairs,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, words[END]), (BEGINNING, words[BEGINNING]), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.add_special_tokens([BEGINNING, END])
    return tokenizer


def _padding(directory: Path) -> list[str]:
    """Return the word that fills phrases up, if the directory says which."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = directory / name
        said = read_json(path).get("pad_token") if path.is_file() else None
        word = said.get("content") if isinstance(said, dict) else said
        if isinstance(word, str):
            return [word]
    return []
