"""What a user would ask of a scene: clicks and boxes, and every mask that answers them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import scenes
from numpy.typing import NDArray

LEVELS = 3
SCALED_UP = 384  # pixels; larger scenes are drawn smaller
SMALLEST = 0.003  # of the picture; smaller visible remains are not asked for
# How probable it is, beside the whole object's 1, that a click means a part of it or its group.
# People outline parts more often than groups: with equal weights the model's top-scored mask was
# too large on photographs 2.5 times as often as too small.
PART_WEIGHT, GROUP_WEIGHT = 0.5, 0.12


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes of one size with ``K`` prompts each; padding is bottom and right, as SAM's.

    Attributes:
        images: ``[B, S, S, 3]`` uint8 RGB.
        sizes: ``[B, 2]`` int64, the rows and columns that hold the picture.
        points: ``[B, K, 2, 2]`` float32 (x, y): a click and a padding point, or a box's corners.
        labels: ``[B, K, 2]`` int64: ``[1, -1]`` for a click, ``[2, 3]`` for a box.
        targets: ``[B, K, 3, S/4, S/4]`` uint8, 255 inside: the masks that answer the prompt.
        belief: ``[B, K, 3]`` float32, how probable each target is; zero where there is none. The
            first target is the main one.
    """

    images: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    targets: NDArray[np.uint8]
    belief: NDArray[np.float32]


