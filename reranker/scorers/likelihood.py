"""How likely the model holds its own text to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reranker.base import Evidence
from reranker.types import Candidate, Score, Task


class LikelihoodScorer:
    """Mean natural log-probability a token of the returned text: OpenAI's own meaning of `best_of`."""

    needs: ClassVar[frozenset[Evidence]] = frozenset()

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        return [_score(candidate.mean_logprob) for candidate in candidates]


class SumLikelihoodScorer:
    """Natural log-probability of the whole returned text, which favours short ones: LEVER's P_LM without its
    normalisation (arXiv 2302.08468, section 3).
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset()

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        return [_score(candidate.sum_logprob) for candidate in candidates]


def _score(value: float | None) -> Score:
    return Score(None, "no log-probabilities") if value is None else Score(value)
