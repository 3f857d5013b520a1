"""Measure ``nano`` on scenes it never saw and on photographs, beside what needs no network.

Every trial is one region and two questions: a click on its innermost pixel, and its tight box.
The baselines answer the same trials, each with the one setting, of a small grid, that is best for
it on these very trials: they are given every advantage.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from model import NanoModel, preprocess
from numpy.typing import NDArray
from prompts import ask, innermost
from safetensors.torch import load_file
from scenes import draw_scene
from torch.nn import functional as F

SCENE_SEED = 770_077  # set aside: neither the trainer nor its validation draws from it
SCENE_SIDE = 384
SMALLEST_REGION = 0.01  # of a photo
SAME_SIZE = 1.2  # a chosen mask this much larger than the best one is too large
PROMPTS_AT_ONCE = 32  # bounds memory


@dataclass(frozen=True, slots=True)
class Trial:
    """One question about a picture and its answer.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        points: ``(N, 2, 2)`` float32; each a click and a padding point, or a box's corners.
        labels: ``(N, 2)`` int64, ``[1, -1]`` or ``[2, 3]``.
        masks: ``(N, H, W)`` bool.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_]


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union; two empty masks agree."""
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def scene_trials(count: int) -> Iterable[Trial]:
    """Fresh scenes with four clicks and four boxes each."""
    for index in range(count):
        rng = np.random.default_rng([SCENE_SEED, index])
        short = int(rng.uniform(0.6, 1.0) * SCENE_SIDE)
        height, width = (short, SCENE_SIDE) if rng.random() < 0.7 else (SCENE_SIDE, short)
        scene = draw_scene(rng, height, width)
        questions = ask(rng, scene, 8, 4)
        yield Trial(
            scene.image,
            np.stack([question.points for question in questions]),
            np.array([question.labels for question in questions]),
            np.stack([question.masks[0] > 0 for question in questions]),
        )


def photo_trials(folder: Path, box_annotators: int) -> Iterable[Trial]:
    """Regions that people drew, from 1 % of the photo up: clicks on every annotator's.

    Boxes come from the first ``box_annotators`` only, because GrabCut takes its time.

    Reads ``NAME.jpg`` and ``NAME.npz``, whose ``regions`` ``(annotators, H, W)`` are label maps, as
    the Berkeley Segmentation Data Set has them.
    """
    for path in sorted(folder.glob("*.jpg")):
        with np.load(path.with_suffix(".npz")) as file:
            maps = file["regions"]
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        regions = [
            [
                (labels == label).astype(np.uint8)
                for label in np.unique(labels)
                if np.mean(labels == label) >= SMALLEST_REGION
            ]
            for labels in maps
        ]
        clicked = [region for annotator in regions for region in annotator]
        boxed = [region for annotator in regions[:box_annotators] for region in annotator]
        points = []
        for region in clicked:
            column, row = innermost(region * 255)
            points.append([[column, row], [0, 0]])
        for region in boxed:
            x, y, width, height = cv2.boundingRect(region)
            points.append([[x, y], [x + width, y + height]])
        yield Trial(
            np.asarray(image, np.uint8),
            np.array(points, np.float32),
            np.array([[1, -1]] * len(clicked) + [[2, 3]] * len(boxed)),
            np.stack(clicked + boxed) > 0,
        )


# ---------------------------------------------------------------- nano


@torch.no_grad()
def predict(
    model: NanoModel, trial: Trial, size: int
) -> Iterator[tuple[NDArray[np.bool_], list[float]]]:
    """For each prompt masks ``(4, H, W)`` in the picture's pixels and their four scores.

    As SAM: longest side to ``size``, normalise, pad; low-resolution logits go up to the frame,
    lose the padding and go to the picture.
    """
    height, width = trial.image.shape[:2]
    scale = size / max(height, width)
    rows, columns = int(height * scale + 0.5), int(width * scale + 0.5)
    shrinks = scale < 1
    resized = cv2.resize(
        trial.image, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    padded = np.zeros((1, size, size, 3), np.uint8)
    padded[0, :rows, :columns] = resized
    x = preprocess(torch.from_numpy(padded), torch.tensor([[rows, columns]]))
    stretch = torch.tensor([columns / width, rows / height])
    points = torch.from_numpy(trial.points) * stretch
    embeddings = model.image_encoder(x)
    kinds = torch.from_numpy(trial.labels)
    for start in range(0, len(points), PROMPTS_AT_ONCE):
        part = slice(start, start + PROMPTS_AT_ONCE)
        low, scores = model.decode(embeddings, points[None, part], kinds[None, part])
        for logits, score in zip(low[0], scores[0].tolist(), strict=True):
            frame = F.interpolate(logits[None], (size, size), mode="bilinear")
            frame = frame[:, :, :rows, :columns]
            masks = F.interpolate(frame, (height, width), mode="bilinear")[0] > 0
            yield masks.numpy(), score


def judge(
    masks: NDArray[np.bool_], scores: list[float], wanted: NDArray[np.bool_], clicked: bool
) -> dict[str, float]:
    """What the four masks ``(4, H, W)`` and scores that answer one prompt are worth."""
    each = [iou(mask, wanted) for mask in masks]
    top, best = (1 + int(np.argmax(three)) for three in (scores[1:], each[1:]))
    taken = top if clicked else 0
    ratio = (np.count_nonzero(masks[top]) + 1) / (np.count_nonzero(masks[best]) + 1)
    return {
        "top": each[top],
        "best": each[best],
        "single": each[0],
        "top_too_large": float(ratio > SAME_SIZE),
        "top_too_small": float(ratio < 1 / SAME_SIZE),
        "score_error": abs(scores[taken] - each[taken]),
    }


def measure(model: NanoModel, trials: Iterable[Trial], size: int) -> dict[str, float]:
    """Mean IoU over all trials, clicks and boxes apart, and how honest the scores are.

    ``*_se`` is a mean's standard error, from the spread between pictures: trials on the same
    picture are not independent.
    """
    values: dict[str, list[list[float]]] = {}  # by what is measured, then by picture
    for trial in trials:
        noted: dict[str, list[float]] = {}
        answers = predict(model, trial, size)
        for (masks, scores), label, wanted in zip(answers, trial.labels, trial.masks, strict=True):
            clicked = label[0] == 1
            for key, value in judge(masks, scores, wanted, clicked).items():
                noted.setdefault(f"{'click' if clicked else 'box'}_{key}", []).append(value)
        for key, part in noted.items():
            values.setdefault(key, []).append(part)
    result: dict[str, float] = {}
    for key, pictures in sorted(values.items()):
        result[key] = round(float(np.mean(np.concatenate(pictures))), 4)
        if key.endswith(("_top", "_best", "_single")):
            spread = np.std([np.mean(part) for part in pictures], ddof=1)
            result[f"{key}_se"] = round(float(spread / np.sqrt(len(pictures))), 4)
    clicks, boxes = (sum(map(len, values[key])) for key in ("click_top", "box_top"))
    return result | {"clicks": clicks, "boxes": boxes}


# ---------------------------------------------------------------- without a network


def flood_fill(image: NDArray[np.uint8], x: int, y: int, spread: int) -> NDArray[np.bool_]:
    """What a paint program's magic wand selects within ``spread`` grey values of the click."""
    mask = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (255 << 8)
    cv2.floodFill(image.copy(), mask, (x, y), 0, (spread,) * 3, (spread,) * 3, flags)
    return np.asarray(mask[1:-1, 1:-1] > 0)


