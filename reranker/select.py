"""From scores to an order. Pure, and total: ties, missing scores and cancelled candidates each have their place."""

from __future__ import annotations

from collections.abc import Sequence

from reranker.types import Candidate, Score
from sandbox import ProgramClass

_LADDER = {cls: step for step, cls in enumerate(ProgramClass)}


def order(candidates: Sequence[Candidate], scores: Sequence[Score]) -> tuple[int, ...]:
    """Positions of the candidates, best first.

    Complete candidates before cancelled ones; then by score (a missing one last); equal scores by class on the RRTF
    ladder, then programs not yet seen before duplicates, then mean log-probability, then the order of sampling.
    """

    def key(position: int) -> tuple[bool, bool, float, int, bool, bool, float, int]:
        candidate, value = candidates[position], scores[position].value
        cls, likelihood = candidate.program_class, candidate.mean_logprob
        return (
            candidate.finish_reason == "cancelled",
            value is None,
            -(value or 0.0),
            -(_LADDER[cls] if cls is not None else -1),
            candidate.duplicate_of is not None,
            likelihood is None,
            -(likelihood or 0.0),
            candidate.index,
        )

    return tuple(sorted(range(len(candidates)), key=key))
