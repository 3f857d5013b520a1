"""SVG: one path a mask, exact to the pixel, holes included."""

from __future__ import annotations

from xml.sax.saxutils import escape

import numpy as np

from sam_edge.formats.colours import distinct_colours
from sam_edge.formats.records import LabelledMask, largest_first
from sam_edge.masks.polygons import Ring, span_rings
from sam_edge.text import printable


def svg_text(masks: list[LabelledMask], *, size: tuple[int, int], opacity: float = 0.6) -> str:
    """Return a photo's masks as an SVG drawing of the photo's size.

    Path ``mask-N`` is the N-th mask. It is filled by the even-odd rule, so holes are holes, and
    smaller masks lie above larger ones. Characters that XML cannot hold are replaced in labels.

    Args:
        masks: of one photo.
        size: ``(H, W)`` of the photo.
        opacity: of the fill, in [0, 1].
    """
    height, width = size
    colours = distinct_colours(len(masks))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" fill-rule="evenodd" fill-opacity="{opacity:g}">'
    ]
    for index in largest_first(masks):
        mask = masks[index]
        if not mask.area:
            continue
        red, green, blue = colours[index].tolist()
        path = "".join(_path(ring) for ring in span_rings(mask.spans))
        title = f"{escape(printable(mask.label))}, predicted IoU {mask.predicted_iou:.3f}"
        lines.append(
            f'<path id="mask-{index}" fill="#{red:02x}{green:02x}{blue:02x}" d="{path}">'
            f"<title>{title}</title></path>"
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _path(ring: Ring) -> str:
    """Spell a ring: corners alternate between across and down, so one number says each step.

    >>> _path(np.array([[1, 0], [3, 0], [3, 1], [1, 1]]))
    'M1 0h2v1h-2z'
    """
    (x, y), steps = ring[0], np.diff(ring, axis=0)
    words = [f"h{dx}" if dx else f"v{dy}" for dx, dy in steps.tolist()]
    return f"M{x} {y}{''.join(words)}z"