def grab_cut(image: NDArray[np.uint8], box: NDArray[np.float32], rounds: int) -> NDArray[np.bool_]:
    """GrabCut from a box; the box itself where it finds nothing to cut."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (int(v) for v in box.ravel())
    inside = np.zeros((height, width), bool)
    inside[y0:y1, x0:x1] = True
    if inside.all():  # it needs some background to learn from
        return inside
    mask = np.zeros((height, width), np.uint8)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    rectangle = (x0, y0, x1 - x0, y1 - y0)
    cv2.grabCut(image, mask, rectangle, background, foreground, rounds, cv2.GC_INIT_WITH_RECT)
    found = (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)
    return found if found.any() else inside


def _best(
    name: str, settings: Sequence[Any], trials: Sequence[Trial], label: int,
    answer: Callable[[Trial, Any], Callable[[NDArray[np.float32]], NDArray[np.bool_]]],
) -> dict[str, Any]:  # fmt: skip
    scores = {}
    for setting in settings:
        values = []
        for trial in trials:
            reply = answer(trial, setting)
            values += [
                iou(reply(points), wanted)
                for points, kind, wanted in zip(
                    trial.points, trial.labels, trial.masks, strict=True
                )
                if kind[0] == label
            ]
        scores[str(setting)] = round(float(np.mean(values)), 4)
        print(f"{name} {setting}: {scores[str(setting)]}", flush=True)
    setting = max(scores, key=lambda key: scores[key])
    return {"iou": scores[setting], "setting": setting, "tried": scores}


def baselines(trials: Sequence[Trial]) -> dict[str, Any]:
    """Flood fill and Felzenszwalb for clicks; GrabCut and the filled box for boxes."""
    from skimage.segmentation import felzenszwalb

    def flood(trial: Trial, setting: tuple[int, int]) -> Callable[..., NDArray[np.bool_]]:
        blur, spread = setting
        image = np.asarray(cv2.medianBlur(trial.image, blur) if blur else trial.image)
        return lambda points: flood_fill(image, int(points[0, 0]), int(points[0, 1]), spread)

    def graph(trial: Trial, setting: tuple[int, float]) -> Callable[..., NDArray[np.bool_]]:
        scale, sigma = setting
        labels = felzenszwalb(trial.image, scale=scale, sigma=sigma, min_size=200)
        return lambda points: labels == labels[int(points[0, 1]), int(points[0, 0])]

    def cut(trial: Trial, rounds: int) -> Callable[..., NDArray[np.bool_]]:
        return lambda points: grab_cut(trial.image, points, rounds)

    def filled(trial: Trial, _: int) -> Callable[..., NDArray[np.bool_]]:
        def reply(points: NDArray[np.float32]) -> NDArray[np.bool_]:
            mask = np.zeros(trial.image.shape[:2], bool)
            (x0, y0), (x1, y1) = points.astype(int)
            mask[y0:y1, x0:x1] = True
            return mask

        return reply

    floods = [(blur, spread) for blur in (0, 5, 9) for spread in (12, 20, 30, 40, 55)]
    graphs = [(scale, sigma) for scale in (200, 500, 1000, 2000) for sigma in (0.8, 1.5)]
    return {
        "flood fill, click": _best("flood fill", floods, trials, 1, flood),
        "Felzenszwalb, click": _best("Felzenszwalb", graphs, trials, 1, graph),
        "box filled, box": _best("box filled", [0], trials, 2, filled),
        "GrabCut, box": _best("GrabCut", [1, 3, 5], trials, 2, cut),
    }


def table(result: dict[str, Any]) -> str:
    """The evaluation as a Markdown table."""
    lines = [
        "| what | size | click, top-scored | click, best of 3 | box | box, top-scored of 3 |",
        "|---|---|---|---|---|---|",
    ]
    for what in ("scenes", "photos"):
        for size, row in result.get(what, {}).items():
            lines.append(
                f"| nano, {what} | {size} | {row['click_top']:.3f} | {row['click_best']:.3f} "
                f"| {row['box_single']:.3f} | {row['box_top']:.3f} |"
            )
    for name, row in result.get("baselines", {}).items():
        cells = f"{row['iou']:.3f} | - | -" if "click" in name else f"- | - | {row['iou']:.3f}"
        lines.append(f"| {name}, photos | - | {cells} | - |")
    return "\n".join(lines)


def trial_arguments(description: str | None, out: str, scenes: int) -> argparse.ArgumentParser:
    """Return a parser of what every evaluation is told.

    Args:
        description: of the command.
        out: name of the JSON file that it writes unless told otherwise.
        scenes: how many fresh scenes it draws unless told otherwise.
    """
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--weights", type=Path, default=here / "nano.safetensors")
    parser.add_argument("--photos", type=Path, help="folder of NAME.jpg with NAME.npz")
    parser.add_argument("--scenes", type=int, default=scenes, help="how many fresh scenes")
    parser.add_argument("--out", type=Path, default=here / out)
    return parser


def main() -> None:
    """Print the table and write the JSON."""
    parser = trial_arguments(__doc__, "evaluation.json", 600)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384, 512])
    parser.add_argument("--baselines", type=Path, help="take the baselines from this earlier JSON")
    parser.add_argument("--box-annotators", type=int, default=1, help="whose regions get a box")
    parser.add_argument("--only-baselines", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)

    photos = list(photo_trials(options.photos, options.box_annotators)) if options.photos else []
    result: dict[str, Any] = {}
    if options.baselines:
        result["baselines"] = json.loads(options.baselines.read_text())["baselines"]
    elif photos:
        result["baselines"] = baselines(photos)
    if not options.only_baselines:
        model = NanoModel().eval()
        model.load_state_dict(load_file(options.weights), strict=False)
        fresh = list(scene_trials(options.scenes))
        for size in options.sizes:
            result.setdefault("scenes", {})[str(size)] = measure(model, fresh, size)
            if photos:
                result.setdefault("photos", {})[str(size)] = measure(model, photos, size)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
