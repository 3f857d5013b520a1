"""Procedural scenes: images whose every object is known, drawn in a few milliseconds.

A scene is a stack of textured layers painted back to front ("dead leaves"): large background
regions, then objects of power-law sizes with shading, shadows, parts, holes, patterns and clutter,
then what a camera does to a picture. Every pixel belongs to one *leaf*; leaves have parents (a part
belongs to an object, an object to a group), so one click has several right answers, as in
photographs.

Everything is drawn with OpenCV on uint8 arrays inside the object's own rectangle: the generator
must not be slower than the network that learns from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Rng = np.random.Generator

ATLAS_SIDE = 512
ATLAS_SEED = 20_261_123
NOISE_FIELDS = 18  # the first fields of the atlas
GRAIN_FIELDS = 9  # and the last ones; between them lie the regular patterns
MAX_LEAVES = 400


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        leaves: ``(H, W)`` int16, the leaf that is visible at each pixel.
        parents: for each node its parent or -1. Leaves come first by number, but a node that is an
            object with parts is both a leaf (its bare surface) and their parent.
        prominent: for each node whether it is what a person would name: an object or a background
            region, neither a part nor a group.
        regions: how many of the first nodes are background regions.
    """

    image: Image
    leaves: NDArray[np.int16]
    parents: tuple[int, ...]
    prominent: tuple[bool, ...]
    regions: int

    def ancestry(self, node: int) -> list[int]:
        """The node, its parent, and so on up to the root."""
        chain = [node]
        while self.parents[chain[-1]] >= 0:
            chain.append(self.parents[chain[-1]])
        return chain

    def mask(self, node: int) -> Mask:
        """``(H, W)`` uint8, 255 where the node or anything below it is visible."""
        table = np.zeros(len(self.parents), np.uint8)
        table[node] = 255
        for child in range(len(self.parents)):
            if self.parents[child] >= 0 and node in self.ancestry(child):
                table[child] = 255
        visible: Mask = table[self.leaves]
        return visible


# ---------------------------------------------------------------- textures


def _noise(rng: Rng, side: int, octaves: range, persistence: float) -> NDArray[np.float32]:
    total = np.zeros((side, side), np.float32)
    for k, octave in enumerate(octaves):
        cells = min(2**octave, side)
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        total += persistence**k * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return total


