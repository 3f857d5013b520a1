"""An 8-bit encoder a engine, each held to its masks and to its speed before it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from sam_edge.errors import ArgumentError
from sam_edge.fidelity import relative_l2
from sam_edge.gates import open_encoder
from sam_edge.image import preprocess
from sam_edge.spec import ModelSpec
from sam_edge_export import trace
from sam_edge_export.quantize.calibrate import fingerprint, measure_ranges
from sam_edge_export.quantize.equalize import equalize
from sam_edge_export.quantize.recipes import RECIPES, Ranges, Recipe, candidates, quantize
from sam_edge_runtimes import Float32
from sam_edge_runtimes.cpu import saturates_here

GROUPS = 16
"""Runs that the search for sensitive products takes at most."""

TARGETS: Mapping[str, int | None] = {"here": None, "x86-64-vnni": 8, "x86-64": 7, "arm64": 8}
"""Kinds of machines, and the bits of weights that their products are exact with."""


@dataclass(frozen=True)
class Source:
    """What every engine's encoder is made from, in one directory for temporary files.

    Attributes:
        graph: the float32 encoder, equalised. Never changed.
        file: the same as a file.
        ranges: of its activations; empty if no recipe needs them.
        photo: one calibration photo as the encoder's input.
        bits: of the weights.
        calibration: for the manifest; None if nothing was calibrated.
    """

    graph: onnx.ModelProto
    file: Path
    ranges: Ranges
    photo: NDArray[np.float32]
    bits: int
    calibration: Mapping[str, Any] | None


def source(
    graph: onnx.ModelProto,
    spec: ModelSpec,
    photos: Sequence[NDArray[np.uint8]],
    described: str | None,
    target: str,
    directory: Path,
    progress: Callable[[str], None],
) -> Source:
    """Equalise a traced encoder and calibrate it.

    Args:
        graph: equalised in place.
        spec: how photos become its input.
        photos: to calibrate on.
        described: where they are from, for the manifest; None leaves calibration out.
        target: a key of ``TARGETS``.
        directory: for temporary files; must live as long as the result.
        progress: told what is being done.
    """
    equalize(graph)
    file = directory / "float.onnx"
    trace.save_graph(trace.copied(graph), file, {})
    ranges: Ranges = {}
    calibration = None
    if described is not None:
        save = partial(trace.save_graph, metadata={})
        prepare = partial(preprocess, spec=spec)
        ranges = measure_ranges(graph, photos, prepare, save, directory, progress)
        calibration = {"photos": described, "count": len(photos), "sha256": fingerprint(photos)}
    photo = preprocess(photos[0], spec)
    return Source(graph, file, ranges, photo, weight_bits(target), calibration)


def weight_bits(target: str) -> int:
    """Return how many bits a kind of machine multiplies exactly.

    Raises:
        ArgumentError: if nobody knows the target.
    """
    if target not in TARGETS:
        raise ArgumentError(f"--target {target}: expected one of {', '.join(TARGETS)}")
    return TARGETS[target] or (7 if saturates_here() else 8)


def recipe_for(engine: str, name: str | None) -> Recipe:
    """Return an engine's recipe: the one of a name, or its first.

    Raises:
        ArgumentError: if the engine has none of that name.
    """
    own = [recipe for recipe in RECIPES if recipe.engine == engine]
    for recipe in own:
        if name in (None, recipe.name):
            return recipe
    raise ArgumentError(f"--recipe {name}: {engine} has {', '.join(recipe.name for recipe in own)}")


def write_encoder(
    made_from: Source,
    recipe: Recipe,
    floats: Sequence[str],
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    """Write an encoder in integers; what stays float is stored in half precision."""
    graph = trace.copied(made_from.graph)
    quantize(graph, recipe, made_from.ranges, floats, made_from.bits)
    trace.save_graph(graph, path, metadata, "fp16")


def sensitive_first(
    made_from: Source, recipe: Recipe, directory: Path, progress: Callable[[str], None]
) -> list[str]:
    """Order a recipe's products by what they alone do to the embedding, the worst first.

    Neighbours are measured together, ``GROUPS`` groups at most, on one calibration photo.
    """
    names = [product.name for product in candidates(made_from.graph, recipe)]
    groups = [list(part) for part in np.array_split(names, min(GROUPS, len(names)))]
    truth = _embedding(recipe.engine, made_from.file, made_from.photo)
    path = directory / "sensitivity.onnx"
    errors = []
    for number, group in enumerate(groups, 1):
        progress(f"looking for sensitive products, {number} of {len(groups)}")
        write_encoder(made_from, recipe, [n for n in names if n not in group], path, {})
        errors.append(relative_l2(_embedding(recipe.engine, path, made_from.photo), truth))
    order = sorted(range(len(groups)), key=lambda index: -errors[index])
    return [str(name) for index in order for name in groups[index]]


def fewest_floats(
    order: Sequence[str], passes: Callable[[Sequence[str]], bool]
) -> Sequence[str] | None:
    """Find by bisection how many of the most sensitive products must stay float.

    Args:
        order: the most sensitive first. None of them float is known to fail.
        passes: builds an encoder with these products float, and judges it.

    Returns:
        The shortest passing beginning of ``order``, up to a sixteenth of it; None if even all of it
        does not pass.
    """
    if not passes(order):
        return None
    failing, passing = 0, len(order)
    while passing - failing > max(1, len(order) // GROUPS):
        middle = (failing + passing) // 2
        if passes(order[:middle]):
            passing = middle
        else:
            failing = middle
    return order[:passing]


def _embedding(engine: str, path: Path, image: Float32) -> Float32:
    return open_encoder(engine, path, image.shape[2:]).run({"image": image})["image_embeddings"]
