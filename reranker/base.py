"""The `Scorer` port: any registered scorer is a value of `rerank.method`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reranker.types import Candidate, Score, Task


class Scorer(Protocol):
    """Scores candidates of one task against each other; higher is better."""

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """One score a candidate, in their order; `Score(None, reason)` for one that cannot be scored."""
        ...
