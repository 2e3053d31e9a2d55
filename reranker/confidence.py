"""How sure the evidence is that the leader is right: what adaptive sampling stops by. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reranker.scorers.b4 import posterior
from reranker.types import Candidate, Task


def leader_confidence(task: Task, candidates: Sequence[Candidate]) -> float | None:
    """Probability, in [0, 1], that the candidates in the lead by `b4` are right; None where no evidence says so."""
    known = [value for value in posterior(task, candidates) if value is not None]
    return max(known, default=None)
