"""What a panel is, and the PromQL that panels are made of.

Most metrics of a server carry no label of its model, as a server has one champion at a time. The dashboard's variables
`model`, `round` and `engine` therefore choose servers by `touchstone_model_info`: what such a server did, by whichever
model, is shown. `route` is a label of the requests themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CHOSEN = 'touchstone_model_info{model=~"$model",round=~"$round",engine=~"$engine"}'
"""Of the models in memory, those the dashboard's variables name."""
ROUTE = 'route=~"$route"'
Step = tuple[float | None, str]
"""From this value on (None: from below all) a colour."""
GOOD_BELOW = "green", "orange", "red"
GOOD_ABOVE = "red", "orange", "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression of a panel."""

    expr: str
    legend: str = ""
    """May name labels, `{{route}}`; empty: all of them."""
    exemplars: bool = False
    """Whether to show single requests with their traces beside the curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture of the dashboard."""

    title: str
    text: str
    """What it tells, for whoever hovers over it."""
    queries: tuple[Query, ...]
    unit: str = "short"
    """Grafana's name of it: `s`, `bytes`, `percentunit`, `reqps`, ..."""
    kind: Literal["timeseries", "stat", "names", "heatmap"] = "timeseries"
    """`names`: a tile that shows the legends in place of the values."""
    width: int = 8
    """Of 24 columns."""
    steps: tuple[Step, ...] = ()
    stacked: bool = False
    signed: bool = False
    """Whether values may be below 0."""
    runbook: str = ""
    """The alert that watches this; the panel links to its runbook."""
    gpu: bool = False
    """Whether it is empty where there is no GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one title."""

    title: str
    panels: tuple[Panel, ...]


def tile(title: str, text: str, expr: str, unit: str = "short", **more: object) -> Panel:
    """A single value in a small panel."""
    fields = {"kind": "stat", "width": 4} | more
    return Panel(title=title, text=text, queries=(Query(expr=expr),), unit=unit, **fields)  # type: ignore[arg-type]


def steps(colours: tuple[str, str, str], first: float, second: float) -> tuple[Step, ...]:
    """Three colours and the two values between them."""
    return (None, colours[0]), (first, colours[1]), (second, colours[2])


def chosen(vector: str) -> str:
    """What of it is of servers with a chosen model."""
    return f"({vector} and on (job, instance) {CHOSEN})"


def rate(name: str, labels: str = "") -> str:
    """A second, of chosen servers. `name` without its prefix `touchstone_`."""
    return chosen(f"rate(touchstone_{name}{{{labels}}}[$__rate_interval])")


def total(name: str, labels: str = "", *, by: str = "") -> str:
    """Their sum."""
    return f"sum{_by(by)} ({rate(name, labels)})"


def gauge(name: str, labels: str = "", *, by: str = "") -> str:
    """The sum of what is now, of chosen servers."""
    return f"sum{_by(by)} {chosen(f'touchstone_{name}{{{labels}}}')}"


def quantile(share: float, name: str, labels: str = "", *, by: str = "") -> str:
    """Of a histogram, the value that this share of observations stays below."""
    le = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {total(f'{name}_bucket', labels, by=le)})"


def mean(name: str, labels: str = "", *, by: str = "") -> str:
    """Of a histogram, the mean of its observations."""
    return ratio(total(f"{name}_sum", labels, by=by), total(f"{name}_count", labels, by=by))


def ratio(part: str, whole: str) -> str:
    """One sum over another, label by label; nothing where either has no samples."""
    return f"{part} / {whole}"


def share(part: str, whole: str) -> str:
    """One sum over another; 0 where the first has no samples yet, nothing where the second has none."""
    return f"({part} or 0 * {whole}) / {whole}"


def percentiles(name: str, labels: str = "", *, exemplars: bool = False) -> tuple[Query, ...]:
    """Median, 90th, 95th, 99th percentile and mean."""
    found = [
        Query(expr=quantile(percent / 100, name, labels), legend=f"p{percent}", exemplars=exemplars and percent == 99)
        for percent in (50, 90, 95, 99)
    ]
    return *found, Query(expr=mean(name, labels), legend="mean")


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
