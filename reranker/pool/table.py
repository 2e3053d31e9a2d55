"""The figures of a ranking as a table on a terminal; shares in percent."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reranker.evaluation.measures import Estimate
from reranker.evaluation.table import console, percent
from reranker.pool.ranking import DRAWS
from reranker.pool.result import SIZES, Figures, MethodFigures
from reranker.pool.work import Done

RANDOM, ORACLE = "random", "oracle"
_SHOWN = 5


def print_done(done: Done) -> None:
    """Every method beside the others, and what the numbers are of."""
    table = _with_labels(done.figures) if done.figures.labelled else _without_labels(done.figures)
    lines = [Text(line) for line in (*tuned(done), *facts(done))]
    said = [Text(line, style="yellow") for line in remarks(done)]
    console().print(Group(table, *lines, *said))


def _with_labels(figures: Figures) -> Table:
    baseline = figures.methods[0].method
    sizes = [k for k in SIZES if k in figures.methods[0].among]
    table = _table(["pass@1", "first", *(f"of {k}" for k in sizes), "over random", f"over {baseline}"])
    empty = [""] * (2 + len(sizes) + 2)
    assert figures.random is not None  # noqa: S101  there are labels
    assert figures.oracle is not None  # noqa: S101
    table.add_row(RANDOM, percent(figures.random), *empty[1:], "0", "")
    for each in figures.methods:
        table.add_row(
            each.method,
            _percent(each.right),
            "" if each.first is None else f"{100 * each.first.value:.1f}",
            *(f"{100 * each.among[k]:.1f}" for k in sizes),
            _points(each.over_random),
            _points(each.over_baseline),
            *_cost(each),
        )
    among = [f"{100 * figures.oracle_among[k]:.1f}" for k in sizes]
    table.add_row(ORACLE, percent(figures.oracle), "", *among, "", "", "", "")
    return table


def _without_labels(figures: Figures) -> Table:
    baseline = figures.methods[0].method
    table = _table([f"first as {baseline}'s, %"])
    for each in figures.methods:
        table.add_row(each.method, f"{100 * each.same_as_baseline:.0f}", *_cost(each))
    return table


def _table(columns: list[str]) -> Table:
    table = Table(box=SIMPLE, show_edge=False)
    table.add_column("method", no_wrap=True)
    for heading in (*columns, "runs", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cost(each: MethodFigures) -> tuple[str, str]:
    return f"{each.runs:.0f}", f"{each.run_ms + each.score_ms:.0f}"


def facts(done: Done) -> list[str]:
    """What the numbers are of, a sentence each."""
    figures = done.figures
    lines = [f"{figures.problems} problems, {figures.candidates} candidates, {figures.distinct} distinct programs"]
    if figures.labelled:
        lines[0] += f"; {figures.labelled} problems with labels, {figures.solvable} of them solvable"
        lines.append(
            "percent of labelled problems whose choice is right: pass@1 picks at random among what the method holds "
            "equally good, first takes the first of the ranking; of k is pass@1 among k candidates, a mean over "
            f"{DRAWS} draws; the oracle's is pass@k itself, over all draws, so that a method may seem above it"
        )
        lines.append("95 % bootstrap intervals over problems; differences in points, paired by problem")
    lines.append("runs and ms a problem: sandbox runs, and their time one after another with that of scoring")
    return lines


def tuned(done: Done) -> list[str]:
    """Methods with constants chosen by folds, a sentence each."""
    return [
        f"{each.method} with constants chosen by the other {each.folds - 1} of {each.folds} folds of problems: "
        f"{percent(each.right)}, over random {_points(each.over_random)}; "
        + "; ".join(f"{constants} in {number}" for constants, number in each.picked.items())
        for each in done.figures.tuned
    ]


def remarks(done: Done) -> list[str]:
    """What was left out, and why."""
    lines = [f"{each.method}: nothing to score by on {each.undecided} problems" for each in _undecided(done.figures)]
    lines += [f"left out: {_each(done.left_out)}"] if done.left_out else []
    lines += [f"no labels: {why}" for why in done.figures.unlabelled[:_SHOWN]]
    if done.pool.unread:
        lines.append(f"keys of the pool that mean nothing here: {', '.join(done.pool.unread)}")
    return lines


def _undecided(figures: Figures) -> list[MethodFigures]:
    return [each for each in figures.methods if each.undecided]


def _each(reasons: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in reasons.items())


def _percent(value: Estimate | None) -> str:
    return "" if value is None else percent(value)


def _points(value: Estimate | None) -> str:
    """A difference in points; its interval without decimals, so that two fit beside each other."""
    if value is None:
        return ""
    return f"{100 * value.value:+.1f} [{100 * value.low:+.0f}, {100 * value.high:+.0f}]"
