"""GeoJSON: a feature an object, in a map's coordinates or, where there is no map, in pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sam_edge.files import json_text
from sam_edge.masks.polygons import Ring, ring_area, simplify, span_outlines
from sam_edge.masks.spans import Spans
from sam_edge.text import printable


@dataclass(frozen=True, slots=True)
class Georeference:
    """Where a picture lies on the earth.

    Attributes:
        crs: the name of its coordinate reference system, an OGC URN or WKT; None if unknown.
        transform: ``(a, b, c, d, e, f)``: the pixel corner ``(x, y)`` lies at
            ``(a x + b y + c, d x + e y + f)``.
    """

    crs: str | None
    transform: tuple[float, ...]


class Outlined(Protocol):
    """What a feature is made of; ``LabelledMask`` and ``TiledMask`` are."""

    @property
    def spans(self) -> Spans: ...  # noqa: D102 - the mask

    @property
    def area(self) -> int: ...  # noqa: D102 - in pixels

    @property
    def label(self) -> str: ...  # noqa: D102 - what it shows

    @property
    def predicted_iou(self) -> float: ...  # noqa: D102 - the model's estimate

    @property
    def stability_score(self) -> float: ...  # noqa: D102 - in [0, 1]


def geojson_text(
    masks: Iterable[Outlined],
    *,
    georeference: Georeference | None = None,
    tolerance: float = 0.0,
) -> Iterator[str]:
    """Spell a picture's masks as a GeoJSON feature collection, a feature a line.

    Each mask is a ``Polygon``, or a ``MultiPolygon`` if it has several parts; holes are holes.
    Outlines run along the edges of the pixels, so that at tolerance 0 they are the mask. Outer
    rings are counterclockwise in the coordinates that are written, as RFC 7946 has it.

    Args:
        masks: of one picture, of any size; those that are empty are left out.
        georeference: where it lies. Coordinates are in its reference system, which the member
            ``crs`` names as GDAL writes it and QGIS reads it; without one they are pixels, y
            downwards, which is what QuPath reads.
        tolerance: how far, in pixels, a polygon may leave the mask's outline; 0 keeps all corners.

    Yields:
        The text in pieces, so that a large picture's is never in memory as a whole.

    Raises:
        MaskError: if the tolerance is no number.
    """
    transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0) if georeference is None else georeference.transform
    yield '{"type": "FeatureCollection",\n'
    if georeference is not None and georeference.crs is not None:
        crs = {"type": "name", "properties": {"name": georeference.crs}}
        yield f'"crs": {json_text(crs).strip()},\n'
    yield '"features": ['
    end = "\n"
    for number, mask in enumerate(masks):
        if not mask.area:
            continue
        feature = {
            "type": "Feature",
            "id": number,
            "properties": {
                "label": printable(mask.label),
                "predicted_iou": mask.predicted_iou,
                "stability_score": mask.stability_score,
                "area": mask.area,
            },
            "geometry": geometry(mask.spans, transform, tolerance),
        }
        yield end + json_text(feature).strip()
        end = ",\n"
    yield "\n]}\n"


def geometry(spans: Spans, transform: tuple[float, ...], tolerance: float) -> dict[str, Any]:
    """Return a mask's geometry in a map's coordinates; see ``geojson_text``."""
    polygons = [
        [_placed(simplify(ring, tolerance), transform) for ring in (outer, *holes)]
        for outer, holes in span_outlines(spans)
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _placed(ring: Ring, transform: tuple[float, ...]) -> list[list[float]]:
    """Return a ring's places, closed, the outer ones counterclockwise."""
    a, b, c, d, e, f = transform
    places: NDArray[np.float64] = ring @ np.array([[a, d], [b, e]]) + [c, f]
    if (ring_area(places - places[0]) > 0) != (ring_area(ring) > 0):
        places = places[::-1]
    closed: list[list[float]] = np.concatenate([places, places[:1]]).tolist()
    return closed
