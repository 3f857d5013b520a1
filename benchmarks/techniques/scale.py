"""What a million photos take: arithmetic over committed records, written into docs/scale.md.

    python benchmarks/techniques/scale.py

Nothing here is measured: encoders are from the records of techniques (``MODEL-int8.json``), the
decoder from ``benchmarks/results``, photos from end to end from ``batch.json``. Prices are assumed.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "scale.md"
DECODER = HERE.parent / "results" / "earlier/amd-epyc-2-cores-mobile_sam.json"
BEGIN, END = "<!-- arithmetic -->", "<!-- /arithmetic -->"

MODELS = ("mobile_sam", "vit_b", "vit_l", "vit_h")
PHOTOS = 1_000_000
SA1B_PHOTOS = 11_000_000
POINTS = 32 * 32
BOXES = 2
CORES = 64

EMBEDDING_BYTES = 256 * 64 * 64 * 4
"""Of float32 at 1024 pixels; what else is in the file is less than 0.1 % of it."""

PRICES = {
    "a rented machine by the month": 0.005,
    "a cloud's, interruptible": 0.015,
    "a cloud's, on demand": 0.05,
}
"""US dollars for an hour of one core: assumptions, to be replaced by an offer."""


def encoders() -> Iterator[dict[str, Any]]:
    """Yield what a photo's encoding takes: each model and precision on its faster engine."""
    for model in MODELS:
        paths = [HERE / f"{model}-int8-faster-cpu.json", HERE / f"{model}-int8.json"]
        path = next(path for path in paths if path.is_file())
        record = json.loads(path.read_text(encoding="utf-8"))
        for precision in ("float32", "int8"):
            rows = [
                {
                    "model": model,
                    "precision": precision,
                    "engine": row["engine"],
                    "core_seconds": record["threads"]
                    * statistics.median(min(turn["encode_s"]) for turn in row["rounds"]),
                    "gflop_s": gflop_s(record),
                }
                for row in record["rows"]
                if row["label"].startswith(f"{precision}, **as load_model")
            ]
            yield min(rows, key=lambda row: row["core_seconds"])


def gflop_s(record: Mapping[str, Any]) -> float:
    """Return how fast the machine of a record multiplied, beside its encoders."""
    speed: float = statistics.median(
        max(turn["sgemm_gflop_s"].values())
        for row in record["rows"]
        for turn in row["rounds"]
        if "sgemm_gflop_s" in turn
    )
    return speed


def decoder() -> dict[str, float]:
    """Return core seconds of a box, and of a point among many, with the decoder of all four."""
    record = json.loads(DECODER.read_text(encoding="utf-8"))
    found: dict[str, list[float]] = {"box": [], "point": []}
    for result in record["results"]:
        if result["subject"].startswith("bundle/"):
            for phase in result["phases"]:
                if phase["name"] == "decode":
                    median = statistics.median(phase["samples_seconds"])
                    seconds = result["threads"] * median / phase["prompts"]
                    found["box" if phase["prompts"] == 1 else "point"].append(seconds)
    return {name: min(times) for name, times in found.items()}


