"""The scorers, and their registry: every name here is a value of `rerank.method`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reranker.base import Scorer
from reranker.errors import UnknownMethod
from reranker.types import Candidate, Score, Task
from sandbox import ProgramClass


class LikelihoodScorer:
    """Mean natural log-probability a token of the returned text: OpenAI's own meaning of `best_of`."""

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        return [
            Score(c.mean_logprob) if c.mean_logprob is not None else Score(None, "no log-probabilities")
            for c in candidates
        ]


class OutcomeScorer:
    """Share of the suite's tests that passed, in [0, 1]; the outcomes come from the sandbox beforehand."""

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        return [_from_outcome(candidate) for candidate in candidates]


def _from_outcome(candidate: Candidate) -> Score:
    outcome, cls = candidate.outcome, candidate.program_class
    if outcome is None or cls is None:
        return Score(None, "not run")
    if cls is ProgramClass.PASS:
        return Score(1.0, cost_s=outcome.wall_s)
    return Score(outcome.passed / len(outcome.tests) if outcome.tests else 0.0, cost_s=outcome.wall_s)


METHODS: dict[str, Callable[[], Scorer]] = {
    "likelihood": LikelihoodScorer,
    "examples": OutcomeScorer,
    "tests": OutcomeScorer,
}


def create_scorer(method: str) -> Scorer:
    """Make the scorer of that name. Raises `UnknownMethod`, naming the known ones."""
    if method not in METHODS:
        raise UnknownMethod("rerank.method", f"unknown method {method!r}; known: off, auto, {', '.join(METHODS)}")
    return METHODS[method]()
