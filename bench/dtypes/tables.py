"""What was found, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.dtypes.rows import AUTO, REFERENCE
from reranker.evaluation import GREEDY, ORACLE, RANDOM, Comparison, Estimate, Report

if TYPE_CHECKING:
    from bench.dtypes.__main__ import Found


def print_tables(
    found: Sequence[Found],
    threads: Sequence[int],
    ns: Sequence[int],
    reports: Mapping[str, Report],
    comparisons: Mapping[str, Comparison],
    as_given: Found,
) -> None:
    """Speed and memory, then quality, then what `auto` did."""
    out = Console(width=None if Console().is_terminal else 140)
    keys = [f"{number}x{n}" for n in ns for number in threads]
    out.print(_costs(found, keys))
    if reports:
        out.print(_quality(reports, comparisons))
    [auto] = [row for row in found if row.name == AUTO]
    ratios = ", ".join(f"{key}: {auto.over_best[key]:.2f}" for key in keys)
    out.print(
        f"auto on a folder with every conversion: {auto.effective} of {auto.model}; times the best type: {ratios}"
    )
    out.print(f"auto on the folder as given: {as_given.effective} of {as_given.model}")


def _costs(found: Sequence[Found], keys: Sequence[str]) -> Table:
    table = Table(
        title="ms a token by threads x candidates, and times the best type's (medians)",
        title_justify="left",
        box=SIMPLE,
    )
    table.add_column("type")
    table.add_column("effective")
    for heading in ("weights, MB", "PSS, MB", "RSS, MB", *keys):
        table.add_column(heading, justify="right")
    for row in found:
        weights = "" if row.weights_bytes is None else f"{row.weights_bytes / 1e6:.1f}"
        speeds = [f"{row.ms_per_token[key]:.3f} ({row.over_best[key]:.2f})" for key in keys]
        memory = (f"{row.pss_bytes / 1e6:.0f}", f"{row.rss_bytes / 1e6:.0f}")
        table.add_row(row.name, row.effective, weights, *memory, *speeds)
    return table


def _quality(reports: Mapping[str, Report], comparisons: Mapping[str, Comparison]) -> Table:
    """Shares in percent with their intervals; below each the paired difference to float32 in points."""
    first = next(iter(reports.values()))
    asked = [(GREEDY, 1), (RANDOM, 1), *((ORACLE, k) for k in first.settings.ks if k > 1)]
    table = Table(
        title=f"{first.counts.judged} problems, {first.settings.n} samples: percent solved; below, minus {REFERENCE}",
        title_justify="left",
        box=SIMPLE,
    )
    table.add_column("type")
    for name, k in asked:
        table.add_column("greedy" if name == GREEDY else f"pass@{k}", justify="right")
    for title, report in reports.items():
        measures = {(measure.name, measure.k): measure.estimate for measure in report.measures()}
        table.add_row(title, *(_interval(measures[key], "") for key in asked))
        if title in comparisons:
            changes = {(each.name, each.k): each.change for each in comparisons[title].differences}
            table.add_row("", *(_interval(changes[key], "+") for key in asked), style="dim")
    return table


def _interval(value: Estimate, sign: str) -> str:
    return f"{100 * value.value:{sign}.1f} [{100 * value.low:{sign}.1f}, {100 * value.high:{sign}.1f}]"
