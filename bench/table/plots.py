"""Plots as inline SVG in the style of all pages: one value a row as a bar, with its interval where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _LEFT, _RIGHT = 640, 190, 150
_STEP, _BAR = 26, 14
COLOURS = 10
"""Rows have so many colours in the style; more share them."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: its number in the table decides its colour."""

    label: str
    number: int
    value: float
    text: str
    interval: tuple[float, float] | None = None


def bars(name: str, key: str, values: Sequence[Bar]) -> Markup:
    """Horizontal bars from zero; `key` makes the picture's ids its own. The numbers stand beside, for readers too."""
    largest = max((max(bar.value, *(bar.interval or (0.0,))) for bar in values), default=0.0) or 1.0
    height = _STEP * len(values) + 6
    described = "; ".join(f"{bar.label}: {bar.text}" for bar in values)
    opening = (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(name)}</title><desc id="{key}-desc">{escape(described)}</desc>'
    )
    parts = [_bar(bar, place, largest) for place, bar in enumerate(values)]
    return Markup("".join((opening, *parts, "</svg>")))


def _bar(bar: Bar, place: int, largest: float) -> str:
    scale = (_WIDTH - _LEFT - _RIGHT) / largest
    top = _STEP * place + 6
    middle, end = top + _BAR / 2, _LEFT + scale * bar.value
    whisker = ""
    if bar.interval is not None:
        low, high = (_LEFT + scale * each for each in bar.interval)
        whisker = f'<path class="line" stroke="currentColor" d="M{low:.1f} {middle}H{high:.1f}"/>'
        end = max(end, high)
    return (
        f'<g class="bar method{bar.number % COLOURS}">'
        f'<text class="tick" x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect class="part" x="{_LEFT}" y="{top}" width="{scale * bar.value:.1f}" height="{_BAR}"/>{whisker}'
        f'<text class="tick" x="{end + 8:.1f}" y="{top + 12}">{escape(bar.text)}</text></g>'
    )
