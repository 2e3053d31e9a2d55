"""Plots of a round as inline SVG, in the style that evaluations' pages have: colours follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 12, 40
_TICKS = 5
_MOST_ACROSS = 8
"""Numbers on the axis, less one, that stand apart."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: points (x, y), or (x, y, low, high) with an interval."""

    label: str
    style: str
    points: tuple[tuple[float, ...], ...]


def lines(drawn: Sequence[Line], *, name: str, across: str, percent: bool = False) -> Markup:
    """Lines over a common axis of whole numbers, which `across` names."""
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return Markup("")
    points = [point for line in drawn for point in line.points]
    xs, ys = [point[0] for point in points], [value for point in points for value in point[1:]]
    frame = _Frame(min(xs), max(xs), *_reach(ys, percent=percent))
    parts = [_axes(frame, across, percent=percent)]
    for line in drawn:
        parts += [_band(line, frame), _path(line, frame)]
    return _svg(parts, name)


def bars(shares: Mapping[str, Sequence[float]], labels: Sequence[str], *, name: str) -> Markup:
    """A group of bars a key, one bar a label; shares from 0 to 1."""
    reach = _reach([0.0, *(share for group in shares.values() for share in group)], percent=True)
    frame = _Frame(0.0, float(max(1, len(shares))), *reach)
    parts = [_rules(frame, percent=True)]
    width = 0.8 / max(1, len(labels))
    for place, (key, group) in enumerate(shares.items()):
        for number, share in enumerate(group):
            x = frame.x(place + 0.1 + number * width)
            end = frame.x(place + 0.1 + (number + 1) * width)
            parts.append(
                f'<rect class="method{number}" fill="var(--c)" x="{x:.1f}" y="{frame.y(share):.1f}" '
                f'width="{end - x - 1:.1f}" height="{frame.y(0) - frame.y(share):.1f}"/>'
            )
        middle = frame.x(place + 0.5)
        parts.append(
            f'<text class="tick" x="{middle:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{escape(key)}</text>'
        )
    return _svg(parts, name)


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        width = self.right - self.left or 1.0
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - self.left) / width

    def y(self, value: float) -> float:
        height = self.high - self.low or 1.0
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (self.high - value) / height


def _reach(values: Sequence[float], *, percent: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if percent:  # from nothing, so that a rise looks as large as it is, to where every tick is a whole percent
        step = 0.01 * (_TICKS - 1)
        return 0.0, min(1.0, step * math.ceil(round(high / step, 6))) or 1.0
    margin = 0.05 * (high - low) or 0.1
    return low - margin, high + margin


def _axes(frame: _Frame, across: str, *, percent: bool) -> str:
    parts = [_rules(frame, percent=percent)]
    least = (frame.right - frame.left) / _MOST_ACROSS
    apart = next(digit * 10**power for power in count() for digit in (1, 2, 5) if digit * 10**power >= least)
    for tick in range(apart * math.ceil(frame.left / apart), round(frame.right) + 1, apart):
        parts.append(
            f'<text class="tick" x="{frame.x(tick):.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(across)}</text>')
    return "".join(parts)


def _rules(frame: _Frame, *, percent: bool) -> str:
    parts = []
    for place in range(_TICKS):
        value = frame.low + (frame.high - frame.low) * place / (_TICKS - 1)
        y = frame.y(value)
        text = f"{100 * value:.0f} %" if percent else f"{value:.3g}"
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    return "".join(parts)


def _band(line: Line, frame: _Frame) -> str:
    ranged = [point for point in line.points if len(point) == 4]
    if len(ranged) < 2:
        return ""
    upper = [f"{frame.x(point[0]):.1f} {frame.y(point[3]):.1f}" for point in ranged]
    lower = [f"{frame.x(point[0]):.1f} {frame.y(point[2]):.1f}" for point in reversed(ranged)]
    return f'<path class="band {escape(line.style)}" d="M{"L".join([*upper, *lower])}Z"/>'


def _path(line: Line, frame: _Frame) -> str:
    points = [(frame.x(point[0]), frame.y(point[1])) for point in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    few = len(points) <= 40
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points) if few else ""
    return f'<g class="line {escape(line.style)}"><path d="M{path}"/>{dots}</g>'


def _svg(parts: Sequence[str], name: str) -> Markup:
    opening = f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(name)}</title>'
    return Markup("".join((opening, *parts, "</svg>")))  # noqa: S704  numbers, and text escaped above


def standalone(svg: Markup, drawn: Sequence[Line]) -> str:
    """A plot as a file of its own: with its colours, a legend, and a paper to stand on."""
    colours = ("#0969da", "#c2410c", "#1a7f37", "#8250df", "#bf3989")
    used = {line.style: colours[number % len(colours)] for number, line in enumerate(drawn)}
    style = (
        "text{fill:#59636e;font:13px system-ui,sans-serif}.grid{stroke:#d8dee4;fill:none}"
        ".line path{fill:none;stroke-width:2.5}.band{fill-opacity:.12}"
        + "".join(
            f".line.{name} path{{stroke:{colour}}}.line.{name} circle,.band.{name}{{fill:{colour}}}"
            for name, colour in used.items()
        )
    )
    legend = "".join(
        f'<circle cx="{_LEFT + 20}" cy="{_TOP + 12 + 18 * number}" r="4" fill="{used[line.style]}"/>'
        f'<text x="{_LEFT + 30}" y="{_TOP + 16 + 18 * number}">{escape(line.label)}</text>'
        for number, line in enumerate(drawn)
    )
    opening, rest = str(svg).split(">", 1)
    opening = opening.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    paper = f'<style>{style}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return f"{opening}>{paper}{rest.removesuffix('</svg>')}{legend}</svg>\n"
