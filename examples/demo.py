"""Segment a real photo with the model in the box: by a point, by a box, and with a refinement.

    python examples/demo.py FOLDER

Writes overlays worth looking at and a table of times and memory into FOLDER. Needs no torch.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import sam_edge
from sam_edge.image import read_image
from sam_edge.overlay import draw_overlay

REPEATS = 5


def median_ms(call: Callable[[], object]) -> float:
    """Return the median time of a few calls, after one that warms up."""
    call()
    samples = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        samples.append(time.perf_counter() - start)
    return 1000 * sorted(samples)[REPEATS // 2]


def peak_megabytes() -> float:
    """Return the most memory this process has had resident (ru_maxrss: KiB on Linux)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    photo = Path(str(files("sam_edge") / "assets" / "photos" / "astronaut.jpg"))
    image = read_image(photo)

    start = time.perf_counter()
    model = sam_edge.load_model()
    embedding = model.encode_image(image)
    first_ms = 1000 * (time.perf_counter() - start)

    click = [(300, 420)]
    by_point = model.decode(embedding, points=click)
    box = (120, 5, 470, 505)
    by_box = model.decode(embedding, box=box, multimask=False)
    # A refinement gives the earlier answer back together with a correction.
    best = int(by_point.scores.argmax())
    correction = {"points": [*click, (230, 110)], "labels": [1, 1]}
    refined = model.decode(
        embedding, **correction, mask=by_point.low_res_logits[best], multimask=False
    )

    pictures = {
        "point": (by_point.masks[best : best + 1], sam_edge.Prompt.of(click)),
        "box": (by_box.masks, sam_edge.Prompt.of(box=box)),
        "refined": (refined.masks, sam_edge.Prompt.of(**correction)),
    }
    for name, (masks, prompt) in pictures.items():
        draw_overlay(image, list(masks), [prompt]).save(folder / f"{name}.png")

    rows = [
        ("open the model and encode the first photo", f"{first_ms:.0f} ms"),
        ("encode a photo", f"{median_ms(lambda: model.encode_image(image)):.0f} ms"),
        ("decode a click", f"{median_ms(lambda: model.decode(embedding, points=click)):.0f} ms"),
        ("decode a box", f"{median_ms(lambda: model.decode(embedding, box=box)):.0f} ms"),
        ("peak memory of this process", f"{peak_megabytes():.0f} MB"),
    ]
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    report = (
        f"{model.spec.variant}, {model.spec.image_size} px, {model.spec.precision}, "
        f"on {model.engine}; medians of {REPEATS}, this machine, now\n\n"
        f"| step | cost |\n|---|---|\n{table}\n"
    )
    (folder / "report.md").write_text(report, encoding="utf-8")
    sys.stdout.write(report + "\n" + "\n".join(f"{folder / name}.png" for name in pictures) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
