"""What is kept of one problem once its evidence is let go, and every figure that is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reranker.evaluation.measures import Estimate, difference, estimate, pass_at_k
from reranker.pool.folds import Tuned, tuned
from reranker.pool.ranking import Ranked, share

SIZES = (4, 16, 64)
"""Numbers of candidates that the table tells of, beside all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One problem, ranked by every method."""

    task_id: str
    position: int
    """Its place in the pool."""
    roots: tuple[int, ...]
    """For each candidate, the first that is the same program."""
    passes: tuple[bool, ...] | None
    """The hidden verdicts; None: there are no labels."""
    unlabelled: str = ""
    ranked: Mapping[str, Ranked]
    """By method."""
    among: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """By method and number of candidates: the chance that its choice is right."""
    probabilities: Mapping[str, Mapping[float, tuple[float | None, ...]]] = field(default_factory=dict)
    """By method that states them, and temperature: the probability that a candidate is right."""

    constants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By method, and its constants: the chance that its choice is right. Only where they are to be chosen by folds."""

    def right(self, method: str) -> float:
        """Chance that the method's choice is right, where it picks at random among what it holds equally good."""
        return share(self.ranked[method].best, self.passes or ())

    def first_right(self, method: str) -> float:
        """Whether the first of the ranking is right, whatever broke the tie."""
        return float((self.passes or ())[self.ranked[method].ranking[0]])

    def oracle(self, k: int) -> float:
        """Chance that one of k candidates is right."""
        passes = self.passes or ()
        return pass_at_k(len(passes), sum(passes), min(k, len(passes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """One row of the table. Shares of problems; None where there are no labels, or nothing to hold it against."""

    method: str
    right: Estimate | None
    first: Estimate | None
    among: Mapping[int, float]
    over_random: Estimate | None
    over_baseline: Estimate | None
    undecided: int
    """Problems of which it scored no candidate: its choice there is any."""
    same_as_baseline: float
    """Share of the problems where its first is the baseline's first program."""
    runs: float
    """Sandbox runs a problem that its evidence takes."""
    run_ms: float
    """Wall milliseconds of these a problem, one after another."""
    score_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The whole table."""

    methods: tuple[MethodFigures, ...]
    problems: int
    labelled: int
    solvable: int
    """Labelled problems with a right candidate."""
    candidates: int
    distinct: int
    random: Estimate | None
    oracle: Estimate | None
    """Of all candidates."""
    oracle_among: Mapping[int, float]
    unlabelled: tuple[str, ...]
    tuned: tuple[Tuned, ...] = ()
    """Methods whose constants were chosen by folds."""


def figures(results: Sequence[Result], methods: Sequence[str], folds: int | None = None) -> Figures:
    """The table of the results; the first method is the baseline. Needs one result at least.

    `folds`: choose the constants of methods that have some by as many; None: do not.
    """
    labelled = [result for result in results if result.passes is not None]
    sizes = sizes_of(labelled)
    chance = [result.oracle(1) for result in labelled]
    return Figures(
        methods=tuple(_of_method(name, results, methods[0], chance) for name in methods),
        problems=len(results),
        labelled=len(labelled),
        solvable=sum(any(result.passes or ()) for result in labelled),
        candidates=sum(len(result.roots) for result in results),
        distinct=sum(len(set(result.roots)) for result in results),
        random=estimate(chance) if labelled else None,
        oracle=estimate([float(any(result.passes or ())) for result in labelled]) if labelled else None,
        oracle_among={k: _mean([result.oracle(k) for result in labelled]) for k in sizes},
        unlabelled=tuple(result.unlabelled for result in results if result.unlabelled),
        tuned=tuple(
            tuned(name, [result.constants[name] for result in labelled], chance, folds)
            for name in methods
            if folds is not None and labelled and name in labelled[0].constants
        ),
    )


def sizes_of(labelled: Sequence[Result]) -> list[int]:
    """The sizes that every labelled problem was asked for."""
    found = [set(sizes) for result in labelled for sizes in result.among.values()]
    return sorted(set.intersection(*found)) if found else []


def _of_method(name: str, results: Sequence[Result], baseline: str, chance: Sequence[float]) -> MethodFigures:
    labelled = [result for result in results if result.passes is not None]
    right = [result.right(name) for result in labelled]
    base = [result.right(baseline) for result in labelled]
    ranked = [result.ranked[name] for result in results]
    return MethodFigures(
        method=name,
        right=estimate(right) if right else None,
        first=estimate([result.first_right(name) for result in labelled]) if right else None,
        among={k: _mean([result.among[name][k] for result in labelled]) for k in sizes_of(labelled)},
        over_random=difference(chance, right) if right else None,
        over_baseline=difference(base, right) if right and name != baseline else None,
        undecided=sum(not each.decided for each in ranked),
        same_as_baseline=_mean([_first(result, name) == _first(result, baseline) for result in results]),
        runs=_mean([each.cost.runs for each in ranked]),
        run_ms=1000 * _mean([each.cost.wall_s for each in ranked]),
        score_ms=1000 * _mean([each.score_s for each in ranked]),
    )


def _first(result: Result, method: str) -> int:
    """The program that the method puts first."""
    return result.roots[result.ranked[method].ranking[0]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
