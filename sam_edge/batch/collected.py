"""What a batch leaves beside its results: ``errors.jsonl``, and one COCO file for the whole set."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from sam_edge.batch.categories import Categories, Category
from sam_edge.batch.places import Place
from sam_edge.batch.values import BatchError, Item, Outcome
from sam_edge.batch.worker import RECORD, read_record
from sam_edge.files import json_text, parse_json
from sam_edge.formats.write import FORMATS

ERRORS, COCO = "errors.jsonl", "coco.json"


class ErrorLog:
    """Keeps what is bad, and shows it in a file as it comes, where there is a file.

    Args:
        place: of the results.
        general: what is bad and no photo's, a line each.
    """

    def __init__(self, place: Place, general: Sequence[str]) -> None:
        self._place = place
        self._general = [{"error": line} for line in general]
        self._entries: list[tuple[int, dict[str, Any]]] = []
        self._path = place.path(ERRORS)
        place.write(ERRORS, _lines(self._general))

    def add(self, outcome: Outcome) -> None:
        """Take over what an outcome says."""
        entries = entries_of(outcome)
        self._entries += [(outcome.item.index, entry) for entry in entries]
        if entries and self._path is not None:
            # One write to the end of a file is there whole or not at all.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, _lines(entries))
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Write the file once more, in the photos' order."""
        ordered = [entry for _, entry in sorted(self._entries, key=lambda pair: pair[0])]
        self._place.write(ERRORS, _lines([*self._general, *ordered]))

    def __len__(self) -> int:
        return len(self._general) + len(self._entries)


def entries_of(outcome: Outcome) -> list[dict[str, Any]]:
    """Return what ``errors.jsonl`` says of a photo: nothing, if nothing is bad."""
    image = outcome.item.file_name
    entries: list[dict[str, Any]] = [
        {"image": image, "error": problem, "skipped": "prompt"} for problem in outcome.problems
    ]
    if outcome.error is not None:
        entries.append({"image": image, "error": outcome.error, "skipped": "image"})
    return entries


def _lines(entries: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json_text(entry) for entry in entries).encode()


def write_coco(
    place: Place, items: Sequence[Item], kind: str, categories: Sequence[Category], keep_ids: bool
) -> None:
    """Write one COCO data set of every photo that was done, holding no more than one in memory.

    Args:
        place: of the results.
        items: the photos that were done, in their order.
        kind: the format of their results.
        categories: of the photos' set and of the prompts, each ``id`` once.
        keep_ids: whether masks keep the numbers that the prompts' file gave them; else they are
            numbered from 1.

    Raises:
        UnwritableError: if it cannot be written.
        BatchError: if a result went away meanwhile.
    """
    known = Categories(categories)
    count = 0
    with (
        place.writing(COCO) as file,
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n") as annotations,
    ):
        file.write('{"info": {"description": "masks by sam-edge"}, "licenses": [], "images": [')
        numbers = [item.image_id for item in items if isinstance(item.image_id, int)]
        last = max(numbers, default=0)
        for position, (item, document) in enumerate(_documents(place, items, kind)):
            number = item.image_id
            if number is None:
                number = last + item.index + 1
            (image,) = document["images"]
            file.write(("" if position == 0 else ",\n") + _text({**image, "id": number}))
            mapped = {entry["id"]: known.number(entry) for entry in document["categories"]}
            for annotation in document["annotations"]:
                count += 1
                entry = {
                    **annotation,
                    "id": annotation["id"] if keep_ids else count,
                    "image_id": number,
                    "category_id": mapped[annotation["category_id"]],
                }
                annotations.write(("" if count == 1 else ",\n") + _text(entry))
        file.write('],\n"annotations": [')
        annotations.seek(0)
        while part := annotations.read(1 << 20):
            file.write(part)
        file.write(f'],\n"categories": {_text(known.entries)}}}\n')


READ_AHEAD = 32
"""Results that are read at once: an object store answers each after some time."""


def _documents(place: Place, items: Sequence[Item], kind: str) -> Iterator[tuple[Item, Any]]:
    """Yield photos with their masks as COCO has them, in order."""
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        waiting = iter(items)
        reading: deque[tuple[Item, Future[Any]]] = deque()
        while True:
            for item in islice(waiting, 2 * READ_AHEAD - len(reading)):
                reading.append((item, pool.submit(_document, place, item, kind)))
            if not reading:
                return
            item, future = reading.popleft()
            yield item, future.result()


def _document(place: Place, item: Item, kind: str) -> Any:  # noqa: ANN401 - JSON is anything
    name = item.name + (FORMATS["coco"] if kind == "coco" else RECORD)
    data = place.read(name)
    if kind == "coco" and data is not None:
        return parse_json(data, name)
    record = read_record(data, name)
    if record is None:
        raise BatchError(f"{name} went away while the batch ran; run it again with --resume")
    return record["coco"]


def _text(content: object) -> str:
    return json.dumps(content, allow_nan=False)
