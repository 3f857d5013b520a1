"""OWL-ViT and OWLv2 of seeded random weights in Hugging Face directories, as transformers has them.

The vocabulary is byte-level BPE like CLIP's, of a few sentences. Weights are drawn with more spread
than at the start of a training, so that boxes and scores differ.
"""

import json

import standins
import torch
from tokenizers import pre_tokenizers

with standins.hidden():  # transformers would ask more of torchvision than they have
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    KINDS = {
        "owlvit": (transformers.OwlViTConfig, transformers.OwlViTForObjectDetection),
        "owlv2": (transformers.Owlv2Config, transformers.Owlv2ForObjectDetection),
    }
    PROCESSORS = {
        "owlvit": transformers.OwlViTImageProcessorPil,
        "owlv2": transformers.Owlv2ImageProcessorPil,
    }
    ClipTokenizer = transformers.CLIPTokenizer

TINY_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 700,
}
TINY_VISION = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 128,
    "patch_size": 16,
}

SENTENCES = (
    "a photo of a cat and two dogs on the green grass",
    "the red mug beside a white plate on a wooden table",
    "people walking in the street, cars and bicycles",
    "a person's hand holding 3 apples; don't eat them!",
    "windows, doors, houses and trees under a blue sky",
)
"""Whose words the vocabulary has."""

MERGES = 120


TINY = {"text_config": TINY_TEXT, "vision_config": TINY_VISION, "projection_dim": 32}
FULL = {"owlvit": {}, "owlv2": {"vision_config": {"image_size": 960}}}
"""What differs from the configuration's defaults, which are those of the published B models."""


def owl_directory(kind, path, sizes, seed=0):
    """Write a directory as the hub has them, and return the model that it holds."""
    config_class, model_class = KINDS[kind]
    torch.manual_seed(seed)
    model = model_class(config_class(**sizes)).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                tensor.copy_(1 + 0.1 * torch.randn_like(tensor))
            elif tensor.ndim >= 2 and "embedding" not in name:
                tensor.copy_(torch.randn_like(tensor) * tensor[0].numel() ** -0.5)
            elif "head" not in name:
                tensor.copy_(0.1 * torch.randn_like(tensor))
    model.save_pretrained(path)
    write_vocabulary(path)
    side = model.config.vision_config.image_size
    processor = {"size": {"height": side, "width": side}, "image_processor_type": f"{kind}"}
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return model


def write_vocabulary(path):
    """Write ``vocab.json`` and ``merges.txt``: each word is put together from its left."""
    merges = {}
    for word in " ".join(SENTENCES).split():
        letters = [*word[:-1], f"{word[-1]}</w>"]
        for count in range(1, len(letters)):
            merges["".join(letters[:count]), letters[count]] = None
    merges = list(merges)[:MERGES]
    # CLIP's order: every byte, every byte at a word's end, the merged, and the two ends last.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())  # "!" is the first
    words = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *map("".join, merges)]
    words = dict.fromkeys([*words, "<|startoftext|>", "<|endoftext|>"])
    path.joinpath("vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    path.joinpath("special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))
    lines = ["#version: 0.2", *map(" ".join, merges), ""]
    path.joinpath("merges.txt").write_text("\n".join(lines), encoding="utf-8")


SMALLEST = {
    "text_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 640,
    },
    "vision_config": {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
    },
    "projection_dim": 16,
}
"""Of the bundle in ``tests/sam_edge/grounding``, which is there for machines without torch."""
