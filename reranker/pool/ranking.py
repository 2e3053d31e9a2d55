"""One problem ranked by one method, from evidence that is there. Pure computation: nothing runs here."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reranker.pool.gather import Cost, Evidence
from reranker.pool.methods import Has, needs, scorer, scorers_of
from reranker.select import order
from reranker.types import Candidate, Score

MAX_DRAWS = 10
"""Subsets drawn of one problem's candidates for one size."""
NO_SUITE = "no suite of this kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What a method makes of one problem."""

    task_id: str
    method: str
    by: tuple[str, ...]
    """The scorers that decided, the first first; for any method but `auto` itself."""
    ranking: tuple[int, ...]
    """Candidates by number, best first."""
    scores: tuple[float | None, ...]
    """Of the first scorer of `by`, one a candidate in the pool's order; None: it said nothing of that one."""
    best: tuple[int, ...]
    """Every candidate that no scorer of `by` holds less than the first of the ranking."""
    cost: Cost = Cost()
    """The runs whose outcomes the scorers read."""
    score_s: float = 0.0

    @property
    def decided(self) -> bool:
        """Whether anything was scored, or all that is left is the order of sampling."""
        return any(score is not None for score in self.scores)


async def rank(method: str, evidence: Evidence, kept: Sequence[int] | None = None) -> Ranked:
    """Rank the candidates, or those of the numbers in `kept`, as if no other had been sampled."""
    has = Has(_kinds(evidence), can_run=True)
    names = scorers_of(method, has)
    began = time.perf_counter()
    candidates = _kept(evidence.candidates, kept)
    found = [await _scores(name, evidence, candidates) for name in names]
    places = _order(candidates, found, names)
    first = [_key(found, place) for place in places[:1]]
    return Ranked(
        task_id=evidence.posed.row.task_id,
        method=method,
        by=names,
        ranking=tuple(candidates[place].index for place in places),
        scores=tuple(score.value for score in found[0]),
        best=tuple(candidates[place].index for place in places if _key(found, place) in first),
        cost=_cost(names, evidence),
        score_s=time.perf_counter() - began,
    )


async def on_subsets(method: str, evidence: Evidence, size: int, *, seed: int) -> float:
    """Share of right choices among `size` of the candidates: a mean over subsets and over what is held equally good.

    The subsets depend on nothing but the seed, the problem and the size: they are the same for every method. One
    candidate, or all of them, is no matter of drawing. Needs labels.
    """
    passes = evidence.passes
    assert passes is not None  # noqa: S101  the caller has labels
    if size == 1:
        return sum(passes) / len(passes)
    shares = []
    for kept in subsets(len(passes), size, key=f"{seed} {evidence.posed.row.task_id} {size}"):
        shares.append(share(await rank(method, evidence, kept), passes))
    return sum(shares) / len(shares)


def subsets(number: int, size: int, *, key: str) -> list[list[int]]:
    """Up to `MAX_DRAWS` subsets of `size` numbers below `number`, each ascending; all of them: one."""
    if size >= number:
        return [list(range(number))]
    drawn = random.Random(key)  # noqa: S311  nobody is to be kept from guessing it
    return [sorted(drawn.sample(range(number), size)) for _ in range(MAX_DRAWS)]


def share(ranked: Ranked, passes: Sequence[bool]) -> float:
    """Chance that a random one of what the method holds equally best is right: CodeT's protocol for ties."""
    return sum(passes[index] for index in ranked.best) / len(ranked.best)


def _kinds(evidence: Evidence) -> frozenset[str]:
    kinds = {evidence.posed.suite_from or ""} | ({"trials"} if evidence.task.trials is not None else set())
    return frozenset(kinds | ({"logprobs"} if any(each.tokens for each in evidence.candidates) else set())) - {""}


def _kept(candidates: Sequence[Candidate], kept: Sequence[int] | None) -> list[Candidate]:
    """The candidates of these numbers; of equal programs among them the first is the original."""
    if kept is None:
        return list(candidates)
    first: dict[int, int] = {}
    found = []
    for candidate in (candidates[number] for number in kept):
        root = candidate.index if candidate.duplicate_of is None else candidate.duplicate_of
        original = first.setdefault(root, candidate.index)
        found.append(replace(candidate, duplicate_of=None if original == candidate.index else original))
    return found


async def _scores(name: str, evidence: Evidence, candidates: Sequence[Candidate]) -> list[Score]:
    """What a scorer says, shown no more of the evidence than it needs."""
    if name in ("examples", "tests") and name != evidence.posed.suite_from:
        return [Score(None, NO_SUITE)] * len(candidates)
    return await scorer(name).score(evidence.task, _seen_by((name,), candidates))


def _seen_by(names: Sequence[str], candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without the outcomes that none of the scorers needs."""
    needed = frozenset[str]().union(*(needs(name) for name in names))
    return [
        replace(
            each,
            outcome=each.outcome if "suite" in needed else None,
            trial=each.trial if needed & {"tests", "inputs"} else None,
        )
        for each in candidates
    ]


def _key(found: Sequence[Sequence[Score]], place: int) -> tuple[float | None, ...]:
    return tuple(scores[place].value for scores in found)


def _order(candidates: Sequence[Candidate], found: Sequence[Sequence[Score]], names: Sequence[str]) -> list[int]:
    """Places of the candidates, best first: by each scorer in turn, then as the reranker breaks ties."""
    seen = _seen_by(names, candidates)
    last = {place: rank for rank, place in enumerate(order(seen, found[-1]))}
    return sorted(
        range(len(candidates)),
        key=lambda place: (*((s[place].value is None, -(s[place].value or 0.0)) for s in found), last[place]),
    )


def _cost(names: Sequence[str], evidence: Evidence) -> Cost:
    needed = frozenset[str]().union(*(needs(name) for name in names))
    parts = [evidence.suite_cost] if "suite" in needed else []
    parts += [evidence.trials_cost] if needed & {"tests", "inputs"} else []
    return Cost(sum(part.runs for part in parts), sum(part.wall_s for part in parts))


def as_line(ranked: Ranked) -> Mapping[str, object]:
    """What is written of it; a score that is no finite number has no place in JSON."""
    line: dict[str, object] = {
        "task_id": ranked.task_id,
        "method": ranked.method,
        "ranking": list(ranked.ranking),
        "scores": list(ranked.scores),
    }
    return line if ranked.by == (ranked.method,) else line | {"by": list(ranked.by)}
