"""SRank (arXiv 2311.03366, section 3): clusters that agree in part support each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reranker.base import Evidence
from reranker.evidence import Token, Weights, behaviours, consensus_sets, scores, size_of, weights_of
from reranker.off_loop import off_loop
from reranker.scorers.clusters import why_none
from reranker.types import Candidate, Score, Task


class SRankScorer:
    """The scores R = W V of the clusters of equal behaviour: W_ij, the share of the inputs on which clusters i and j
    give the same value (1 where i = j; failures agree with nothing); V_i, the cluster's share of the candidates, times
    its pass rate where the trials expect values.

    Every candidate counts, and inputs weigh as often as they were sampled. Candidates that give no value for any
    input have no score.
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset({"inputs"})

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        values = await off_loop(_ranks, task, candidates, size=size_of(candidates))
        return scores(candidates, values, [why_none(task, candidate) for candidate in candidates])


def _ranks(task: Task, candidates: Sequence[Candidate]) -> list[float | None]:
    """R of each candidate's cluster; None for one without a behaviour."""
    found, weights = behaviours(task, candidates), weights_of(task)
    rates = _pass_rates(task, candidates, weights)
    clusters: dict[tuple[Token, ...], list[int]] = {}
    for i, behaviour in enumerate(found):
        if behaviour is not None:
            clusters.setdefault(behaviour, []).append(i)
    every = weights.total(-1)
    voters = sum(map(len, clusters.values()))
    features = {b: sum(rates[i] for i in members) / voters for b, members in clusters.items()}
    ranks = {
        mine: sum(
            feature * (1.0 if mine == other else weights.total(_same(mine, other)) / every)
            for other, feature in features.items()
        )
        for mine in clusters
    }
    return [None if behaviour is None else ranks[behaviour] for behaviour in found]


def _pass_rates(task: Task, candidates: Sequence[Candidate], weights: Weights) -> list[float]:
    """For each candidate, the weight of the tests it passes in that of those that ran; 1 where none expects a value."""
    rates = [1.0] * len(candidates)
    for group in consensus_sets(task, candidates):
        for i in group.members:
            rates[i] = weights.total(group.passed) / (weights.total(group.known) or 1)
    return rates


def _same(mine: Sequence[Token], other: Sequence[Token]) -> int:
    """Bit j: both give a value for input j, and the same."""
    pairs = zip(mine, other, strict=True)
    return sum(1 << j for j, (a, b) in enumerate(pairs) if a == b and isinstance(a, tuple))