def innermost(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """The pixel (x, y) farthest from the mask's border; the picture's frame is a border, too."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x), int(y)


def _click(rng: scenes.Rng, mask: NDArray[np.uint8]) -> tuple[int, int]:
    """A click as people make it: in the middle half of the time, else anywhere inside."""
    if rng.random() < 0.5:
        return innermost(mask)
    inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) if rng.random() < 0.8 else mask
    choices = np.flatnonzero(inside)
    if not len(choices):
        return innermost(mask)
    y, x = divmod(int(choices[rng.integers(len(choices))]), mask.shape[1])
    return x, y


def _box(rng: scenes.Rng, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The mask's box as a person drags it: nearly tight, or up to a tenth off."""
    x, y, width, height = cv2.boundingRect(mask)
    sloppy = rng.choice([0.0, 0.02, 0.07])
    limit = 0.08 * max(mask.shape)
    noise = np.clip(rng.normal(0, sloppy, 4) * (width, height, width, height), -limit, limit)
    corners = np.array([x, y, x + width, y + height]) + noise
    rows, columns = mask.shape
    box: NDArray[np.float32] = np.clip(corners, 0, [columns, rows, columns, rows])
    return box.astype(np.float32)


def _choose(rng: scenes.Rng, scene: scenes.Scene, areas: dict[int, int], whole: list[int]) -> int:
    """A node to ask for: by the square root of its area, or what a random pixel shows."""
    if rng.random() < 0.1 or not whole:
        return int(rng.choice(list(areas)))
    if rng.random() < 0.12:
        leaf = int(scene.leaves.flat[rng.integers(scene.leaves.size)])
        for node in scene.ancestry(leaf):
            if scene.prominent[node] and node in areas:
                return node
    weight = np.sqrt([min(areas[node], 0.1 * scene.leaves.size) for node in whole])
    return int(rng.choice(whole, p=weight / weight.sum()))


def _piece(mask: NDArray[np.uint8], x: int, y: int) -> NDArray[np.uint8]:
    """The connected piece of a mask that holds a pixel."""
    labels = cv2.connectedComponents(mask, connectivity=4)[1]
    piece: NDArray[np.uint8] = np.where(labels == labels[y, x], mask, 0).astype(np.uint8)
    return piece


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt and what answers it.

    Attributes:
        points: ``(2, 2)`` float32 (x, y).
        labels: ``(1, -1)`` for a click and a padding point, ``(2, 3)`` for a box's corners.
        masks: the answers, ``(H, W)`` uint8, the main one first.
        belief: how probable each is.
    """

    points: NDArray[np.float32]
    labels: tuple[int, int]
    masks: list[NDArray[np.uint8]]
    belief: list[float]


def ask(rng: scenes.Rng, scene: scenes.Scene, count: int, boxes: int) -> list[Question]:
    """Draw prompts for a scene, the last ``boxes`` of them boxes, the others single clicks.

    A background region that objects cut into pieces is asked for by the piece, as people outline
    what hangs together; the whole of it is the less probable answer. An object that is cut stays
    one object.
    """
    cache: dict[int, NDArray[np.uint8]] = {}

    def mask_of(node: int) -> NDArray[np.uint8]:
        if node not in cache:
            cache[node] = scene.mask(node)
        return cache[node]

    visible = np.bincount(scene.leaves.ravel(), minlength=len(scene.parents))
    totals = visible.copy()
    for node in range(len(scene.parents)):
        for ancestor in scene.ancestry(node)[1:]:
            totals[ancestor] += visible[node]
    smallest = max(12, SMALLEST * scene.leaves.size)
    areas = {n: int(a) for n, a in enumerate(totals) if a >= smallest}
    whole = [node for node in areas if scene.prominent[node]]
    questions = []
    for index in range(count):
        node = _choose(rng, scene, areas, whole)
        mask = mask_of(node)
        if node < scene.regions:
            choices = np.flatnonzero(mask)
            y, x = divmod(int(choices[rng.integers(len(choices))]), mask.shape[1])
            piece = _piece(mask, x, y)
            mask = piece if cv2.countNonZero(piece) >= smallest else mask
        if index >= count - boxes:
            corners = _box(rng, mask).reshape(2, 2)
            questions.append(Question(corners, (2, 3), [mask], [1.0]))
            continue
        x, y = _click(rng, mask)
        chain = [n for n in scene.ancestry(int(scene.leaves[y, x])) if n in areas]
        main = next((n for n in chain if scene.prominent[n]), node)
        masks = [mask_of(main), *(mask_of(n) for n in chain if n != main)]
        parts = chain.index(main) if main in chain else 0
        weights = [1.0, *([PART_WEIGHT] * parts), *([GROUP_WEIGHT] * (LEVELS + 1))]
        if main < scene.regions:
            piece = _piece(masks[0], x, y)
            if cv2.countNonZero(piece) < 0.9 * cv2.countNonZero(masks[0]):
                masks.insert(0, piece)
                weights[1:1] = [GROUP_WEIGHT]
        masks = masks[:LEVELS]
        weights = weights[: len(masks)]
        belief = [weight / sum(weights) for weight in weights]
        points = np.array([[x, y], [0, 0]], np.float32)
        questions.append(Question(points, (1, -1), masks, belief))
    return questions


def draw_batch(rng: scenes.Rng, size: int, count: int, prompts: int, boxes: int) -> Batch:
    """Draw ``count`` scenes of longest side ``size`` with ``prompts`` prompts each.

    Large ones are drawn smaller, down to 0.6, and scaled up: so photographs come to a model, too.
    """
    low = size // 4
    images = np.zeros((count, size, size, 3), np.uint8)
    sizes = np.zeros((count, 2), np.int64)
    points = np.zeros((count, prompts, 2, 2), np.float32)
    labels = np.zeros((count, prompts, 2), np.int64)
    targets = np.zeros((count, prompts, LEVELS, low, low), np.uint8)
    belief = np.zeros((count, prompts, LEVELS), np.float32)
    for i in range(count):
        height = width = size
        if rng.random() < 0.5:
            short = int(rng.uniform(0.55, 1.0) * size) // 4 * 4
            height, width = (short, size) if rng.random() < 0.7 else (size, short)
        scale = rng.uniform(0.6, 1.0) if size > SCALED_UP else 1.0
        scene = scenes.draw_scene(rng, round(scale * height), round(scale * width))
        drawn = scene.image.shape[:2]
        images[i, :height, :width] = cv2.resize(scene.image, (width, height))
        sizes[i] = height, width
        for k, question in enumerate(ask(rng, scene, prompts, boxes)):
            points[i, k] = question.points * (width / drawn[1], height / drawn[0])
            labels[i, k] = question.labels
            for level, mask in enumerate(question.masks):
                small = cv2.resize(mask, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
                targets[i, k, level, : height // 4, : width // 4] = small
            belief[i, k, : len(question.belief)] = question.belief
    return Batch(images, sizes, points, labels, targets, belief)
