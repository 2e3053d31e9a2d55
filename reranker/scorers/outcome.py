"""How much of the suite a candidate passed."""

from __future__ import annotations

from collections import Counter
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
        sharing = Counter(candidate.original for candidate in candidates)
        return [_from_outcome(candidate, sharing[candidate.original]) for candidate in candidates]


def _from_outcome(candidate: Candidate, sharing: int) -> Score:
    """One program's run is shared out among its duplicates."""
    outcome, cls = candidate.outcome, candidate.program_class
    if outcome is None or cls is None:
        return Score(None, "not run")
    cost_s = outcome.wall_s / sharing
    if cls is ProgramClass.PASS:
        return Score(1.0, cost_s=cost_s)
    return Score(outcome.passed / len(outcome.tests) if outcome.tests else 0.0, cost_s=cost_s)