def _normalised(field: NDArray[np.float32]) -> Image:
    low, high = np.percentile(field, (1, 99))
    image: Image = np.clip((field - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    return image


@cache
def texture_atlas() -> tuple[Image, ...]:
    """Grey fields of ``ATLAS_SIDE`` pixels from which every surface is cut; always the same."""
    rng = np.random.default_rng(ATLAS_SEED)
    side = ATLAS_SIDE
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    fields: list[NDArray[np.float32]] = []
    fields.extend(
        _noise(rng, side, range(start, 10), persistence)
        for start in (1, 2, 3, 4, 5, 6)
        for persistence in (0.4, 0.7, 1.0)
    )
    for period in (6, 10, 16, 28):
        warp = _noise(rng, side, range(2, 6), 0.6)
        fields.append(np.sin(rows * 2 * np.pi / period))
        fields.append(np.sign(np.sin(rows * 2 * np.pi / period)) + 0.1 * warp)
        fields.append(np.sin((rows + 6 * warp) * 2 * np.pi / period))
        fields.append(
            np.sign(np.sin(rows * 2 * np.pi / period) * np.sin(columns * 2 * np.pi / period))
        )
        fields.append(np.sin(rows * 2 * np.pi / period) + np.sin(columns * 2 * np.pi / period))
        brick = columns + period * np.floor(rows / period)
        fields.append(
            np.maximum(
                np.cos(rows * 2 * np.pi / period) > 0.85, np.cos(brick * np.pi / period) > 0.95
            ).astype(np.float32)
            + 0.1 * warp
        )
        # wood: rings around a far axis, bent by noise
        rings = np.hypot(rows + 300, 0.15 * columns + 4 * warp)
        fields.append(np.sin(rings * 2 * np.pi / period))
    for cells in (24, 48, 96):
        points = np.full((side, side), 255, np.uint8)
        for x, y in rng.integers(0, side, (cells * cells // 4, 2)):
            points[y, x] = 0
        distance = cv2.distanceTransform(points, cv2.DIST_L2, 5).astype(np.float32)
        fields.append(distance)
        fields.append((distance < 0.15 * side / cells * 2).astype(np.float32))
    for sigma in (0.7, 1.5, 3.0):  # leaves and gravel: sharp ridges of noise
        grain = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), sigma)
        fields.append(np.abs(grain))
        fields.append(grain)
        streak = cv2.GaussianBlur(
            rng.standard_normal((side, side), dtype=np.float32), (0, 0), 8 * sigma, sigmaY=sigma
        )
        fields.append(streak)  # fur, grass, brushed cloth
    return tuple(_normalised(field) for field in fields)


def _colour(rng: Rng) -> NDArray[np.float32]:
    """One RGB colour in [0, 255], of photographs' mostly low saturation."""
    value = rng.uniform(0.05, 1.0)
    saturation = rng.beta(1.2, 2.5) if rng.random() < 0.8 else rng.uniform(0.5, 1.0)
    hue = rng.uniform(0, 6)
    wheel = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    colour: NDArray[np.float32] = (255 * value * (1 - saturation * (1 - wheel))).astype(np.float32)
    return colour


def _palette(rng: Rng, base: NDArray[np.float32], contrast: float) -> Image:
    """A ``(256, 1, 3)`` lookup table from texture value to colour, around one base colour."""
    stops = int(rng.integers(2, 5))
    light = np.linspace(-1, 1, stops)[:, None] * rng.choice([-1, 1])
    colours = base + contrast * (
        70 * light + 18 * rng.standard_normal((stops, 3)) + 25 * light * rng.standard_normal(3)
    )
    if rng.random() < 0.12:  # two unrelated colours, as flowers, flags and painted wood have
        colours[rng.integers(stops)] = _colour(rng)
    position = np.linspace(0, 255, stops)
    table = np.stack(
        [np.interp(np.arange(256), position, colours[:, channel]) for channel in range(3)], 1
    )
    image: Image = np.clip(table, 0, 255).astype(np.uint8)[:, None, :]
    return image


@dataclass(frozen=True, slots=True)
class _Surface:
    """What a texture looks like; cut from the atlas anew wherever it is used."""

    field: int
    zoom: float
    angle: float
    table: Image


def _surface(
    rng: Rng, like: NDArray[np.float32] | None = None, plain: float = 0.3
) -> tuple[_Surface, NDArray[np.float32]]:
    base = _colour(rng)
    if like is not None:
        base = np.clip(like + rng.normal(0, 22, 3), 0, 255).astype(np.float32)
    contrast = rng.uniform(0.02, 0.25) if rng.random() < plain else rng.uniform(0.2, 1.1)
    # mostly noise and grain, as in nature; regular patterns now and then
    count = len(texture_atlas())
    kind = rng.random()
    if kind < 0.55:
        field = int(rng.integers(0, NOISE_FIELDS))
    elif kind < 0.88:
        field = int(rng.integers(count - GRAIN_FIELDS, count))
    else:
        field = int(rng.integers(NOISE_FIELDS, count - GRAIN_FIELDS))
    surface = _Surface(
        field,
        float(2 ** rng.uniform(-1.2, 1.5)),
        rng.uniform(0, 360),
        _palette(rng, base, contrast),
    )
    return surface, base


def _cut(rng: Rng, surface: _Surface, height: int, width: int) -> Image:
    """``(height, width, 3)`` of a surface, shaded by a random light."""
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), surface.angle, surface.zoom
    ) @ np.array(
        [[1, 0, -rng.uniform(0, ATLAS_SIDE)], [0, 1, -rng.uniform(0, ATLAS_SIDE)], [0, 0, 1]]
    )
    grey = cv2.warpAffine(
        texture_atlas()[surface.field],
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    colour = cv2.applyColorMap(grey, surface.table)
    strength = rng.choice([0.0, 15.0, 35.0, 60.0], p=[0.2, 0.35, 0.3, 0.15])
    if strength == 0:
        return np.asarray(colour)
    size = 2 if rng.random() < 0.6 else 3
    light = np.clip(rng.normal(128, strength, (size, size)), 30, 230).astype(np.uint8)
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.multiply(colour, cv2.merge([light] * 3), scale=1 / 128))


