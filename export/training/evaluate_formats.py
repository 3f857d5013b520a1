"""What int8 and reduced formats cost ``nano``: against its float32 masks, and the truth.

The same trials as ``evaluate.py``, on each engine, through the bundle in the box and through others
exported from the same file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from box import BOX
from evaluate import Trial, iou, photo_trials, scene_trials, trial_arguments
from numpy.typing import NDArray

from sam_edge import Prompt, load_model
from sam_edge.errors import EngineError
from sam_edge.gates import installed_engines
from sam_edge.model import Model
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.quantize.gate import Int8
from sam_edge_runtimes import formats_of


def prompts_of(trial: Trial) -> list[Prompt]:
    """Return a trial's questions: clicks and boxes."""
    return [
        Prompt.of([points[0]]) if labels[0] == 1 else Prompt.of(box=points.reshape(4))
        for points, labels in zip(trial.points, trial.labels, strict=True)
    ]


def answers(model: Model, trial: Trial) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
    """For each prompt masks ``(4, H, W)``, outputs 0 to 3, and the scores of the last three."""
    embedding = model.encode_image(trial.image)
    for prompt in prompts_of(trial):
        three, one = (model.decode_batch(embedding, [prompt], many)[0] for many in (True, False))
        yield np.concatenate([one.masks, three.masks]), three.scores


def compare(whole: Model, rounded: Model, trials: Iterable[Trial]) -> dict[str, float]:
    """Return means over all trials: IoU of the two models' masks, and of each with the truth."""
    values: dict[str, list[float]] = {}
    for trial in trials:
        pairs = zip(answers(whole, trial), answers(rounded, trial), strict=True)
        for wanted, label, both in zip(trial.masks, trial.labels, pairs, strict=True):
            kind = "click" if label[0] == 1 else "box"
            (whole_masks, _), (rounded_masks, _) = both
            values.setdefault("same", []).extend(
                iou(a, b) for a, b in zip(whole_masks, rounded_masks, strict=True)
            )
            for name, (masks, scores) in zip(("float32", "reduced"), both, strict=True):
                each = [iou(mask, wanted) for mask in masks]
                values.setdefault(f"{name}_{kind}_top", []).append(each[1 + scores.argmax()])
                values.setdefault(f"{name}_{kind}_best", []).append(max(each[1:]))
                values.setdefault(f"{name}_{kind}_single", []).append(each[0])
    means = {key: round(float(np.mean(value)), 4) for key, value in sorted(values.items())}
    return means | {
        "same_p05": round(float(np.percentile(values["same"], 5)), 4),
        "loss": max(
            round(means[key] - means[key.replace("float32", "reduced")], 4)
            for key in means
            if key.startswith("float32")
        ),
    }


def main() -> None:
    """Export both bundles, print the table and write the JSON."""
    # all models answer the same trials, so few tell their difference
    options = trial_arguments(__doc__, "formats.json", 120).parse_args()
    sets = {"scenes": list(scene_trials(options.scenes))}
    if options.photos:
        sets["photos"] = list(photo_trials(options.photos, 1))
    result: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory() as name:
        whole, rounded = Path(name) / "fp32", Path(name) / "int8"
        export_bundle(options.weights, whole)
        # Slow here or not, this is about masks.
        export_bundle(options.weights, rounded, precision="int8", int8=Int8(allow_slow=True))
        for engine in installed_engines():
            exact = load_model(whole, engine, cache=False, compute="float32")
            reduced = formats_of(engine)[1:]
            for bundle, compute in [
                (rounded, "float32"),
                (BOX, "float32"),
                *((path, other) for path in (whole, rounded, BOX) for other in reduced),
            ]:
                way = f"{'box' if bundle == BOX else bundle.name} in {compute}"
                model = load_model(bundle, engine, cache=False, compute=compute)
                for what, trials in sets.items():
                    try:
                        found = compare(exact, model, trials)
                    except EngineError as error:  # a processor may lack kernels of its products
                        print(f"{engine}, {way} is left out: {error}", flush=True)
                        break
                    result.setdefault(engine, {}).setdefault(way, {})[what] = found
                    print(
                        f"{engine}, {way}, {what}: masks equal float32's by {found['same']:.4f}, "
                        f"5th percentile {found['same_p05']:.4f}; largest loss of IoU with the "
                        f"truth {found['loss']:.4f}",
                        flush=True,
                    )
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
