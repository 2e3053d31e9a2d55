"""A round's page: what was trained on, how it went, what it changed, and pass@1 by round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from reranker.evaluation import GREEDY, RANDOM, Estimate, EvaluationError, Report, fill
from sandbox import ProgramClass
from trainer.errors import TrainerError
from trainer.rounds.folder import RoundFolder, Rounds, read_json
from trainer.rounds.gate import Pair
from trainer.rounds.pictures import Line, bars, lines
from trainer.rounds.publish import pairs_of
from trainer.rounds.work import Work
from trainer.tuning import read_metrics

PAGE = "report.html"
COLOURS = 10
"""In the style; more lines share them."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model's pass@1 on one suite."""

    round: int
    model: str
    measure: str
    estimate: Estimate


def write_report(work: Work, rounds: Rounds) -> Path:
    """Write `report.html` into the round's folder, and the metrics beside it."""
    folder = work.folder
    pairs = pairs_of(folder.of("evaluate"))
    metrics = read_metrics(folder.of("train") / "metrics.jsonl")
    context = {
        "facts": work.facts,
        "decision": read_json(folder.of("gate") / "decision.json"),
        "published": read_json(folder.of("publish") / "published.json"),
        "tally": read_json(folder.of("groups") / "groups.json")["tally"],
        "samples": read_json(folder.of("samples") / "groups.json"),
        "losses": losses_of(metrics),
        "held_out": _held_out(metrics),
        "suites": [_suite(pair, _history(rounds, pair.challenger.suite.content_hash)) for pair in pairs],
        "config": work.facts.config,
    }
    path = folder.path / PAGE
    text = fill((files(__package__) / "page.html.jinja").read_text("utf-8"), context)
    path.write_text(text, encoding="utf-8")
    return path


def losses_of(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The loss and its parts, by step."""
    steps = [{"loss": line["loss"], **line["parts"], "step": line["step"]} for line in metrics if _is(line, "step")]
    names = [name for name in dict.fromkeys(name for step in steps for name in step) if name != "step"]
    styles = {name: f"method{number % COLOURS}" for number, name in enumerate(names)}
    drawn = [Line(name, styles[name], _points(steps, name)) for name in names]
    return {"plot": lines(drawn, name="Losses by step", across="step"), "names": list(styles.items())}


def _points(steps: Sequence[dict[str, Any]], name: str) -> tuple[tuple[float, ...], ...]:
    """A part of the loss, at the steps that have it."""
    return tuple((step["step"], float(step[name])) for step in steps if math.isfinite(step.get(name, math.nan)))


def _held_out(metrics: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in metrics if _is(line, "held_out")]


def _is(line: dict[str, Any], kind: str) -> bool:
    return bool(line.get("kind") == kind)


def _suite(pair: Pair, history: list[Point]) -> dict[str, Any]:
    before, after = pair.champion, pair.challenger
    return {
        "name": after.suite.name,
        "problems": after.counts.judged,
        "classes": _classes(before, after),
        "history": _by_round(history),
        "rows": history,
        "pairs": _rows(pair),
    }


def _classes(before: Report, after: Report) -> Any:
    """Shares of the samples by class, before and after."""
    counts = [before.counts, after.counts]
    shares = {
        str(name).replace("_", " "): [each.classes.get(str(name), 0) / max(1, each.samples) for each in counts]
        for name in ProgramClass
    }
    return bars(shares, ("before", "after"), name="Samples by class, before and after")


def _rows(pair: Pair) -> list[tuple[str, int, Estimate | None, Estimate | None, Estimate | None]]:
    """Every measure of the challenger beside the champion's and that in float32."""

    def found(report: Report | None) -> dict[tuple[str, int], Estimate]:
        return {} if report is None else {(each.name, each.k): each.estimate for each in report.measures()}

    first, second, third = found(pair.champion), found(pair.challenger), found(pair.unquantised)
    return [(name, k, first.get((name, k)), second[name, k], third.get((name, k))) for name, k in second]


def _history(rounds: Rounds, suite: str) -> list[Point]:
    """pass@1 of every round's model on a suite, and of the champion that the first began from."""
    found: dict[tuple[int, str], Point] = {}
    for each in rounds.all():
        for report, number in _reports(each, suite):
            for measure in report.measures():
                if measure.name in (GREEDY, RANDOM) and measure.k == 1:
                    point = Point(number, report.source.model, measure.name, measure.estimate)
                    found[number, measure.name] = point
    return [found[key] for key in sorted(found)]


def _reports(folder: RoundFolder, suite: str) -> list[tuple[Report, int]]:
    """The round's own evaluation, with the number of the round that made each model; of a refused one only the
    champion's.
    """
    if not folder.is_done("evaluate"):
        return []
    try:
        pairs = [pair for pair in pairs_of(folder.of("evaluate")) if pair.challenger.suite.content_hash == suite]
        passed = folder.is_done("gate") and read_json(folder.of("gate") / "decision.json")["passed"]
    except (TrainerError, EvaluationError):  # of an older Touchstone, or damaged: a plot does without it
        return []
    facts = folder.facts
    found = []
    for pair in pairs:
        found.append((pair.champion, _round_of(facts.parent)))
        if passed:
            found.append((pair.challenger, facts.round))
    return found


def _round_of(model: str) -> int:
    tail = model.rpartition(".r")[2]
    return int(tail) if tail.isdigit() else 0


def _by_round(history: Sequence[Point]) -> Any:
    styles = {RANDOM: ("sampled", "method0"), GREEDY: ("greedy", "method1")}
    drawn = [
        Line(
            styles[name][0],
            styles[name][1],
            tuple((p.round, p.estimate.value, p.estimate.low, p.estimate.high) for p in history if p.measure == name),
        )
        for name in styles
    ]
    return lines(drawn, name="pass@1 by round", across="round", percent=True)