# ---------------------------------------------------------------- shapes
# A shape draws 255 on a zeroed uint8 canvas around (x, y) with radius r.


def _fill(canvas: Mask, points: NDArray[np.floating], value: int = 255) -> None:
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], value)


def _turned(points: NDArray[np.floating], angle: float) -> NDArray[np.floating]:
    c, s = np.cos(angle), np.sin(angle)
    turned: NDArray[np.floating] = points @ np.array([[c, s], [-s, c]])
    return turned


def _blob_points(rng: Rng, radius: float, rough: float) -> NDArray[np.floating]:
    theta = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    k = np.arange(1, 9)
    amplitude = rough * rng.standard_normal((2, 8)) / k**1.1
    wave = amplitude[0] @ np.cos(np.outer(k, theta)) + amplitude[1] @ np.sin(np.outer(k, theta))
    r = radius * np.exp(np.clip(wave, -1.5, 0.7))
    stretch = np.array([1.0, rng.uniform(0.35, 1.0)])
    points = np.stack([np.cos(theta), np.sin(theta)], 1) * r[:, None] * stretch
    return _turned(points, rng.uniform(0, 2 * np.pi))


def _blob(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    _fill(canvas, at + _blob_points(rng, radius, rng.uniform(0.05, 0.5)))


def _polygon(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    theta = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
    r = radius * rng.uniform(0.5, 1.0, len(theta))
    _fill(canvas, at + np.stack([np.cos(theta), np.sin(theta)], 1) * r[:, None])


def _rectangle(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    half = radius * np.array([1.0, rng.uniform(0.15, 1.0)])
    corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    if rng.random() < 0.3:  # seen in perspective
        corners = corners * rng.uniform(0.6, 1.0, (4, 2))
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    _fill(canvas, at + _turned(corners, angle))


def _ellipse(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    axes = (radius, radius * rng.uniform(0.3, 1.0))
    _ellipse_at(canvas, at, axes, rng.uniform(0, 360))


def _ellipse_at(
    canvas: Mask, at: NDArray[np.floating], axes: tuple[float, float], angle: float, thick: int = -1
) -> None:
    centre = (round(float(at[0])), round(float(at[1])))
    size = (max(1, round(axes[0])), max(1, round(axes[1])))
    cv2.ellipse(canvas, centre, size, float(angle), 0, 360, 255, thick)


def _ring(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    thick = max(2, round(radius * rng.uniform(0.15, 0.5)))
    _ellipse_at(canvas, at, (radius, radius * rng.uniform(0.5, 1)), rng.uniform(0, 360), thick)


def _limb(
    rng: Rng, canvas: Mask, start: NDArray[np.floating], angle: float, length: float, thick: float
) -> NDArray[np.floating]:
    end = start
    for _ in range(int(rng.integers(1, 4))):
        angle += rng.normal(0, 0.45)
        begin, end = end, end + length / 2 * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(
            canvas,
            (round(float(begin[0])), round(float(begin[1]))),
            (round(float(end[0])), round(float(end[1]))),
            255,
            max(1, round(thick)),
        )
        thick *= rng.uniform(0.6, 1.0)
    return end


def _creature(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    body = radius * rng.uniform(0.4, 0.6)
    lie = rng.uniform(0, np.pi)
    _fill(canvas, at + _blob_points(rng, body, 0.15))
    along = np.array([np.cos(lie), np.sin(lie)])
    _ellipse_at(canvas, at, (body, body * rng.uniform(0.4, 0.8)), np.degrees(lie))
    neck = _limb(
        rng, canvas, at + along * body * 0.7, lie + rng.normal(0, 0.5), body * 0.8, body * 0.4
    )
    head = body * rng.uniform(0.25, 0.5)
    _ellipse_at(canvas, neck, (head, head * rng.uniform(0.6, 1)), rng.uniform(0, 360))
    for _ in range(int(rng.integers(2, 7))):
        start = at + along * body * rng.uniform(-0.8, 0.8)
        side = lie + rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.4)
        _limb(
            rng,
            canvas,
            start,
            side,
            radius * rng.uniform(0.5, 1.0),
            radius * rng.uniform(0.06, 0.2),
        )


def _person(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    tall = radius
    shoulder = tall * rng.uniform(0.2, 0.35)
    hip = tall * rng.uniform(0.14, 0.28)
    torso = np.array(
        [[-shoulder, -0.5 * tall], [shoulder, -0.5 * tall], [hip, 0.2 * tall], [-hip, 0.2 * tall]]
    )
    lean = rng.normal(0, 0.2)
    _fill(canvas, at + _turned(torso, lean))
    top = at + _turned(np.array([[0, -0.72 * tall]]), lean)[0]
    _ellipse_at(canvas, top, (0.16 * tall, 0.2 * tall), 0)
    neck = [np.array([at, top]).astype(np.int32)]
    cv2.polylines(canvas, neck, False, 255, max(1, int(0.12 * tall)))
    for side in (-1, 1):
        arm = at + np.array([side * shoulder * 0.9, -0.42 * tall])
        _limb(rng, canvas, arm, np.pi / 2 - side * rng.uniform(0, 1.2), 0.5 * tall, 0.13 * tall)
        leg = at + np.array([side * hip * 0.6, 0.15 * tall])
        _limb(rng, canvas, leg, np.pi / 2 - side * rng.uniform(0, 0.4), 0.8 * tall, 0.18 * tall)


def _thin(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    count = int(rng.integers(2, 7))
    steps = np.cumsum(rng.normal(0, 1, (count, 2)) + rng.normal(0, 1.0, 2), 0)
    steps = (steps - steps.mean(0)) / max(np.abs(steps - steps.mean(0)).max(), 1e-3) * radius
    thick = int(rng.integers(1, max(3, int(radius / 6) + 2)))
    cv2.polylines(canvas, [np.round(at + steps).astype(np.int32)], False, 255, thick)


def _plant(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    foot = at + np.array([0, radius])
    top = _limb(
        rng, canvas, foot, -np.pi / 2, 1.2 * radius, max(2.0, radius * rng.uniform(0.05, 0.2))
    )
    for _ in range(int(rng.integers(4, 14))):
        r = radius * rng.uniform(0.15, 0.4)
        _ellipse_at(
            canvas,
            top + rng.normal(0, 0.3 * radius, 2),
            (r, r * rng.uniform(0.5, 1)),
            rng.uniform(0, 360),
        )


def _union(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    draw = (_blob, _rectangle, _ellipse, _polygon)
    for _ in range(int(rng.integers(2, 5))):
        r = radius * rng.uniform(0.3, 0.7)
        draw[int(rng.integers(4))](rng, canvas, at + rng.normal(0, 0.4 * radius, 2), r)


def _patch(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    """Foliage, foam, moss: a blob eaten by noise."""
    _fill(canvas, at + _blob_points(rng, radius, 0.3))
    height, width = canvas.shape
    cells = int(rng.integers(4, 24))
    noise = cv2.resize(
        rng.random((cells, cells), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    canvas[noise < rng.uniform(0.2, 0.45)] = 0


def _text(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    letters = "".join(chr(c) for c in rng.integers(48, 91, rng.integers(1, 8)))
    scale = radius / 11 / len(letters)
    thick = max(1, round(scale * rng.uniform(1.5, 6)))
    place = (round(float(at[0] - 0.9 * radius)), round(float(at[1] + 10 * scale)))
    cv2.putText(canvas, letters, place, int(rng.integers(0, 8)), scale, 255, thick)


def _holed(rng: Rng, canvas: Mask, at: NDArray[np.floating], radius: float) -> None:
    (_blob, _rectangle, _ellipse)[int(rng.integers(3))](rng, canvas, at, radius)
    hole = np.zeros_like(canvas)
    for _ in range(int(rng.integers(1, 4))):
        _blob(rng, hole, at + rng.normal(0, 0.35 * radius, 2), radius * rng.uniform(0.12, 0.4))
    canvas[hole > 0] = 0


_SHAPES = (
    (_blob, 0.20), (_polygon, 0.09), (_rectangle, 0.12), (_ellipse, 0.09), (_ring, 0.03),
    (_creature, 0.13), (_person, 0.08), (_thin, 0.04), (_plant, 0.06), (_union, 0.08),
    (_patch, 0.04), (_text, 0.02), (_holed, 0.02),
)  # fmt: skip
_SHAPE_ODDS = np.cumsum([odds for _, odds in _SHAPES])


# ---------------------------------------------------------------- painting


class _Painter:
    """The state of a scene while it is drawn."""

    def __init__(self, rng: Rng, height: int, width: int) -> None:
        self.rng = rng
        self.height, self.width = height, width
        self.image: Image = np.zeros((height, width, 3), np.uint8)
        self.leaves = np.zeros((height, width), np.int16)
        self.parents: list[int] = []
        self.prominent: list[bool] = []
        self.bases: list[NDArray[np.float32]] = []

    def node(self, parent: int, prominent: bool) -> int:
        self.parents.append(parent)
        self.prominent.append(prominent)
        return len(self.parents) - 1

    def paint(
        self, top: int, left: int, mask: Mask, surface: _Surface, leaf: int | None, soft: float
    ) -> None:
        """Lay a surface where ``mask`` is set; ``leaf`` None changes the looks, not the truth."""
        height, width = mask.shape
        view = self.image[top : top + height, left : left + width]
        colour = _cut(self.rng, surface, height, width)
        alpha = cv2.GaussianBlur(mask, (0, 0), soft).astype(np.float32) / 255
        view[:] = cv2.blendLinear(colour, np.ascontiguousarray(view), alpha, 1 - alpha)
        if leaf is not None:
            self.leaves[top : top + height, left : left + width][mask > 127] = leaf

    def shape(
        self, at: NDArray[np.floating], radius: float, kind: int | None = None
    ) -> tuple[int, int, Mask] | None:
        """Draw a random shape; its rectangle's corner and mask, or None if nothing is in view."""
        rng = self.rng
        reach = 1.6 * radius + 3
        left, top = (max(0, int(v - reach)) for v in at)
        right = min(self.width, int(at[0] + reach) + 1)
        bottom = min(self.height, int(at[1] + reach) + 1)
        if right - left < 3 or bottom - top < 3:
            return None
        canvas = np.zeros((bottom - top, right - left), np.uint8)
        if kind is None:
            kind = int(np.searchsorted(_SHAPE_ODDS, rng.random() * _SHAPE_ODDS[-1]))
        _SHAPES[min(kind, len(_SHAPES) - 1)][0](rng, canvas, at - (left, top), radius)
        x, y, w, h = cv2.boundingRect(canvas)
        if w < 2 or h < 2:
            return None
        x0, y0 = max(0, x - 3), max(0, y - 3)
        mask = np.ascontiguousarray(canvas[y0 : y + h + 3, x0 : x + w + 3])
        return top + y0, left + x0, mask

    def shadow(self, top: int, left: int, mask: Mask) -> None:
        """Darken what lies beside and below an object before it is painted."""
        rng = self.rng
        height, width = mask.shape
        dx, dy = (int(v) for v in rng.normal(0, 0.12 * min(height, width) + 2, 2))
        t0, l0 = max(0, top + dy), max(0, left + dx)
        t1, l1 = min(self.height, top + dy + height), min(self.width, left + dx + width)
        if t1 - t0 < 2 or l1 - l0 < 2:
            return
        part = mask[t0 - top - dy : t1 - top - dy, l0 - left - dx : l1 - left - dx]
        dark = cv2.GaussianBlur(part, (0, 0), rng.uniform(1, 5))
        keep = (128 - dark.astype(np.float32) * (rng.uniform(0.15, 0.6) * 128 / 255)).astype(
            np.uint8
        )
        view = self.image[t0:t1, l0:l1]
        view[:] = cv2.multiply(np.ascontiguousarray(view), cv2.merge([keep] * 3), scale=1 / 128)

    # ------------------------------------------------------------ things

    def background(self) -> None:
        """One to six regions that fill the frame: sky, wall, water, ground."""
        rng = self.rng
        surface, base = _surface(rng)
        node = self.node(-1, True)
        self.bases.append(base)
        full = np.full((self.height, self.width), 255, np.uint8)
        self.paint(0, 0, full, surface, node, 0.5)
        self.mottle(0, 0, full)
        for _ in range(int(rng.choice(6, p=[0.08, 0.22, 0.25, 0.2, 0.15, 0.1]))):
            similar = rng.random() < 0.35
            surface, base = _surface(
                rng, self.bases[int(rng.integers(len(self.bases)))] if similar else None
            )
            self.bases.append(base)
            mask = np.zeros((self.height, self.width), np.uint8)
            if rng.random() < 0.3:  # a hill, a pond, a bush: a blob among the regions
                at = rng.uniform(0, 1, 2) * (self.width, self.height)
                radius = rng.uniform(0.15, 0.4) * max(self.height, self.width)
                (_blob if rng.random() < 0.7 else _patch)(rng, mask, at, radius)
                self.paint(0, 0, mask, surface, self.node(-1, True), rng.uniform(0.5, 2.0))
                self.mottle(0, 0, mask)
                continue
            span = np.linspace(-0.1, 1.1, 40)
            k = np.arange(1, 8)
            wave = (rng.standard_normal(7) / k ** rng.uniform(0.6, 1.6)) @ np.sin(
                2 * np.pi * (np.outer(k, span) * rng.uniform(0.3, 1) + rng.random((7, 1)))
            )
            rough = rng.choice([0.0, 0.03, 0.12], p=[0.3, 0.4, 0.3])
            edge = rng.uniform(0.1, 0.9) + rough * wave + rng.normal(0, 0.1) * (span - 0.5)
            if rng.random() < 0.7:  # a horizon; otherwise an upright border
                points = np.stack([span * self.width, edge * self.height], 1)
                low = np.array(
                    [[1.1 * self.width, 1.1 * self.height], [-0.1 * self.width, 1.1 * self.height]]
                )
            else:
                points = np.stack([edge * self.width, span * self.height], 1)
                side = 1.1 if rng.random() < 0.5 else -0.1
                low = np.array(
                    [
                        [side * self.width, 1.1 * self.height],
                        [side * self.width, -0.1 * self.height],
                    ]
                )
            _fill(mask, np.concatenate([points, low]))
            self.paint(0, 0, mask, surface, self.node(-1, True), rng.uniform(0.5, 2.0))
            self.mottle(0, 0, mask)

    def mottle(self, top: int, left: int, mask: Mask) -> None:
        """Clouds in a sky, shade in foliage: a second surface by noise, which means nothing."""
        rng = self.rng
        if rng.random() < 0.6:
            return
        height, width = mask.shape
        cells = int(rng.integers(2, 14))
        noise = cv2.resize(
            rng.random((cells, cells), dtype=np.float32),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
        spots = np.where(noise > rng.uniform(0.35, 0.75), mask, 0).astype(np.uint8)
        view = self.image[top : top + height, left : left + width]
        like = np.asarray(cv2.mean(view, mask)[:3], np.float32) if rng.random() < 0.6 else None
        surface, _ = _surface(rng, like)
        self.paint(top, left, spots, surface, None, rng.uniform(0.5, 5.0))

    def thing(
        self,
        at: NDArray[np.floating],
        radius: float,
        parent: int = -1,
        prominent: bool = True,
        surface: _Surface | None = None,
        kind: int | None = None,
    ) -> None:
        """One object: maybe a shadow, a surface, patterns that mean nothing, parts that do."""
        rng = self.rng
        if len(self.parents) > MAX_LEAVES:
            return
        drawn = self.shape(at, radius, kind)
        if drawn is None:
            return
        top, left, mask = drawn
        if rng.random() < 0.35:
            self.shadow(top, left, mask)
        if surface is None:
            camouflage = rng.random() < 0.25
            near = None
            if camouflage:
                y = min(self.height - 1, max(0, int(at[1])))
                x = min(self.width - 1, max(0, int(at[0])))
                near = self.image[y, x].astype(np.float32)
            surface, _ = _surface(rng, near)
        soft = float(rng.choice([0.4, 0.7, 1.5], p=[0.45, 0.45, 0.1]))
        node = self.node(parent, prominent)
        self.paint(top, left, mask, surface, node, soft)
        if radius > 7:
            self._inside(at, radius, top, left, mask, node, soft)

    def _inside(
        self,
        at: NDArray[np.floating],
        radius: float,
        top: int,
        left: int,
        mask: Mask,
        node: int,
        soft: float,
    ) -> None:
        """Patterns and parts, clipped to the object."""
        rng = self.rng
        height, width = mask.shape
        if radius > 20:
            self.mottle(top, left, mask)
        if rng.random() < 0.45:  # clothes and trousers, roof and wall: many surfaces, one object
            for _ in range(int(rng.integers(1, 4))):
                surface, _ = _surface(rng)
                if rng.random() < 0.5:
                    angle = rng.uniform(0, 2 * np.pi)
                    normal = np.array([np.cos(angle), np.sin(angle)])
                    along = np.array([-normal[1], normal[0]])
                    start = at - (left, top) + normal * rng.normal(0, 0.4 * radius)
                    far = (
                        4 * radius * normal
                        if rng.random() < 0.6
                        else rng.uniform(0.1, 0.5) * radius * normal
                    )
                    band = np.stack(
                        [start + 4 * radius * along, start - 4 * radius * along,
                         start - 4 * radius * along + far, start + 4 * radius * along + far]
                    )  # fmt: skip
                    piece = np.zeros_like(mask)
                    _fill(piece, band)
                else:
                    piece = self._piece(at, radius * rng.uniform(0.2, 0.6), top, left, mask.shape)
                self.paint(top, left, cv2.bitwise_and(piece, mask), surface, None, soft)
        if rng.random() < 0.4:
            for _ in range(int(rng.integers(1, 4))):
                r = radius * rng.uniform(0.15, 0.5)
                piece = cv2.bitwise_and(self._piece(at, r, top, left, mask.shape), mask)
                if cv2.countNonZero(piece) < 12:
                    continue
                surface, _ = _surface(rng)
                self.paint(top, left, piece, surface, self.node(node, False), soft)
        if rng.random() < 0.12 and min(height, width) > 24:  # windows, studs, spots
            rows, columns = (int(v) for v in rng.integers(2, 6, 2))
            piece = np.zeros_like(mask)
            cell_h, cell_w = height / rows, width / columns
            for i in range(rows):
                for j in range(columns):
                    y, x = int((i + 0.28) * cell_h), int((j + 0.28) * cell_w)
                    piece[
                        y : y + max(2, int(0.45 * cell_h)), x : x + max(2, int(0.45 * cell_w))
                    ] = 255
            surface, _ = _surface(rng)
            self.paint(top, left, cv2.bitwise_and(piece, mask), surface, None, soft)

    def _piece(
        self, at: NDArray[np.floating], radius: float, top: int, left: int, shape: tuple[int, ...]
    ) -> Mask:
        rng = self.rng
        canvas = np.zeros(shape, np.uint8)
        centre = at - (left, top) + rng.normal(0, 0.45 * radius + 3, 2)
        (_blob, _ellipse, _rectangle, _polygon, _text, _ring)[
            int(rng.choice(6, p=[0.35, 0.25, 0.2, 0.1, 0.05, 0.05]))
        ](rng, canvas, centre, radius)
        return canvas

    def objects(self) -> None:
        """Things of power-law sizes, large ones first, groups of look-alikes among them."""
        rng = self.rng
        side = max(self.height, self.width)
        count = int(rng.choice([3, 6, 12, 20], p=[0.2, 0.35, 0.3, 0.15]) + rng.integers(0, 5))
        low, high, power = 0.035, rng.uniform(0.3, 0.6), rng.uniform(0.2, 1.0)
        u = rng.random(count)
        radii = (u * high**-power + (1 - u) * low**-power) ** (-1 / power) * side
        for radius in sorted(radii, reverse=True):
            at = rng.uniform(0, 1, 2) * (self.width, self.height)
            if rng.random() < 0.12 and radius < 0.2 * side:
                self._group(at, float(radius))
            else:
                self.thing(at, float(radius))

    def _group(self, at: NDArray[np.floating], radius: float) -> None:
        rng = self.rng
        parent = self.node(-1, False)
        surface, _ = _surface(rng)
        kind = int(rng.choice([0, 1, 2, 3, 5, 6, 8]))
        for _ in range(int(rng.integers(3, 9))):
            self.thing(
                at + rng.normal(0, 1.3 * radius, 2),
                radius * rng.uniform(0.4, 0.8),
                parent,
                True,
                surface if rng.random() < 0.7 else None,
                kind,
            )

    def clutter(self) -> None:
        """Specks too small to be asked for: they stay part of what they lie on."""
        rng = self.rng
        for _ in range(int(rng.integers(5, 60))):
            x, y = int(rng.integers(self.width)), int(rng.integers(self.height))
            size = (int(rng.integers(1, 4)), int(rng.integers(1, 3)))
            cv2.ellipse(
                self.image,
                (x, y),
                size,
                float(rng.uniform(0, 180)),
                0,
                360,
                _colour(rng).tolist(),
                -1,
            )

    def camera(self) -> None:
        """Light, lens, sensor and file."""
        rng = self.rng
        if rng.random() < 0.4:  # broad light and shade across the whole picture
            light = np.clip(rng.normal(128, 28, (3, 3)), 40, 220).astype(np.uint8)
            light = cv2.resize(light, (self.width, self.height), interpolation=cv2.INTER_CUBIC)
            self.image = np.asarray(cv2.multiply(self.image, cv2.merge([light] * 3), scale=1 / 128))
        if rng.random() < 0.5:
            gamma = 2 ** rng.normal(0, 0.4)
            cast = np.clip(rng.normal(1, 0.1, 3), 0.6, 1.4)
            ramp = 255 * (np.arange(256) / 255)[:, None] ** gamma * cast
            table = np.clip(ramp, 0, 255).astype(np.uint8)[:, None, :]
            self.image = np.asarray(cv2.LUT(self.image, table.reshape(1, 256, 3)))
        if rng.random() < 0.08:
            grey = cv2.cvtColor(self.image, cv2.COLOR_RGB2GRAY)
            self.image = cv2.merge([grey] * 3)
        if rng.random() < 0.4:
            self.image = np.asarray(cv2.GaussianBlur(self.image, (0, 0), rng.uniform(0.4, 1.1)))
        if rng.random() < 0.6:
            noise = np.empty_like(self.image, np.int8)
            cv2.setRNGSeed(int(rng.integers(2**31)))
            cv2.randn(noise, (0, 0, 0), (rng.uniform(1, 10),) * 3)
            self.image = cv2.add(self.image, noise, dtype=cv2.CV_8U)
        if rng.random() < 0.6:
            quality = int(rng.integers(35, 95))
            data = cv2.imencode(".jpg", self.image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            self.image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def draw_scene(rng: Rng, height: int, width: int) -> Scene:
    """Draw one scene; the same generator state gives the same scene.

    Args:
        rng: the only source of chance.
        height: rows of the picture.
        width: columns of the picture.
    """
    painter = _Painter(rng, height, width)
    painter.background()
    regions = len(painter.parents)
    if rng.random() < 0.25:  # depth of field
        painter.image = np.asarray(cv2.GaussianBlur(painter.image, (0, 0), rng.uniform(1, 4)))
    painter.objects()
    if rng.random() < 0.4:
        painter.clutter()
    painter.camera()
    return Scene(
        painter.image, painter.leaves, tuple(painter.parents), tuple(painter.prominent), regions
    )
