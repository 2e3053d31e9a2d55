"""From scores to an order. Pure, and total: ties, missing scores and cancelled candidates each have their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from reranker.types import Candidate, Score
from sandbox import ProgramClass

_LADDER = {cls: step for step, cls in enumerate(ProgramClass)}


def order(candidates: Sequence[Candidate], scores: Sequence[Score]) -> tuple[int, ...]:
    """Positions of the candidates, best first, by one method's scores; see `order_by`."""
    return order_by(candidates, {"": scores}, ("",))


def order_by(
    candidates: Sequence[Candidate], scores: Mapping[str, Sequence[Score]], methods: Sequence[str]
) -> tuple[int, ...]:
    """Positions of the candidates, best first.

    Complete candidates before cancelled ones; then by the first method's score, among equals by the second's, and so
    on (within each, a missing score last); what is equal in all by class on the RRTF ladder, then programs not yet
    seen before duplicates, then mean log-probability, then the program sampled most often, then the order of
    sampling. Raises `KeyError` for a method without scores.
    """
    copies = Counter(candidate.original for candidate in candidates)

    def key(position: int) -> tuple[object, ...]:
        candidate = candidates[position]
        cls = candidate.program_class
        return (
            candidate.finish_reason == "cancelled",
            *(_best_first(scores[method][position].value) for method in methods),
            -(_LADDER[cls] if cls is not None else -1),
            candidate.duplicate_of is not None,
            _best_first(candidate.mean_logprob),
            -copies[candidate.original],
            candidate.index,
        )

    return tuple(sorted(range(len(candidates)), key=key))


def _best_first(value: float | None) -> tuple[bool, float]:
    return value is None, -(value or 0.0)
