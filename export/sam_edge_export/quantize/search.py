"""Every recipe on this CPU: time, memory, size and masks, side by side."""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam_edge.compute import Compute
from sam_edge.fidelity import MASKS_ALONE, compare, truth_of
from sam_edge.files import json_text, replacing, write_text
from sam_edge.gates import installed_engines
from sam_edge.loading import open_model
from sam_edge.new_bundle import write_manifest
from sam_edge.photos import photos_in
from sam_edge.spec import IMAGE_ENCODER
from sam_edge_export import trace
from sam_edge_export.load import load_checkpoint
from sam_edge_export.manifest import added, blank, with_graph
from sam_edge_export.quantize.calibrate import calibration_photos
from sam_edge_export.quantize.encoder import source, write_encoder
from sam_edge_export.quantize.fresh import Cost, Request, cost_of
from sam_edge_export.quantize.recipes import RECIPES
from sam_edge_export.reference import reference_model
from sam_edge_runtimes import FLOAT32, FORMATS, EngineError, engine_version, formats_of
from sam_edge_runtimes.cpu import machine

logger = logging.getLogger("sam_edge")

ROUNDS, RUNS = 3, 3

REPORT_FILES = ("recipes.json", "recipes.png")


@dataclass(frozen=True, slots=True)
class Row:
    """One encoder on one engine in one format, every product of its recipe in integers.

    Attributes:
        engine: its name.
        recipe: a name from ``RECIPES``, or how a float encoder is stored.
        seconds: median of three fresh processes' median runs.
        peak_bytes: that process's peak RSS, None where the system does not tell.
        size_bytes: of the encoder's file.
        mask_iou_mean: with float32 PyTorch's masks, the decoder in float32.
        mask_iou_p05: its 5th percentile.
        best: no other row is as good in all of time, memory, size and mean IoU.
        compute: the format of the products that are not in integers.
    """

    engine: str
    recipe: str
    seconds: float
    peak_bytes: int | None
    size_bytes: int
    mask_iou_mean: float
    mask_iou_p05: float
    best: bool = False
    compute: str = FLOAT32

    @property
    def name(self) -> str:
        """The recipe, and the format if it is a reduced one."""
        return self.recipe if self.compute == FLOAT32 else f"{self.recipe} {FORMATS[self.compute]}"

    @property
    def passes(self) -> bool:
        """Whether the masks pass int8's gate with no product back in float."""
        limits = MASKS_ALONE
        mean, low = limits.mask_iou_mean, limits.mask_iou_p05
        return self.mask_iou_mean >= mean and self.mask_iou_p05 >= low


def search(
    checkpoint: Path,
    *,
    image_size: int | None = None,
    images: Path | None = None,
    calibration: Path | None = None,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Measure every recipe of every engine in every format, and float32 beside them.

    Args:
        checkpoint: the file.
        image_size: None takes the checkpoint's own.
        images: photos that masks are compared on; None takes those in the box.
        calibration: a folder of other photos; None draws scenes.
        engines: None takes every installed one.
        threads: for the timed runs; None leaves it to the engine.
        progress: told what is being done.

    Returns:
        A row an encoder, engine and format, ``best`` marked. What an engine refuses is left out,
        with a line in the log.
    """
    judged_on = photos_in(images)
    photos = calibration_photos(calibration, judged_on)
    progress(f"reading {checkpoint.name}")
    sam, _ = load_checkpoint(checkpoint, "auto", image_size)
    spec = blank(sam, checkpoint, "fp32", "native")
    truth = truth_of(reference_model(sam, spec), judged_on, spec, progress)
    rows: list[Row] = []
    requests: list[Request] = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        decoder = with_graph(spec, work, trace.decoder(sam, "native"), progress)
        progress("tracing the encoder")
        graph = trace.traced(trace.encoder(sam), work)
        made_from = source(graph, spec, photos, "", "here", work, progress)
        image = work / "image.npy"
        np.save(image, made_from.photo)
        for engine in engines or installed_engines():
            own = {recipe.name: recipe for recipe in RECIPES if recipe.engine == engine}
            for recipe in (*trace.STORED, *own):
                path = work / f"{engine}.{recipe}.onnx"
                external: tuple[str, ...] = ()
                if recipe in trace.STORED:
                    external = trace.save_graph(trace.copied(graph), path, {}, recipe)
                else:
                    write_encoder(made_from, own[recipe], (), path, {})
                tried = added(decoder, path, IMAGE_ENCODER, (engine,), "int8", external)
                write_manifest(work, tried)
                files = [path, *(work / other for other in external)]
                size = sum(file.stat().st_size for file in files)
                for compute in formats_of(engine):
                    progress(f"comparing {recipe} on {engine} in {compute}")
                    formats = Compute({IMAGE_ENCODER: compute}, "to be measured")
                    try:
                        opened = open_model(work, engine, formats, cache=False)
                        masks = compare(truth, opened, engine_version(engine), progress)
                    except EngineError as error:
                        logger.warning("%s in %s is left out: %s", recipe, compute, error)
                        continue
                    ious = masks.mask_iou_mean, masks.mask_iou_p05
                    rows.append(Row(engine, recipe, 0, None, size, *ious, compute=compute))
                    requests.append(Request(engine, str(path), str(image), RUNS, threads, compute))
        costs: list[list[Cost]] = [[] for _ in rows]
        # In turn, because a machine's speed drifts: what drifts hits every row alike.
        for turn in range(ROUNDS):
            for row, request, found in zip(rows, requests, costs, strict=True):
                progress(f"timing {row.name} on {row.engine}, {turn + 1} of {ROUNDS}")
                found.append(cost_of(request))
    return marked(
        [
            replace(
                row,
                seconds=statistics.median(cost.seconds for cost in found),
                peak_bytes=found[0].peak_bytes,
            )
            for row, found in zip(rows, costs, strict=True)
        ]
    )


def marked(rows: Sequence[Row]) -> list[Row]:
    """Mark the Pareto front of time, memory, size and mean IoU."""

    def costs(row: Row) -> tuple[float, ...]:
        return row.seconds, row.peak_bytes or 0, row.size_bytes, -row.mask_iou_mean

    def beaten(row: Row) -> bool:
        return any(
            costs(other) != costs(row)
            and all(a <= b for a, b in zip(costs(other), costs(row), strict=True))
            for other in rows
        )

    return [replace(row, best=not beaten(row)) for row in rows]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text, the front marked with a star."""
    lines = [
        f"on {machine()}",
        f"  {'engine':<12} {'encoder':<20} {'ms':>8} {'times fp32':>10} {'peak MB':>8} {'MB':>7} "
        f"{'mask IoU':>9} {'5th %':>6}",
    ]
    plain = {(row.engine, row.compute): row.seconds for row in rows if row.recipe == "fp32"}
    for row in rows:
        peak = "?" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}"
        verdict = "" if row.passes else "  under the gate: some products would go back to float"
        faster = plain[row.engine, FLOAT32] / row.seconds
        if row.recipe not in trace.STORED and (better := _beaten_by(row, plain)):
            verdict += f"  slower than fp32 in {better}"
        lines.append(
            f"{'*' if row.best else ' '} {row.engine:<12} {row.name:<20} "
            f"{1e3 * row.seconds:8.1f} {faster:9.2f}x {peak:>8} "
            f"{row.size_bytes / 1e6:7.1f} {row.mask_iou_mean:9.4f} {row.mask_iou_p05:6.3f}{verdict}"
        )
    lines.append("* no other is as good in all of time, memory, size and mask IoU")
    return "\n".join(lines) + "\n"


