"""Pictures that let a person judge masks at a glance: tint, outline, and the prompts drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam_edge.image import RgbImage
from sam_edge.masks import Mask, Rle, area, mask_to_box, rle_to_box
from sam_edge.masks.upsample import Window
from sam_edge.prompts import PointLabel, Prompt

PALETTE: tuple[tuple[int, int, int], ...] = (
    (30, 144, 255),
    (255, 99, 71),
    (50, 205, 110),
    (255, 196, 0),
    (186, 85, 211),
    (0, 206, 209),
    (255, 105, 180),
    (154, 205, 50),
)
"""Colours that stay apart from each other, for people with colour blindness too."""

TINT = 0.45


def draw_overlay(
    image: RgbImage,
    masks: Sequence[Mask | Rle],
    prompts: Sequence[Prompt] = (),
    *,
    captions: Sequence[str] = (),
    banner: str = "",
) -> Image.Image:
    """Draw masks and prompts over a photo.

    Beside the picture itself, memory is taken for one mask at a time, in its own box: hundreds of
    run-length encoded masks cost hardly more than one.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        masks: each ``(H, W)`` bool, or its run lengths; larger ones are drawn below smaller ones.
        prompts: points green (on the object) or red (not on it), boxes in white.
        captions: a short text a mask, drawn at the mask's top.
        banner: a text across the bottom, for what nobody may overlook.
    """
    canvas = np.array(image)
    areas = [
        int(np.count_nonzero(mask)) if isinstance(mask, np.ndarray) else area(mask)
        for mask in masks
    ]
    order = sorted(
        (index for index in range(len(masks)) if areas[index]), key=lambda index: -areas[index]
    )
    for index in order:
        _tint(canvas, _window(masks[index]), PALETTE[index % len(PALETTE)])
    width = line_width(image.shape, 500)
    tops: dict[int, tuple[float, int]] = {}
    for index in order:
        window = _window(masks[index])
        _draw_outline(canvas, window, PALETTE[index % len(PALETTE)], width)
        tops[index] = (window.left + float(np.flatnonzero(window.pixels[0]).mean()), window.top)
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(12, round(_drawn_side(image.shape) / 45)))
    for prompt in prompts:
        _draw_prompt(pen, prompt, width)
    for index, caption in enumerate(captions):
        if index in tops:
            # At the mask's top edge: the middle is where people click.
            column, top = tops[index]
            _label(pen, (column, top + font.getbbox("X")[3]), caption, font)
    if banner:
        _label(pen, (picture.width / 2, picture.height - font.getbbox("X")[3]), banner, font)
    return picture


def line_width(shape: tuple[int, ...], parts: int) -> int:
    """Return how wide a line must be to be seen, in pixels: a share of the photo's side."""
    return max(1, round(_drawn_side(shape) / parts))


def _drawn_side(shape: tuple[int, ...]) -> int:
    """Return the longer side, as far as lines and letters grow with it.

    Those of a photo that is thousands of times as long as it is high would not fit into it.
    """
    return min(max(shape[:2]), 16 * min(shape[:2]), 20_000)


def _window(mask: Mask | Rle) -> Window:
    """Return the part of a mask, which is not empty, that its box holds."""
    if isinstance(mask, np.ndarray):
        x0, y0, x1, y1 = mask_to_box(mask)
        return Window(mask[y0 : y1 + 1, x0 : x1 + 1], y0, x0)
    x0, y0, x1, y1 = rle_to_box(mask)
    height = mask["size"][0]
    first, stop = x0 * height, (x1 + 1) * height
    ends = np.clip(np.cumsum(mask["counts"]), first, stop)
    foreground = np.arange(len(ends)) % 2 == 1
    columns = np.repeat(foreground, np.diff(ends, prepend=first)).reshape(-1, height)
    return Window(np.ascontiguousarray(columns[:, y0 : y1 + 1].T), y0, x0)


def _tint(canvas: RgbImage, window: Window, colour: tuple[int, int, int]) -> None:
    height, width = window.pixels.shape
    part = canvas[window.top : window.top + height, window.left : window.left + width]
    for channel, value in enumerate(colour):
        blended = np.round(np.arange(256) * (1 - TINT) + value * TINT).astype(np.uint8)
        plane = part[:, :, channel]
        np.copyto(plane, blended[plane], where=window.pixels)


def _draw_outline(
    canvas: RgbImage, window: Window, colour: tuple[int, int, int], width: int
) -> None:
    """Draw a light line inside a dark one, which can be seen on any photo."""
    height, across = window.pixels.shape
    # Beyond its box a mask is background, except where the photo ends: no line is drawn there.
    above, left = min(1, window.top), min(1, window.left)
    part = canvas[
        window.top - above : window.top + height + 1, window.left - left : window.left + across + 1
    ]
    mask = np.zeros(part.shape[:2], np.bool_)
    mask[above : above + height, left : left + across] = window.pixels
    light = mask
    inner = mask
    for distance in range(1, 2 * width + 1):
        inner = _eroded(inner)
        if distance == width:
            light = mask & ~inner
    part[mask & ~inner] = 20
    part[light] = np.round(255 * 0.4 + 0.6 * np.array(colour))


def _eroded(mask: Mask) -> Mask:
    """Return the pixels whose four neighbours, as far as there are any, are foreground, too."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return inner


def _draw_prompt(pen: ImageDraw.ImageDraw, prompt: Prompt, width: int) -> None:
    if prompt.box is not None:
        box = prompt.box
        corners = (box.x0, box.y0, box.x1, box.y1)
        pen.rectangle(corners, outline=(20, 20, 20), width=3 * width)
        pen.rectangle(corners, outline=(255, 255, 255), width=max(1, width))
    radius = max(5, 4 * width)
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        colour = (40, 200, 60) if label == PointLabel.FOREGROUND else (230, 40, 40)
        for reach, fill in ((radius + width, (255, 255, 255)), (radius, colour)):
            pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


def _label(
    pen: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    pen.text(
        centre,
        text,
        fill=(255, 255, 255),
        font=font,
        anchor="mm",
        stroke_width=2,
        stroke_fill=(20, 20, 20),
    )