def text() -> str:
    """Return the page's part."""
    decode = decoder()
    rows = []
    costs = []
    for entry in encoders():
        boxes = entry["core_seconds"] + BOXES * decode["box"]
        everything = entry["core_seconds"] + POINTS * decode["point"]
        name = f"{entry['model']}, {entry['precision']}"
        rows.append(
            [
                name,
                entry["engine"],
                f"{entry['gflop_s']:.0f}",
                f"{entry['core_seconds']:.2f}",
                *(hours(PHOTOS * seconds) for seconds in (boxes, everything)),
                *(hours(SA1B_PHOTOS * seconds) for seconds in (boxes, everything)),
                f"{days(PHOTOS * boxes / CORES)}",
            ]
        )
        costs.append(
            [
                name,
                *(money(PHOTOS * boxes / 3600 * price) for price in PRICES.values()),
                *(money(PHOTOS * everything / 3600 * price) for price in PRICES.values()),
            ]
        )
    head = ["model", "engine", "GFLOP/s", "core seconds to encode", "million, 2 boxes"]
    head += ["million, everything", "SA-1B, 2 boxes", "SA-1B, everything"]
    head.append(f"million, 2 boxes, on {CORES} cores")
    parts = [
        "Core hours:\n\n" + markdown(head, rows),
        "Encoders are from `benchmarks/techniques/MODEL-int8-faster-cpu.json`, ViT-L's and ViT-H's "
        "from `MODEL-int8.json`, taken on processors of one name and two speeds: GFLOP/s are those "
        "of a product of float32 matrices on the two cores, in the same run, so ViT-H is that much "
        "faster on the faster one. The decoder, the same in all "
        f"four, from `benchmarks/results/earlier/{DECODER.name}`: "
        f"{1000 * decode['box']:.0f} ms of a core for a box, "
        f"{1000 * decode['point']:.1f} for each of the {POINTS} points of everything. "
        "Reading photos and writing masks comes on top.",
        measured(),
        f"Money for a million photos, at assumed prices of {price_list()} for an hour of a core:"
        "\n\n"
        + markdown(
            ["model", *(f"2 boxes, {kind}" for kind in PRICES)]
            + [f"everything, {kind}" for kind in PRICES],
            costs,
        ),
        f"An embedding of a SAM at 1024 pixels is {EMBEDDING_BYTES / 1e6:.1f} MB: "
        f"{PHOTOS * EMBEDDING_BYTES / 1e12:.1f} TB for a million photos, "
        f"{SA1B_PHOTOS * EMBEDDING_BYTES / 1e12:.0f} TB for SA-1B.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def measured() -> str:
    """Say what was measured from end to end, once it was."""
    path = HERE / "batch.json"
    if not path.is_file():
        return ""
    record = json.loads(path.read_text(encoding="utf-8"))
    killed = record["killed"]
    per_photo = killed["bytes"] / killed["photos"]
    others = [HERE / f"batch-{kind}.json" for kind in ("bfloat16", "amx-bfloat16")]
    records = {path: record} | {
        other: json.loads(other.read_text(encoding="utf-8")) for other in others if other.is_file()
    }
    return "\n\n".join(
        [
            *(rates(path, record) for path, record in records.items()),
            "`loop` is `encode_image` and `decode` one after another, with an engine thread a "
            f"core. {killed['photos']} photos, {killed['bad']} of them cut off, killed, stopped "
            f"and resumed, left {'the same files' if killed['equal'] else 'OTHER FILES'} as an "
            f"undisturbed run, byte for byte; those are {per_photo / 1e3:.1f} kB a photo, "
            f"{PHOTOS * per_photo / 1e9:.0f} GB for a million.",
        ]
    )


def rates(path: Path, record: Mapping[str, Any]) -> str:
    """Say how fast photos were done in one record of ``batch.py``."""
    speed, cores = record["speed"], record["machine"]["cores"]
    used = speed.get("core_ms_per_photo", {})
    head = ["", "photos/s", "of the loop", "core hours for a million"]
    rows = [
        [
            name,
            f"{rate:.1f}",
            f"{rate / speed['photos_per_s']['loop']:.2f}",
            hours(PHOTOS * cores / rate),
            *([f"{used[name]:.0f}"] if used else []),
        ]
        for name, rate in speed["photos_per_s"].items()
    ]
    if used:
        head.append("ms of a core used by a photo")
    how = f"{speed['runtime']} in {speed['compute']}, " if used else ""
    processor = record["machine"]["processor"] + (" with AMX" if "amx" in path.stem else "")
    text = (
        f"From end to end, nano, {how}two boxes a photo of 640 x 480, {cores} cores of "
        f"{processor}, "
        f"{speed['photos']} photos, medians (`benchmarks/techniques/{path.name}`):\n\n"
        + markdown(head, rows)
    )
    if used:
        text += (
            "\n\n`engines alone` runs the two graphs and nothing else: no batch can be more than "
            f"{speed['engines_alone_to_loop']:.2f} times as fast as the loop; "
            f"{cores} processes are {speed['processes_to_loop']:.2f} times as fast."
        )
    return text


def price_list() -> str:
    """Spell the prices."""
    return ", ".join(f"{price:g} USD ({kind})" for kind, price in PRICES.items())


def money(dollars: float) -> str:
    """Spell an amount."""
    return f"{dollars:,.0f} USD" if dollars >= 10 else f"{dollars:.1f} USD"


def hours(seconds: float) -> str:
    """Spell hours."""
    return f"{seconds / 3600:,.0f}"


def days(seconds: float) -> str:
    """Spell hours, or days if they are many."""
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} days"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replaced(page: str) -> str:
    """Return the page with its part as it is now."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text()}{END}{rest.split(END)[1]}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
