"""How likely the model holds its own text to be."""

from __future__ import annotations

from collections.abc import Sequence

from reranker.types import Candidate, Score, Task


class LikelihoodScorer:
    """Mean natural log-probability a token of the returned text: OpenAI's own meaning of `best_of`."""

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        return [
            Score(c.mean_logprob) if c.mean_logprob is not None else Score(None, "no log-probabilities")
            for c in candidates
        ]
