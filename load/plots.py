"""Pictures for the report: bars and lines as SVG, drawn with attributes only, so that no policy of a page is in their
way."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

COLOURS = ("#0f766e", "#b45309", "#1d4ed8", "#be185d", "#4d7c0f", "#6d28d9", "#0e7490", "#a16207")
INK, FAINT = "#1c1917", "#d6d3d1"
WIDTH = 880
BAR_HEIGHT, LABEL_WIDTH = 22, 300
PLOT_HEIGHT, LEFT, TOP, BOTTOM = 300, 70, 34, 30
LEGEND_LINE = 20

Points = Sequence[tuple[float, float]]


def bars(heading: str, values: Sequence[tuple[str, float]]) -> str:
    """One bar each, the figure at its end."""
    most = max((value for _, value in values), default=0.0) or 1.0
    room = WIDTH - LABEL_WIDTH - 90
    parts = []
    for number, (name, value) in enumerate(values):
        y = TOP + number * (BAR_HEIGHT + 6)
        width = max(1.0, room * max(0.0, value) / most)
        parts.append(_text(LABEL_WIDTH - 8, y + 16, name, anchor="end"))
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" fill="{colour}"/>')
        parts.append(_text(LABEL_WIDTH + width + 6, y + 16, f"{value:,.1f}"))
    return _svg(heading, TOP + len(values) * (BAR_HEIGHT + 6) + 6, parts)


def lines(heading: str, curves: Sequence[tuple[str, Points]], *, percentiles: bool) -> str:
    """Curves over a common axis. `percentiles`: x is a percent, drawn by how rare what lies beyond it is (50, 90, 99,
    99.9 at even distances), and y is logarithmic; else both are even and y begins at 0."""

    def place(x: float) -> float:
        return -math.log10(max(1e-4, 1 - x / 100)) if percentiles else x

    def height(y: float) -> float:
        return math.log10(max(1.0, y)) if percentiles else y

    points = [(place(x), height(y)) for _, curve in curves for x, y in curve]
    x_least, x_most = (0.0 if percentiles else min(x for x, _ in points)), max(x for x, _ in points)
    y_least, y_most = (math.floor(min(y for _, y in points)) if percentiles else 0.0), max(y for _, y in points)
    if percentiles:
        y_most = max(math.ceil(y_most), y_least + 1)
    x_room, y_room = (x_most - x_least) or 1.0, (y_most - y_least) or 1.0
    inner = WIDTH - LEFT - 20

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + inner * (x - x_least) / x_room, TOP + PLOT_HEIGHT * (1 - (y - y_least) / y_room)

    parts = []
    for value in _y_ticks(y_least, y_most, logarithmic=percentiles):
        _, y = at(x_least, height(value))
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 20}" stroke="{FAINT}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{value:,.0f}", anchor="end"))
    ticks = (50.0, 90.0, 99.0, 99.9, 99.99) if percentiles else [x_least + x_room * part / 5 for part in range(6)]
    for tick in ticks:
        if place(tick) <= x_most + 1e-9:
            x, _ = at(place(tick), y_least)
            parts.append(
                _text(x, TOP + PLOT_HEIGHT + 20, f"{tick:g} %" if percentiles else f"{tick:.1f} s", anchor="middle")
            )
    for number, (name, curve) in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        drawn = " ".join("{:.1f},{:.1f}".format(*at(place(x), height(y))) for x, y in curve)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y_legend = TOP + PLOT_HEIGHT + BOTTOM + 14 + number * LEGEND_LINE
        parts.append(f'<rect x="{LEFT}" y="{y_legend - 10}" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(LEFT + 20, y_legend, name))
    return _svg(heading, TOP + PLOT_HEIGHT + BOTTOM + 14 + len(curves) * LEGEND_LINE, parts)


def _y_ticks(least: float, most: float, *, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [10.0**power for power in range(int(least), int(most) + 1)]
    return [most * part / 4 for part in range(5)]


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{html.escape(text)}</text>'


def _svg(heading: str, height: float, parts: Sequence[str]) -> str:
    title = html.escape(heading)
    return (
        f'<h2>{title}</h2><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{title}" font-family="system-ui, sans-serif" font-size="13">'
        f"{''.join(parts)}</svg>"
    )
