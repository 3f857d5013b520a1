"""A template: a graph's file with its weights cut out, and a recipe for each hole.

Templates are made by ``sam_edge_export.template`` (``make templates``) and lie in ``templates/``, a
compressed file for all precisions of one graph at one image size. The bytes between holes are
copied as they are, so nothing here knows protocol buffers.

A file of templates is one line of JSON and then bytes, which the JSON numbers: each template's
text, and the picked places of its recipes as int32.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np

from sam_edge.errors import SamEdgeError
from sam_edge.filling.recipes import Norm, Recipe, View
from sam_edge.spec import IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER, TensorInfo

FOLDER = files("sam_edge.filling") / "templates"

Piece: TypeAlias = int | Recipe
"""So many bytes of the text, or a hole."""


@dataclass(frozen=True, slots=True)
class Template:
    """One graph without its weights.

    Attributes:
        role: as in the manifest, as are the next two and the tensors.
        engines: the engines that it is for, empty for any.
        precision: what its weights are stored as.
        opset: ONNX opset.
        exporter: versions of what made it, name -> version.
        inputs: in the graph's order.
        outputs: in the graph's order.
        weights: the checkpoint's tensors that it needs: official name -> shape.
        folds: a convolution's name -> that of the BatchNorm behind it.
        norms: those that recipes name.
        files: its files, the graph first: ending of the name -> pieces.
        text: the bytes between holes, of all files in turn.
        quantization: of an encoder in integers, what the manifest says of its engine.
    """

    role: str
    engines: tuple[str, ...]
    precision: str
    opset: int
    exporter: Mapping[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    weights: Mapping[str, tuple[int, ...]]
    folds: Mapping[str, str]
    norms: tuple[Norm, ...]
    files: Mapping[str, tuple[Piece, ...]]
    text: bytes | memoryview
    quantization: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        """Of the files that it becomes, in bytes, without provenance."""
        pieces = (piece for each in self.files.values() for piece in each)
        return sum(piece if isinstance(piece, int) else piece.size for piece in pieces)


def encoder_file(variant: str, image_size: int) -> str:
    """Return the name of the file with a variant's encoders."""
    return f"{variant}-{image_size}.xz"


DECODER_FILE = "decoder.xz"
"""One decoder serves every variant and image size."""


@cache
def sizes() -> Mapping[str, tuple[int, ...]]:
    """Return the image sizes that there are templates for, by variant."""
    found: dict[str, list[int]] = {}
    for entry in FOLDER.iterdir():
        variant, dash, size = entry.name.removesuffix(".xz").rpartition("-")
        if dash:
            found.setdefault(variant, []).append(int(size))
    return {variant: tuple(sorted(numbers)) for variant, numbers in found.items()}


def templates(variant: str, image_size: int) -> list[Template]:
    """Return every template for a variant at an image size, encoders and decoders.

    Raises:
        SamEdgeError: if there are none.
    """
    known = sizes().get(variant, ())
    if image_size not in known:
        there = f" (without it: {', '.join(map(str, known))} px)" if known else ""
        raise SamEdgeError(
            f"{variant} at {image_size} px needs the exporter{there}; "
            "run: pip install 'sam-edge[export]'"
        )
    names = (encoder_file(variant, image_size), DECODER_FILE)
    return [template for name in names for template in unpacked((FOLDER / name).read_bytes())]


def select(
    found: Sequence[Template], role: str, precision: str, engine: str | None = None
) -> Template:
    """Return the template for a role in a precision, an engine's own where it has one.

    Raises:
        SamEdgeError: if there is none.
    """
    fitting = [each for each in found if (each.role, each.precision) == (role, precision)]
    for template in fitting:
        if not template.engines or engine in template.engines:
            return template
    whom = f" for {engine}" if engine else ""
    raise SamEdgeError(
        f"there is no template of the {role} in {precision}{whom}; "
        "run: pip install 'sam-edge[export]'"
    )


def packed(contents: Sequence[Template]) -> bytes:
    """Return templates as the bytes of a file."""
    blobs = _Blobs()
    entries = [_entry(template, blobs) for template in contents]
    head = {"templates": entries, "blobs": [len(blob) for blob in blobs.contents]}
    data = json.dumps(head, separators=(",", ":")).encode() + b"\n" + b"".join(blobs.contents)
    # Pinned filters: another default would be other bytes for the same templates, and whoever
    # unpacks a file holds its dictionary.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}]
    return lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC64, filters=filters)


