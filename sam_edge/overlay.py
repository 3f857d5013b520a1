"""Pictures that let a person judge masks at a glance: tint, outline, and the prompts drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sam_edge.image import RgbImage
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
    masks: Sequence[NDArray[np.bool_]],
    prompts: Sequence[Prompt] = (),
    *,
    captions: Sequence[str] = (),
    banner: str = "",
) -> Image.Image:
    """Draw masks and prompts over a photo.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        masks: each ``(H, W)`` bool; larger ones are drawn below smaller ones.
        prompts: points green (on the object) or red (not on it), boxes in white.
        captions: a short text a mask, drawn at the mask's top.
        banner: a text across the bottom, for what nobody may overlook.
    """
    canvas = image.astype(np.float32)
    order = sorted(range(len(masks)), key=lambda index: -int(np.count_nonzero(masks[index])))
    for index in order:
        colour = np.array(PALETTE[index % len(PALETTE)], np.float32)
        mask = masks[index]
        canvas[mask] = canvas[mask] * (1 - TINT) + colour * TINT
    width = max(1, round(max(image.shape[:2]) / 500))
    for index in order:
        # A light line inside a dark one can be seen on any photo.
        canvas[_outline(masks[index], 2 * width)] = 20
        canvas[_outline(masks[index], width)] = 255 * 0.4 + 0.6 * np.array(
            PALETTE[index % len(PALETTE)]
        )
    picture = Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(12, round(max(picture.size) / 45)))
    for prompt in prompts:
        _draw_prompt(pen, prompt, width)
    for mask, caption in zip(masks, captions, strict=False):
        if mask.any():
            # At the mask's top edge: the middle is where people click.
            top = int(np.flatnonzero(mask.any(axis=1))[0])
            column = float(np.flatnonzero(mask[top]).mean())
            _label(pen, (column, top + font.getbbox("X")[3]), caption, font)
    if banner:
        _label(pen, (picture.width / 2, picture.height - font.getbbox("X")[3]), banner, font)
    return picture


def _outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of the mask within ``width`` of its edge (in city-block distance)."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = mask & ~inner
    return edge


def _draw_prompt(pen: ImageDraw.ImageDraw, prompt: Prompt, width: int) -> None:
    if prompt.box is not None:
        box = prompt.box
        corners = (box.x0, box.y0, box.x1, box.y1)
        pen.rectangle(corners, outline=(20, 20, 20), width=3 * width)
        pen.rectangle(corners, outline=(255, 255, 255), width=max(1, width))
    radius = max(5, 4 * width)
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        colour = (40, 200, 60) if label == PointLabel.FOREGROUND else (230, 40, 40)
        pen.circle((x, y), radius + width, fill=(255, 255, 255))
        pen.circle((x, y), radius, fill=colour)


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