def _beaten_by(row: Row, plain: Mapping[tuple[str, str], float]) -> str | None:
    """Return the reduced format in which the float32 file is faster on the same engine."""
    reduced = {
        compute: seconds
        for (engine, compute), seconds in plain.items()
        if engine == row.engine and compute != FLOAT32 and seconds < row.seconds
    }
    return min(reduced, key=reduced.__getitem__) if reduced else None


def write_report(rows: Sequence[Row], folder: Path) -> None:
    """Write ``recipes.json`` and ``recipes.png``.

    Raises:
        OSError: if they cannot be written.
    """
    report = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    write_text(folder / REPORT_FILES[0], json_text(report, indent=1))
    with replacing(folder / REPORT_FILES[1]) as partial:
        plot(rows).save(partial, format="PNG")


COLOURS = {"onnxruntime": (31, 119, 180), "openvino": (214, 96, 0)}
GREY, BLACK = (150, 150, 150), (30, 30, 30)


def plot(rows: Sequence[Row], width: int = 960, height: int = 540) -> Image.Image:
    """Draw mean IoU over time, the front filled, the gate dashed."""
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(14)
    left, right, top, bottom = 80, width - 30, 50, height - 60
    slowest = 1.25 * max(row.seconds for row in rows)
    gate = MASKS_ALONE.mask_iou_mean
    lowest = min(gate, *(row.mask_iou_mean for row in rows)) - 0.005

    def place(seconds: float, iou: float) -> tuple[float, float]:
        return (
            left + (right - left) * seconds / slowest,
            bottom - (bottom - top) * (iou - lowest) / (1.002 - lowest),
        )

    draw.line([(left, top), (left, bottom), (right, bottom)], fill=BLACK)
    for part in range(6):
        x, _ = place(slowest * part / 5, 1)
        draw.text((x, bottom + 8), f"{1e3 * slowest * part / 5:.3g}", GREY, font, anchor="ma")
        iou = lowest + (1 - lowest) * part / 5
        draw.text((left - 8, place(0, iou)[1]), f"{iou:.3f}", GREY, font, anchor="rm")
    draw.text(((left + right) / 2, height - 22), "ms an image", BLACK, font, anchor="mm")
    draw.text((left, 14), "mean mask IoU with float32 PyTorch", BLACK, font)
    draw.text((left, 31), "filled: none is as good in time, memory, size and IoU", GREY, font)
    level = place(0, gate)[1]
    for x in range(left, right, 12):
        draw.line([(x, level), (x + 5, level)], fill=GREY)
    draw.text((right, level + 3), "int8's gate", GREY, font, anchor="ra")
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: row.seconds):
        x, y = place(row.seconds, row.mask_iou_mean)
        colour = COLOURS.get(row.engine, BLACK)
        dot = (x - 5, y - 5, x + 5, y + 5)
        draw.ellipse(dot, fill=colour if row.best else "white", outline=colour, width=2)
        label = y - 9
        while any(abs(x - other) < 170 and abs(label - height_) < 16 for other, height_ in taken):
            label += 16
        taken.append((x, label))
        draw.line([(x, y), (x + 9, label + 9)], fill=colour)
        draw.text((x + 9, label), row.name, colour, font)
    for index, (engine, colour) in enumerate(COLOURS.items()):
        draw.text((right, 8 + 17 * index), engine, colour, font, anchor="ra")
    return picture
