"""A ranking as one HTML page that needs no network and no script."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from reranker.evaluation.measures import Estimate, estimate
from reranker.evaluation.page import COLOURS, fill
from reranker.evaluation.plots import Series, bar, curves
from reranker.pool.calibration import Calibration, calibrations
from reranker.pool.pictures import counts_of, draw_calibration, draw_matrix, matrix_of
from reranker.pool.result import MethodFigures, sizes_of
from reranker.pool.table import ORACLE, RANDOM, facts, remarks, tuned
from reranker.pool.work import Done
from sandbox import ObserveSuite

_LONG_CHARS = 4_000


def write_page(path: Path, done: Done) -> None:
    """Write the page."""
    path.write_text(render(done), encoding="utf-8")


def render(done: Done) -> str:
    """The page's HTML."""
    figures = done.figures
    styles = {name: f"method{number % COLOURS}" for number, name in enumerate(done.methods)}
    styles |= {RANDOM: "random", ORACLE: "oracle"}
    best = max(figures.methods, key=_right)
    rows = sorted(figures.methods, key=lambda each: -_right(each)) if figures.labelled else list(figures.methods)
    context = {
        "done": done,
        "figures": figures,
        "baseline": done.methods[0],
        "best": best,
        "rows": rows,
        "styles": styles,
        "facts": [*tuned(done), *facts(done)],
        "remarks": remarks(done),
        "bar": bar,
        "curve": _curve(done, styles),
        "calibrations": _calibrations(done, styles),
        **_shown(done, best.method),
    }
    return fill((files(__package__) / "page.html.jinja").read_text("utf-8"), context)


def _right(each: MethodFigures) -> float:
    return each.right.value if each.right is not None else 0.0


def _curve(done: Done, styles: dict[str, str]) -> dict[str, Any] | None:
    """The plot and its table: pass@1 against the number of candidates; None where there is nothing to choose among."""
    labelled = [result for result in done.results if result.passes is not None]
    sizes = sizes_of(labelled)
    if len(sizes) < 2:
        return None
    lines: dict[str, dict[int, Estimate]] = {
        name: {k: estimate([result.among[name][k] for result in labelled]) for k in sizes} for name in done.methods
    }
    ranked = sorted(lines, key=lambda name: -lines[name][sizes[-1]].value)
    chance = estimate([result.oracle(1) for result in labelled])
    lines |= {ORACLE: {k: estimate([result.oracle(k) for result in labelled]) for k in sizes}, RANDOM: {1: chance}}
    names = [ORACLE, *ranked, RANDOM]
    series = [Series(name, styles[name], tuple(lines[name].items())) for name in names]
    said = f"Among {sizes[-1]}: " + "; ".join(f"{name} {100 * lines[name][sizes[-1]].value:.1f} %" for name in ranked)
    plot = curves(series, "Share of problems whose choice is right, by the number of candidates", f"{said}.")
    return {"plot": plot, "names": names, "lines": lines, "sizes": sizes}


def _shown(done: Done, method: str) -> dict[str, Any]:
    """The matrix of the problem that is shown, its prompt, and what the method puts first."""
    gathered = done.shown
    if gathered is None:
        return {"shown": None}
    [result] = [each for each in done.results if each.task_id == gathered.posed.row.task_id]
    ranked = result.ranked[method]
    matrix = matrix_of(gathered, ranked)
    first = gathered.candidates[ranked.ranking[0]]
    shown = {
        "task_id": result.task_id,
        "matrix": draw_matrix(matrix, f"{result.task_id}: programs by tests") if matrix.blocks else None,
        "counts": counts_of(matrix),
        "programs": len(matrix.programs),
        "labelled": matrix.right is not None,
        "right": sum(matrix.right or ()),
        "columns": {block.title: len(block.weights) for block in matrix.blocks},
        "made_up": gathered.task.trials is not None and isinstance(gathered.task.trials.suite, ObserveSuite),
        "weighed": any(max(block.weights, default=1) > 1 for block in matrix.blocks),
        "prompt": gathered.task.prefix[:_LONG_CHARS],
        "first": first.text[:_LONG_CHARS],
        "first_right": None if gathered.passes is None else gathered.passes[first.index],
    }
    return {"shown": shown}


def _calibrations(done: Done, styles: dict[str, str]) -> list[tuple[Calibration, str]]:
    found = [each for name in done.methods for each in calibrations(done.results, name)]
    return [(each, draw_calibration(each, styles[each.method], number)) for number, each in enumerate(found)]
