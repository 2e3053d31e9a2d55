"""The `Scorer` port: any registered scorer is a value of `rerank.method`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

from reranker.types import Candidate, Score, Task

Evidence = Literal["suite", "tests", "inputs"]
"""What a run in the sandbox can show: `suite`, the outcome of the suite; `tests`, that of trials with expected values;
`inputs`, that of trials of any kind."""


class Scorer(Protocol):
    """Scores candidates of one task against each other; higher is better."""

    needs: ClassVar[frozenset[Evidence]]
    """What must have been run before; without it every score is None."""

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """One score a candidate, in their order; `Score(None, reason)` for one that cannot be scored."""
        ...
