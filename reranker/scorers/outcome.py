"""How much of the suite a candidate passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from reranker.base import Evidence
from reranker.types import Candidate, Score, Task
from sandbox import ProgramClass


class OutcomeScorer:
    """Share of the suite's tests that passed, in [0, 1]; the outcomes come from the sandbox beforehand."""

    needs: ClassVar[frozenset[Evidence]] = frozenset({"suite"})

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
