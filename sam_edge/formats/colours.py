"""As many colours as there are masks, each unlike the ones before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
"""Turning by it never comes near a hue that was just used."""


def distinct_colours(count: int) -> NDArray[np.uint8]:
    """Return ``count`` bright colours, shape ``(count, 3)``, RGB.

    Hues turn by the golden angle, and lightness goes through four steps, so that neighbours in
    the list differ in both. They are chosen in OKLab, where equal steps look equal.
    """
    number = np.arange(count)
    hue = number * GOLDEN_ANGLE + 0.6
    lightness = np.array([0.72, 0.84, 0.62, 0.78])[number % 4]
    chroma = 0.17
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    # https://bottosson.github.io/posts/oklab/
    cone = lab @ _LAB_TO_CONE.T
    linear = np.clip(cone**3 @ _CONE_TO_RGB.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: NDArray[np.uint8] = np.round(255 * encoded).astype(np.uint8)
    return colours


_LAB_TO_CONE = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
)
_CONE_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
