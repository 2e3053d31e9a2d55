"""A report as one HTML page that needs no network and no script: plots, and a table beside each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from reranker.evaluation.compare import Comparison
from reranker.evaluation.measures import Estimate
from reranker.evaluation.plots import Series, bar, curves, span
from reranker.evaluation.record import GREEDY, ORACLE, RANDOM, Record
from reranker.evaluation.report import Measure, Report
from reranker.evaluation.table import described, facts, label, points, title

COLOURS = 10
"""Methods have so many colours in the style; more share them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One problem in the strip."""

    task_id: str
    passed: int
    samples: int
    picked: str
    """What the best method's choice of all samples came to."""

    @property
    def share(self) -> int:
        """Percent of the samples that pass."""
        return round(100 * self.passed / self.samples)


def write_page(path: Path, report: Report, comparison: Comparison | None = None) -> None:
    """Write the page; with a comparison, it is of the later report."""
    path.write_text(render(report, comparison), encoding="utf-8")


def render(report: Report, comparison: Comparison | None = None) -> str:
    """The page's HTML."""
    return fill((files(__package__) / "page.html.jinja").read_text("utf-8"), _context(report, comparison))


def fill(template: str, context: Mapping[str, Any]) -> str:
    """A page from its template, in the style that all pages share: `style` is there besides the context."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"described": described, "label": label, "points": points}
    style = Markup((files(__package__) / "page.css").read_text("utf-8"))  # noqa: S704  a file of ours
    return environment.from_string(template).render(style=style, **context)


def _context(report: Report, comparison: Comparison | None) -> dict[str, Any]:
    measures = report.measures(_curve_ks(report))
    best = _best(report)
    styles = _styles(report)
    return {
        "report": report,
        "title": title(report),
        "facts": facts(report),
        "ks": sorted({measure.k for measure in measures}),
        "names": list(dict.fromkeys(measure.name for measure in measures)),
        "table": {(measure.name, measure.k): measure for measure in measures},
        "gains": {gain.name: gain.estimate for gain in report.gains()},
        "styles": styles,
        "plot": _plot(measures, styles),
        "best": best,
        "groups": [(group, _largest(group.measures, report)) for group in report.groups()],
        "bar": bar,
        "cells": [_cell(record, best) for record in report.judged if record.samples],
        "comparison": comparison,
        "span": span,
        "reach": _reach(comparison),
    }


def _curve_ks(report: Report) -> list[int]:
    """Every power of two up to n beside the sizes asked for, so that a curve is one."""
    n = report.settings.n
    return sorted({*report.settings.ks, n, *(2**power for power in range(n.bit_length()))})


def _styles(report: Report) -> dict[str, str]:
    fixed = {GREEDY: "greedy", RANDOM: "random", ORACLE: "oracle"}
    return fixed | {name: f"method{number % COLOURS}" for number, name in enumerate(report.methods)}


def _plot(measures: tuple[Measure, ...], styles: dict[str, str]) -> str | None:
    """Shares against k; None where there was nothing to choose among."""
    if not any(measure.k > 1 for measure in measures):
        return None
    start = [(1, measure.estimate) for measure in measures if measure.name == RANDOM]
    series = []
    for name in dict.fromkeys(measure.name for measure in measures):
        found = [(measure.k, measure.estimate) for measure in measures if measure.name == name]
        first = [] if name in (GREEDY, RANDOM) else start  # of one sample every method chooses that one
        series.append(Series(label(name), styles[name], (*first, *found)))
    ends = "; ".join(f"{line.label} {100 * line.points[-1][1].value:.1f} %" for line in series)
    return curves(series, "Share of problems solved against the number of samples", f"At the largest k: {ends}.")


def _best(report: Report) -> Measure | None:
    """The method that solves most at the largest k; of equals the first."""
    found = [each for each in report.measures() if each.name in report.methods and each.k == report.settings.ks[-1]]
    return max(found, key=lambda measure: measure.estimate.value, default=None)


def _largest(measures: tuple[Measure, ...], report: Report) -> dict[str, Estimate]:
    k = report.settings.ks[-1]
    return {each.name: each.estimate for each in measures if each.name in (GREEDY, RANDOM) or each.k == k}


def _cell(record: Record, best: Measure | None) -> Cell:
    passes = record.passes
    order = record.orders.get(best.name) if best is not None else None
    picked = "" if not order else "right" if passes[order[0]] else "wrong"
    return Cell(record.task_id, sum(passes), len(passes), picked)


def _reach(comparison: Comparison | None) -> float:
    """Half the width of the axis that all differences share."""
    ends = [
        abs(end)
        for each in (comparison.differences if comparison else ())
        for end in (each.change.low, each.change.high)
    ]
    return max(ends, default=0.0) or 0.01
