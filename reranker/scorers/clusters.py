"""AlphaCode's clusters (arXiv 2203.07814, section 4.6): programs that behave alike on made-up inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from reranker.base import Evidence
from reranker.evidence import NO_TRIALS, NO_VALUE, NOT_RUN, behaviours, groups, scores, size_of
from reranker.off_loop import off_loop
from reranker.types import Candidate, Score, Task
from sandbox import Status


class ClustersScorer:
    """How many different programs behave like this one on every input; expected values are not looked at.

    Copies of a program are one voice: they behave alike whether right or wrong. Inputs count once each, too. Failures
    never win: a candidate that gives no value for any input has no score, and where it fails on some it is one only
    with those that fail on the same.
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset({"inputs"})

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        found = behaviours(task, candidates)
        roots = await off_loop(groups, task, candidates, size=size_of(candidates))
        sizes = Counter(behaviour for behaviour, _ in set(zip(found, roots, strict=True)))
        values = [None if behaviour is None else float(sizes[behaviour]) for behaviour in found]
        return scores(candidates, values, [why_none(task, candidate) for candidate in candidates])


def why_none(task: Task, candidate: Candidate) -> str:
    """Why a candidate has no behaviour to compare."""
    if task.trials is None:
        return NO_TRIALS
    trial = candidate.trial
    return NOT_RUN if trial is None or trial.status is Status.NOT_RUN else NO_VALUE
