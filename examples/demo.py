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
from sam_edge.image import RgbImage, read_image
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


def photo(name: str) -> RgbImage:
    """Read one of the photos in the box."""
    return read_image(str(files("sam_edge") / "assets" / "photos" / name))


def main(folder: Path) -> None:
    """Segment three photos and write what came out."""
    folder.mkdir(parents=True, exist_ok=True)
    image = photo("chelsea.jpg")
    start = time.perf_counter()
    model = sam_edge.load_model()
    embedding = model.encode_image(image)
    first_ms = 1000 * (time.perf_counter() - start)

    # One click: three candidates come back, and the best-scored one is drawn.
    click = [(170, 120)]
    by_point = model.decode(embedding, points=click)
    draw_overlay(image, [by_point.best], [sam_edge.Prompt.of(click)]).save(folder / "point.png")

    coffee, saucer = photo("coffee.jpg"), (60, 60, 540, 380)
    by_box = model.decode(model.encode_image(coffee), box=saucer, multimask=False)
    draw_overlay(coffee, list(by_box.masks), [sam_edge.Prompt.of(box=saucer)]).save(
        folder / "box.png"
    )

    # A refinement gives the earlier answer back together with one more click.
    astronaut, suit, more = photo("astronaut.jpg"), (30, 150, 400, 510), [(230, 330)]
    portrait = model.encode_image(astronaut)
    rough = model.decode(portrait, box=suit, multimask=False)
    refined = model.decode(
        portrait, points=more, box=suit, mask=rough.low_res_logits[0], multimask=False
    )
    draw_overlay(astronaut, list(refined.masks), [sam_edge.Prompt.of(more, box=suit)]).save(
        folder / "refined.png"
    )

    eye = (130, 80, 210, 160)
    rows = [
        ("open the model and encode the first photo", f"{first_ms:.0f} ms"),
        ("encode a photo", f"{median_ms(lambda: model.encode_image(image)):.0f} ms"),
        ("decode a click", f"{median_ms(lambda: model.decode(embedding, points=click)):.0f} ms"),
        (
            "decode a box",
            f"{median_ms(lambda: model.decode(embedding, box=eye)):.0f} ms",
        ),
        ("peak memory of this process", f"{peak_megabytes():.0f} MB"),
    ]
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    report = (
        f"{model.spec.variant}, {model.spec.image_size} px, {model.spec.precision}, "
        f"on {model.engine}; medians of {REPEATS}, this machine, now\n\n"
        f"| step | cost |\n|---|---|\n{table}\n"
    )
    (folder / "report.md").write_text(report, encoding="utf-8")
    sys.stdout.write(
        report + "\n" + "\n".join(f"{path}" for path in sorted(folder.glob("*.png"))) + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