def unpacked(data: bytes) -> list[Template]:
    """Return the templates in the bytes of a file."""
    content = lzma.decompress(data)
    end = content.index(b"\n")
    head = json.loads(content[:end])
    blobs, at = [], end + 1
    for size in head["blobs"]:
        blobs.append(memoryview(content)[at : at + size])
        at += size
    return [_template(entry, blobs) for entry in head["templates"]]


class _Blobs:
    """Collects bytes, each once: the blocks of a model pick the same places."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, content: bytes) -> int:
        """Return the number of these bytes."""
        number = self._numbers.setdefault(content, len(self.contents))
        if number == len(self.contents):
            self.contents.append(content)
        return number


def _entry(template: Template, blobs: _Blobs) -> dict[str, Any]:
    """Return a template as JSON."""
    places = {name: number for number, name in enumerate(_names(template))}
    return {
        "role": template.role,
        "engines": template.engines,
        "precision": template.precision,
        "opset": template.opset,
        "exporter": template.exporter,
        "inputs": [_tensor_entry(tensor) for tensor in template.inputs],
        "outputs": [_tensor_entry(tensor) for tensor in template.outputs],
        "weights": template.weights,
        "folds": template.folds,
        "text": blobs.add(bytes(template.text)),
        "quantization": template.quantization,
        "norms": [
            [_view_entry(view, places, blobs) for view in (norm.gain, norm.bias, *norm.matrices)]
            for norm in template.norms
        ],
        "files": {
            ending: [
                piece if isinstance(piece, int) else _recipe_entry(piece, places, blobs)
                for piece in pieces
            ]
            for ending, pieces in template.files.items()
        },
    }


def _names(template: Template) -> Iterator[str]:
    """Name every tensor that a view can have for a source; its number stands for it."""
    yield from template.weights
    for layer in template.folds:
        yield f"{layer}.bias"


def _tensor_entry(tensor: TensorInfo) -> list[Any]:
    return [tensor.name, tensor.dtype, tensor.shape]


def _view_entry(view: View, places: Mapping[str, int], blobs: _Blobs) -> list[Any]:
    sources = [places[name] for name in view.sources]
    if view.picked is None:
        return [sources, view.shape, view.start, view.sides, view.strides]
    return [sources, view.shape, blobs.add(view.picked.astype("<i4").tobytes())]


def _recipe_entry(recipe: Recipe, places: Mapping[str, int], blobs: _Blobs) -> list[Any]:
    view = _view_entry(recipe.view, places, blobs)
    return [view, recipe.form, recipe.axis, recipe.norm, recipe.divided]


def _template(entry: Mapping[str, Any], blobs: Sequence[memoryview]) -> Template:
    weights = {name: tuple(shape) for name, shape in entry["weights"].items()}
    names = [*weights, *(f"{layer}.bias" for layer in entry["folds"])]

    def view(values: list[Any]) -> View:
        sources, shape, first, *strided = values
        named, sides = tuple(names[number] for number in sources), tuple(shape)
        if strided:
            taken, strides = strided
            return View(named, sides, first, tuple(taken), tuple(strides))
        places = np.frombuffer(blobs[first], "<i4").astype(np.int32, copy=False)
        return View(named, sides, picked=places)

    def norm(values: list[Any]) -> Norm:
        gain, bias, *matrices = map(view, values)
        return Norm(gain, bias, tuple(matrices))

    def piece(value: int | list[Any]) -> Piece:
        if isinstance(value, int):
            return value
        first, *others = value
        return Recipe(view(first), *others)

    return Template(
        entry["role"],
        tuple(entry["engines"]),
        entry["precision"],
        entry["opset"],
        entry["exporter"],
        tuple(TensorInfo(name, dtype, tuple(shape)) for name, dtype, shape in entry["inputs"]),
        tuple(TensorInfo(name, dtype, tuple(shape)) for name, dtype, shape in entry["outputs"]),
        weights,
        entry["folds"],
        tuple(map(norm, entry["norms"])),
        {ending: tuple(map(piece, pieces)) for ending, pieces in entry["files"].items()},
        blobs[entry["text"]],
        entry["quantization"],
    )


def weights_needed(found: Sequence[Template]) -> dict[str, tuple[int, ...]]:
    """Return what a checkpoint must have for an encoder and a decoder: official name -> shape."""
    needed: dict[str, tuple[int, ...]] = {}
    for role in (IMAGE_ENCODER, PROMPT_ENCODER_MASK_DECODER):
        needed |= next(each.weights for each in found if each.role == role)
    return needed
