"""The program sampled most often: self-consistency without running anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from reranker.base import Evidence
from reranker.evidence import groups, size_of
from reranker.off_loop import off_loop
from reranker.types import Candidate, Score, Task


class MajorityScorer:
    """How many candidates are the same program, by AST (majority vote of self-consistency, arXiv 2203.11171, section
    2, the program standing for the answer).
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset()

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        roots = await off_loop(groups, task, candidates, size=size_of(candidates))
        votes = Counter(roots)
        return [Score(float(votes[root])) for root in roots]
