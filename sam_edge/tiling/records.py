"""One object of a tiled picture."""

from __future__ import annotations

from dataclasses import dataclass

from sam_edge.formats.records import LabelledMask
from sam_edge.masks.spans import Spans, span_area, spans_to_rle


@dataclass(frozen=True, slots=True, eq=False)
class TiledMask:
    """One object, whole, in the picture's own pixels.

    Attributes:
        spans: the mask; what it takes is its outline's length, whatever the picture's size.
        predicted_iou: the model's estimate of its quality: the tiles' mean, each weighted by the
            pixels that it gave.
        stability_score: likewise; see ``SamAutomaticMaskGenerator``.
        points: ``[[x, y], ...]``: the clicks that gave it, one a tile.
        crop_box: XYWH around the tiles that it was found in.
        label: what it shows.
    """

    spans: Spans
    predicted_iou: float
    stability_score: float
    points: list[list[float]]
    crop_box: list[int]
    label: str = "object"

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return span_area(self.spans)

    def labelled(self, size: tuple[int, int]) -> LabelledMask:
        """Return what ``sam_edge.formats`` writes.

        Args:
            size: ``(H, W)`` of the picture, of up to ``sam_edge.image.MAX_PIXELS``.
        """
        return LabelledMask(
            rle=spans_to_rle(self.spans, size),
            predicted_iou=self.predicted_iou,
            stability_score=self.stability_score,
            points=self.points,
            crop_box=self.crop_box,
            label=self.label,
        )
