"""Plots as inline SVG. Colours come from the page's style, classes ``s0`` to ``s7``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sam_edge_benchmarks.report.escape import markup
from sam_edge_benchmarks.report.tables import figure

WIDTH = 860
LABEL_WIDTH = 300
VALUE_WIDTH = 90
BAR = 18
ROW = 28
ROW_WITH_NOTE = 40
LEGEND_LINE = 22
SERIES = 8

Segments = Mapping[str, float]


def stacked_bars(rows: Sequence[tuple[str, str, Segments]], unit: str) -> str:
    """Draw a bar a row, its segments end to end, the sum beside it.

    Args:
        rows: label, a note that stands below it, and segment name -> value; the names keep their
            colours over all rows.
        unit: of the values.
    """
    names = list(dict.fromkeys(name for *_, segments in rows for name in segments))
    longest = max((sum(segments.values()) for *_, segments in rows), default=0) or 1
    step = ROW_WITH_NOTE if any(note for _, note, _ in rows) else ROW
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    top = 24 if len(names) > 1 else 0
    parts = [_legend(names)] if len(names) > 1 else []
    for index, (label, note, segments) in enumerate(rows):
        y = top + index * step + 5
        parts.append(_text(LABEL_WIDTH - 10, y + BAR - 5, label, "end"))
        if note:
            parts.append(_text(LABEL_WIDTH - 10, y + BAR + 9, note, "end", "note"))
        x = float(LABEL_WIDTH)
        for name, value in segments.items():
            width = room * value / longest
            tip = f"{label} {note}: {name} {figure(value)} {unit}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{BAR}" '
                f'class="s{names.index(name) % SERIES}"><title>{markup(tip)}</title></rect>'
            )
            x += width
        total = f"{figure(sum(segments.values()))} {unit}"
        parts.append(_text(x + 6, y + BAR - 5, total, "start", "value"))
    return _svg(parts, top + len(rows) * step + 8)


def scatter(points: Sequence[tuple[str, float, float]], x_title: str, y_title: str) -> str:
    """Draw labelled points; x is logarithmic, since subjects differ by orders of magnitude.

    Args:
        points: label, x above 0, y.
        x_title: with unit.
        y_title: with unit.
    """
    height, left, right, base, top = 330, 70, 20, 282, 14
    xs = [x for _, x, _ in points]
    low, high = math.log10(min(xs)), math.log10(max(xs))
    low, high = low - 0.15, high + 0.15 + 0.1 * (low == high)
    bottom = min(y for _, _, y in points)
    ceiling = max(1.0, *(y for _, _, y in points))
    # Differences below a thousandth are rounding: drawn larger they would look like something.
    bottom = min(bottom - 0.08 * (ceiling - bottom), ceiling - 0.001)
    ceiling += 0.06 * (ceiling - bottom)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (WIDTH - left - right) * (math.log10(x) - low) / (high - low),
            base - (base - top) * (y - bottom) / (ceiling - bottom),
        )

    parts = [_axes(left, base, top, right)]
    for tick in _log_ticks(low, high):
        x, _ = place(tick, bottom)
        parts.append(f'<path d="M{x:.1f} {top}V{base}" class="grid"/>')
        parts.append(_text(x, base + 18, figure(tick), "middle", "value"))
    for tick in _ticks(bottom, ceiling):
        _, y = place(10**low, tick)
        parts.append(f'<path d="M{left} {y:.1f}H{WIDTH - right}" class="grid"/>')
        parts.append(_text(left - 8, y + 4, f"{tick:.4g}", "end", "value"))
    for index, (label, value, score) in enumerate(points):
        x, y = place(value, score)
        tip = f"{label}: {figure(value)}, {score:.4f}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" class="s{index % SERIES} point">'
            f"<title>{markup(tip)}</title></circle>"
        )
        parts.append(_text(x, y + 4, str(index + 1), "middle", "number"))
    # Names beside the points would cover each other: the faithful ones all lie near 1.
    for index, (label, value, score) in enumerate(points):
        y = height + LEGEND_LINE * index + 6
        parts.append(f'<circle cx="{left + 9}" cy="{y}" r="9" class="s{index % SERIES}"/>')
        parts.append(_text(left + 9, y + 4, str(index + 1), "middle", "number"))
        parts.append(_text(left + 26, y + 4, label, "start"))
        parts.append(_text(WIDTH - right, y + 4, f"{figure(value)}, {score:.4f}", "end", "value"))
    parts += _titles(x_title, y_title, height - 8, base, top)
    return _svg(parts, height + LEGEND_LINE * len(points) + 4)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_title: str, y_title: str) -> str:
    """Draw a line a series, from zero up.

    Args:
        series: label -> points, x ascending.
        x_title: with unit.
        y_title: with unit.
    """
    height, left, right, base = 330, 70, 20, 282
    top = 24 + 18 * ((len(series) - 1) // 2)
    points = [point for values in series.values() for point in values]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    ceiling = 1.05 * max(y for _, y in points) or 1

    def place(x: float, y: float) -> tuple[float, float]:
        share = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return left + 20 + (WIDTH - left - right - 40) * share, base - (base - top) * y / ceiling

    parts = [_axes(left, base, top, right), _legend(list(series), columns=2)]
    parts += [
        _text(place(tick, 0)[0], base + 18, f"{tick:g}", "middle", "value")
        for tick in sorted({x for x, _ in points})
    ]
    for tick in _ticks(0, ceiling):
        y = place(x_low, tick)[1]
        parts.append(f'<path d="M{left} {y:.1f}H{WIDTH - right}" class="grid"/>')
        parts.append(_text(left - 8, y + 4, figure(tick), "end", "value"))
    for index, (label, values) in enumerate(series.items()):
        corners = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in values)
        parts.append(f'<polyline points="{corners}" class="line l{index % SERIES}"/>')
        for x, y in values:
            at = place(x, y)
            parts.append(
                f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4" class="s{index % SERIES}">'
                f"<title>{markup(f'{label}: {figure(y)}')}</title></circle>"
            )
    parts += _titles(x_title, y_title, height - 8, base, top)
    return _svg(parts, height)


def _svg(parts: Sequence[str], height: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str, style: str = "label") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">'
        f"{markup(text)}</text>"
    )


def _legend(names: Sequence[str], columns: int = 0) -> str:
    """Name the colours: in one line, or in columns for long names."""
    parts = []
    x = float(LABEL_WIDTH)
    for index, name in enumerate(names):
        if columns:
            x = 90 + (index % columns) * (WIDTH - 90) / columns
        y = 2 + 18 * (index // columns) if columns else 2
        parts.append(
            f'<rect x="{x:.0f}" y="{y}" width="11" height="11" class="s{index % SERIES}"/>'
        )
        parts.append(_text(x + 16, y + 10, name, "start"))
        x += 34 + 7 * len(name)
    return "".join(parts)


def _axes(left: float, base: float, top: float, right: float) -> str:
    return f'<path d="M{left} {top}V{base}H{WIDTH - right}" class="axis"/>'


def _titles(x_title: str, y_title: str, bottom: float, base: float, top: float) -> list[str]:
    middle = (base + top) / 2
    return [
        _text(WIDTH / 2, bottom, x_title, "middle", "value"),
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle" '
        f'class="value">{markup(y_title)}</text>',
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Return some four round numbers in a range.

    >>> _ticks(0, 10)
    [0.0, 2.5, 5.0, 7.5, 10.0]
    """
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(step for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.99) * power
    first = math.ceil(low / step)
    return [round(index * step, 12) for index in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between two exponents."""
    every = [
        digit * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for digit in (1, 2, 5)
    ]
    return [tick for tick in every if low <= math.log10(tick) <= high]
