"""Plots as inline SVG: colours and fonts come from the page's style, so that they follow its light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log2

from markupsafe import Markup, escape

from reranker.evaluation.measures import Estimate

WIDTH, HEIGHT = 480, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 12, 44
_LEAST_GAP = 26
"""Between the middles of two labels on an axis, in units of the picture."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: points from k to share. `style` is its class in the page's style."""

    label: str
    style: str
    points: tuple[tuple[int, Estimate], ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where numbers lie: k on a logarithmic axis, shares from `low` to `high`."""

    largest: int
    low: float
    high: float

    def x(self, k: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * log2(k) / log2(self.largest)

    def y(self, share: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (self.high - share) / (self.high - self.low)


def curves(series: Sequence[Series], name: str, description: str) -> Markup:
    """Shares against k, each line in its band. A series of one point is a level that all k can be held against."""
    ks = sorted({k for line in series for k, _ in line.points})
    estimates = [estimate for line in series for _, estimate in line.points]
    frame = _Frame(ks[-1], *_reach(estimates))
    parts = [_axes(frame, ks), *(_band(line, frame) for line in series), *(_line(line, frame) for line in series)]
    return _svg(parts, name, description)


def _reach(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """The tenths that hold every interval, and at least one tenth between them."""
    low = max(0, floor(10 * min(estimate.low for estimate in estimates)))
    high = min(10, ceil(10 * max(estimate.high for estimate in estimates)))
    if low == high:
        low, high = max(0, low - 1), min(10, high + 1)
    return low / 10, high / 10


def bar(estimate: Estimate, style: str) -> Markup:
    """A share as a small horizontal bar with its interval; the number stands beside it, so it is hidden to readers."""
    low, high, value = (100 * share for share in (estimate.low, estimate.high, estimate.value))
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rest" width="100" height="10"/><rect class="part" width="{:.2f}" height="10"/>'
        '<path class="range" d="M{:.2f} 5H{:.2f}"/></svg>'
    ).format(style, value, low, high)


def span(estimate: Estimate, reach: float) -> Markup:
    """A difference with its interval on an axis from -reach to reach, zero in the middle; hidden to readers."""
    low, high, value = (50 + 50 * each / reach for each in (estimate.low, estimate.high, estimate.value))
    return Markup(
        '<svg class="bar span" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="zero" d="M50 0V10"/><path class="range" d="M{:.2f} 5H{:.2f}"/>'
        '<rect class="part" x="{:.2f}" y="1" width="1.6" height="8"/></svg>'
    ).format(low, high, value - 0.8)


def _svg(parts: Sequence[str], name: str, description: str) -> Markup:
    opening = (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="curves-title curves-desc">'
        f'<title id="curves-title">{escape(name)}</title><desc id="curves-desc">{escape(description)}</desc>'
    )
    return Markup("".join((opening, *parts, "</svg>")))  # noqa: S704  numbers, and text escaped above


def _axes(frame: _Frame, ks: Sequence[int]) -> str:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    tenths = range(round(10 * frame.low), round(10 * frame.high) + 1)
    for tenth in tenths:
        y = frame.y(tenth / 10)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        if len(tenths) <= 7 or tenth % 2 == 0:
            parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10 * tenth} %</text>')
    for k in _labelled(frame, ks):
        x = frame.x(k)
        parts.append(f'<path class="grid" d="M{x:.1f} {bottom}v5"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 19}" text-anchor="middle">{k}</text>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">samples to choose from</text>')
    return "".join(parts)


def _labelled(frame: _Frame, ks: Sequence[int]) -> list[int]:
    """Those whose labels have room, the largest first."""
    kept: list[int] = []
    for k in reversed(ks):
        if not kept or frame.x(kept[-1]) - frame.x(k) >= _LEAST_GAP:
            kept.append(k)
    return kept


def _band(series: Series, frame: _Frame) -> str:
    points = _points(series, frame)
    upper = [f"{frame.x(k):.1f} {frame.y(estimate.high):.1f}" for k, estimate in points]
    lower = [f"{frame.x(k):.1f} {frame.y(estimate.low):.1f}" for k, estimate in reversed(points)]
    return f'<path class="band {escape(series.style)}" d="M{"L".join([*upper, *lower])}Z"/>'


def _line(series: Series, frame: _Frame) -> str:
    points = [(frame.x(k), frame.y(estimate.value)) for k, estimate in _points(series, frame)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = [] if len(series.points) == 1 else [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    return f'<g class="line {escape(series.style)}"><path d="M{path}"/>{"".join(dots)}</g>'


def _points(series: Series, frame: _Frame) -> tuple[tuple[int, Estimate], ...]:
    if len(series.points) > 1:
        return series.points
    _, level = series.points[0]
    return ((1, level), (frame.largest, level))
