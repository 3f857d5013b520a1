"""The ranges of activations, from photos that are not those the bundle is judged on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sam_edge.errors import ImageError, SamEdgeError
from sam_edge.image import read_image
from sam_edge.photos import photos_in
from sam_edge_export.quantize.recipes import tensors_to_range
from sam_edge_runtimes import Float32, choose_engine
from sam_edge_runtimes.graph_file import sha256_file

if TYPE_CHECKING:
    import onnxruntime as ort

SCENES = 8
LARGEST_SET = 32
"""Photos of a folder that are used; ranges hardly grow with more."""

FLAT = 2.0
"""Standard deviation of pixel values, of 255, up to which a picture says nothing."""


def calibration_photos(folder: Path | None, judged_on: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Return the photos to calibrate on: a folder's, or scenes that are drawn here.

    Args:
        folder: None draws ``SCENES`` scenes of overlapping textured shapes ("dead leaves"), whose
            edges, scales and colours are distributed as those of photographs.
        judged_on: photos of the quality gate, which must not be calibrated on.

    Raises:
        SamEdgeError: if the folder is empty, a photo in it cannot be read, all of them are flat, or
            one of them is judged on.
    """
    if folder is None:
        return [dead_leaves(seed) for seed in range(SCENES)]
    paths = photos_in(folder)[:LARGEST_SET]
    judged = {sha256_file(path) for path in judged_on}
    photos = []
    for path in paths:
        if sha256_file(path) in judged:
            raise SamEdgeError(
                f"{path} is among the photos that the bundle is judged on; calibrate on others"
            )
        try:
            photos.append(read_image(path))
        except ImageError as error:
            raise SamEdgeError(f"calibration: {error}") from error
    if all(photo.std() < FLAT for photo in photos):
        raise SamEdgeError(
            f"{folder}: {len(photos)} of {len(photos)} pictures have one colour; calibrate on "
            "photos like those you will segment, or leave --calibration out"
        )
    return photos


def fingerprint(photos: Sequence[NDArray[np.uint8]]) -> str:
    """Return a sha256 of a calibration set's pixels."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(repr(photo.shape).encode() + np.ascontiguousarray(photo).tobytes())
    return digest.hexdigest()


def dead_leaves(seed: int, height: int = 683, width: int = 1024) -> NDArray[np.uint8]:
    """Draw discs and boxes over one another, with radii by an inverse cube law, shaded and noisy.

    Source of the model: Lee, Mumford and Huang, "Occlusion Models for Natural Images" (2001).

    Args:
        seed: the same seed draws the same scene.
        height: in pixels.
        width: in pixels.

    Returns:
        ``(height, width, 3)`` uint8 RGB.
    """
    rng = np.random.default_rng([seed, 20_240])
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    scene = np.empty((height, width, 3), np.float32)
    scene[:] = rng.uniform(20, 235, 3)
    smallest, largest = 6.0, 0.5 * width
    # The inverse of the cumulative distribution of radii with density r ** -3, largest first:
    # what is drawn late lies in front, and small things would not show behind large ones.
    share = rng.uniform(0, 1, 400)
    radii = 1 / np.sqrt(smallest**-2 - share * (smallest**-2 - largest**-2))
    for radius in np.sort(radii)[::-1]:
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        top, left = max(0, int(y - radius)), max(0, int(x - radius))
        part = np.s_[top : int(y + radius) + 1, left : int(x + radius) + 1]
        dy, dx = rows[part] - y, columns[part] - x
        angle, flat = rng.uniform(0, np.pi), rng.uniform(0.4, 1)
        u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        if rng.random() < 0.6:
            inside = u**2 + (v / flat) ** 2 < radius**2
        else:
            inside = (np.abs(u) < 0.7 * radius) & (np.abs(v) < 0.7 * flat * radius)
        wave = np.sin(rng.uniform(0.02, 1.2) * u + rng.uniform(0, 6))
        shade = rng.uniform(-0.4, 0.4) * u / radius * 60 + rng.uniform(0, 25) * wave
        colour = rng.uniform(0, 255, 3).astype(np.float32)
        scene[part][inside] = (colour + shade[..., None])[inside]
    scene += rng.normal(0, rng.uniform(1, 8), scene.shape).astype(np.float32)
    picture: NDArray[np.uint8] = scene.clip(0, 255).round().astype(np.uint8)
    return picture


def measure_ranges(
    graph: onnx.ModelProto,
    images: Sequence[NDArray[np.uint8]],
    prepare: Callable[[NDArray[np.uint8]], Float32],
    save: Callable[[onnx.ModelProto, Path], object],
    directory: Path,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, tuple[float, float]]:
    """Run the float graph and note the smallest and largest value of each activation.

    Args:
        graph: the float encoder; it is not changed.
        images: photos, ``(H, W, 3)`` uint8 RGB each.
        prepare: makes its input ``image`` from one.
        save: writes a graph to a path.
        directory: where it may write.
        progress: told what is being done.

    Returns:
        As ``Recipe``'s ``ranges``.
    """
    names = tensors_to_range(graph)
    wanted = set(names)
    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    nodes = []
    for node in watched.graph.node:
        nodes.append(node)
        for name in wanted.intersection(node.output):
            # Right behind its producer: at the end, every activation would be kept until then.
            for kind in ("ReduceMin", "ReduceMax"):
                output = f"{name}_{kind}"
                nodes.append(helper.make_node(kind, [name], [output], keepdims=0))
                watched.graph.output.append(
                    helper.make_tensor_value_info(output, TensorProto.FLOAT, [])
                )
    del watched.graph.node[:]
    watched.graph.node.extend(nodes)
    path = directory / "watched.onnx"
    save(watched, path)
    session = _in_order(path)
    outputs = [f"{name}_{kind}" for name in names for kind in ("ReduceMin", "ReduceMax")]
    found: dict[str, tuple[float, float]] = {}
    for number, image in enumerate(images, 1):
        progress(f"calibrating on photo {number} of {len(images)}")
        answers = session.run(outputs, {"image": prepare(image)})
        values = dict(zip(outputs, map(float, answers), strict=True))
        for name in names:
            low, high = values[f"{name}_ReduceMin"], values[f"{name}_ReduceMax"]
            before = found.get(name, (low, high))
            found[name] = min(before[0], low), max(before[1], high)
    return found


def _in_order(path: Path) -> ort.InferenceSession:
    """Open a graph to run in its own order, which takes half the memory that the engine's does.

    Left alone, the engine runs the graph first and the range of every activation last.

    Raises:
        MissingDependencyError: if ONNX Runtime is not installed.
    """
    choose_engine("onnxruntime")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3  # as the adapter has it
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.enable_mem_reuse = options.enable_mem_pattern = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_free_dimension_override_by_name("batch", 1)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
