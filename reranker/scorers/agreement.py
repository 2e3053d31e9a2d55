"""Dual execution agreement of CodeT (arXiv 2207.10397): many programs that pass many tests are probably right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from reranker.base import Evidence
from reranker.evidence import NOT_RUN, PASSES_NONE, consensus_sets, no_tests, scores, size_of, weights_of
from reranker.off_loop import off_loop
from reranker.types import Candidate, Score, Task


class AgreementScorer:
    """f(S) = |S_x| |S_y| (section 2.2): the candidates of a consensus set times the tests they all pass.

    Both with multiplicity, as in the paper. Candidates that pass no test have no score, so they come last.
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset({"tests"})
    _of_solutions: ClassVar[Callable[[int], float]] = float

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        weights = weights_of(task)
        values: list[float | None] = [None] * len(candidates)
        why = [no_tests(task) or NOT_RUN] * len(candidates)
        for group in await off_loop(consensus_sets, task, candidates, size=size_of(candidates)):
            tests = weights.total(group.passed)
            value = type(self)._of_solutions(len(group.members)) * tests
            for i in group.members:
                values[i], why[i] = (value, "") if tests else (None, PASSES_NONE)
        return scores(candidates, values, why)


class SqrtAgreementScorer(AgreementScorer):
    """sqrt(|S_x|) |S_y|: what CodeT's published code computes, which trusts the tests more than the crowd."""

    _of_solutions: ClassVar[Callable[[int], float]] = math.sqrt
