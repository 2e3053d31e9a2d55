"""B4 (arXiv 2409.08692, section 4): the Bayes-optimal choice of a consensus set, under beta priors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from reranker.base import Evidence
from reranker.evidence import (
    NOT_RUN,
    PASSES_NONE,
    Consensus,
    Weights,
    consensus_sets,
    no_tests,
    scores,
    size_of,
    weights_of,
)
from reranker.off_loop import off_loop
from reranker.types import Candidate, Score, Task

ALPHA = 1e3
"""Prior that solutions, and tests, are right (the paper's alpha_xy)."""
BETA_0 = 1e5
"""Prior that a wrong solution fails a wrong test (the paper's beta_0, which it tries at 1e4, 1e5 and 1e6)."""


class B4Scorer:
    """ln of the posterior, up to a constant, that a consensus set is the right solutions and the tests they pass the
    right tests.

    Solutions are distinct programs: copies of one are no independent evidence, which the model assumes. Tests weigh as
    often as they were sampled, and cells that did not run are left out. Candidates that pass no test have no score.
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset({"tests"})

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        values: list[float | None] = [None] * len(candidates)
        why = [no_tests(task) or NOT_RUN] * len(candidates)
        for group, value in await off_loop(_scored, task, candidates, size=size_of(candidates)):
            for i in group.members:
                values[i], why[i] = value, PASSES_NONE
        return scores(candidates, values, why)


def posterior(task: Task, candidates: Sequence[Candidate], temperature: float = 1.0) -> list[float | None]:
    """For each candidate, the probability that its consensus set is the right one, given that one of them is.

    Softmax over the consensus sets of B4's score / `temperature`, which is there to be calibrated: the scores treat
    correlated samples as independent, so at 1 they are far too sure. None for a candidate that B4 does not score. It
    is the set's, not a share of it: over the sets, not over the candidates, it sums to 1. Raises `ValueError` unless
    `temperature` > 0.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be greater than 0, not {temperature}")
    scored = [(group, value) for group, value in _scored(task, candidates) if value is not None]
    top = max((value for _, value in scored), default=0.0)
    odds = [math.exp((value - top) / temperature) for _, value in scored]
    found: list[float | None] = [None] * len(candidates)
    for (group, _), odd in zip(scored, odds, strict=True):
        for i in group.members:
            found[i] = odd / sum(odds)
    return found


def _scored(task: Task, candidates: Sequence[Candidate]) -> list[tuple[Consensus, float | None]]:
    """Every consensus set with its score; None for the one that passes nothing."""
    sets, weights = consensus_sets(task, candidates), weights_of(task)
    return [(group, b4(group, sets, weights) if group.passed else None) for group in sets]


def b4(
    group: Consensus, sets: Sequence[Consensus], weights: Weights, *, alpha: float = ALPHA, beta_0: float = BETA_0
) -> float:
    """The score of one consensus set among all (the paper's equation for the posterior, its constants dropped).

    ln B(S_x + a, N - S_x + 1) + ln B(S_y + a, M - S_y + 1) + ln B(n_1 + 1, N_1 - n_1 + 1) + ln B(n_0 + 1, N_0 - n_0 +
    b_0), with S_x of N solutions in the set, S_y of M tests passed by it; n_1 of the N_1 cells of the other solutions
    on those tests are passes, and n_0 of their N_0 cells on the other tests.
    """
    inside = group.passed
    solutions, every = group.programs, sum(other.programs for other in sets)
    tests, all_tests = weights.total(inside), weights.total(-1)
    n_1 = cells_1 = n_0 = cells_0 = 0
    for other in sets:
        if other is not group:
            size = other.programs
            n_1 += size * weights.total(other.passed & inside)
            cells_1 += size * weights.total(other.known & inside)
            n_0 += size * weights.total(other.passed & ~inside)
            cells_0 += size * weights.total(other.known & ~inside)
    return (
        _ln_beta(solutions + alpha, every - solutions + 1)
        + _ln_beta(tests + alpha, all_tests - tests + 1)
        + _ln_beta(n_1 + 1, cells_1 - n_1 + 1)
        + _ln_beta(n_0 + 1, cells_0 - n_0 + beta_0)
    )


def _ln_beta(x: float, y: float) -> float:
    return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)
