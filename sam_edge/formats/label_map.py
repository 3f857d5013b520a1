"""One picture whose pixels say which mask they belong to, as data and for the eye."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sam_edge.formats.colours import distinct_colours
from sam_edge.formats.records import LabelledMask, largest_first
from sam_edge.image import RgbImage
from sam_edge.masks import MaskError
from sam_edge.masks.spans import spans_to_window
from sam_edge.overlay import draw_overlay, line_width

TINT = 0.5
UNCLAIMED = 0.55
"""How bright the photo stays where there is no mask."""


def label_map(masks: list[LabelledMask], size: tuple[int, int]) -> NDArray[np.uint16]:
    """Return which mask each pixel belongs to: the mask's index + 1, or 0 for none.

    Where masks overlap the smaller one is seen.

    Returns:
        Shape ``(H, W)``.

    Raises:
        MaskError: if there are more than 65,535 masks, or one is of another size.
    """
    most = np.iinfo(np.uint16).max
    if len(masks) > most:
        raise MaskError(f"a label map holds {most} masks, not {len(masks)}; use another format")
    labels = np.zeros(size, np.uint16)
    for index in largest_first(masks):
        if masks[index].size != size:
            raise MaskError(f"mask {index} has size {masks[index].size}, the photo {size}")
        pixels, top, left = spans_to_window(masks[index].spans)
        labels[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = index + 1
    return labels


def label_map_picture(masks: list[LabelledMask], size: tuple[int, int]) -> Image.Image:
    """Return the label map as a PNG holds it: indexed with a palette, 16-bit beyond 255 masks."""
    labels = label_map(masks, size)
    if len(masks) > np.iinfo(np.uint8).max:
        return Image.fromarray(labels)
    picture = Image.fromarray(labels.astype(np.uint8)).convert("P")
    palette = np.concatenate([np.zeros((1, 3), np.uint8), distinct_colours(len(masks))])
    picture.putpalette(palette.ravel().tolist())
    return picture


def draw_everything(image: RgbImage, masks: list[LabelledMask], *, banner: str = "") -> Image.Image:
    """Draw all masks over their photo: each in its colour, with a thin bright outline.

    Smaller masks lie above larger ones, and what belongs to no mask is dimmed.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        masks: of that photo.
        banner: a text across the bottom, for what nobody may overlook.
    """
    labels = label_map(masks, (image.shape[0], image.shape[1]))
    colours = np.concatenate([np.zeros((1, 3), np.uint8), distinct_colours(len(masks))])
    # One table lookup a pixel: the colour's share of the blend, and black outside all masks.
    shares = (colours * TINT).astype(np.uint16)
    weight = np.full(len(colours), 1 - TINT, np.float32)
    weight[0] = UNCLAIMED
    canvas = image * weight[labels][..., None]
    canvas += shares[labels]
    width = line_width(image.shape, 900)
    edge = _edges(labels, width)
    bright = 255 - (255 - colours.astype(np.float32)) * 0.35
    canvas[edge] = bright[labels[edge]]
    return draw_overlay(canvas.astype(np.uint8), [], banner=banner)


def _edges(labels: NDArray[np.uint16], width: int) -> NDArray[np.bool_]:
    """Return the pixels of a mask that lie within ``width`` of another label."""
    edge = np.zeros(labels.shape, np.bool_)
    for distance in range(1, width + 1):
        down = labels[distance:] != labels[:-distance]
        edge[distance:] |= down
        edge[:-distance] |= down
        across = labels[:, distance:] != labels[:, :-distance]
        edge[:, distance:] |= across
        edge[:, :-distance] |= across
    return edge & (labels > 0)
