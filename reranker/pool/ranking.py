"""One problem ranked by one method, from evidence that is there. Pure computation: nothing runs here."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from reranker.pool.gather import Cost, Gathered
from reranker.pool.methods import Has, needs, scorers_of
from reranker.scorers import create_scorer
from reranker.select import order_by
from reranker.types import Candidate, Score
from sandbox import CallSuite

DRAWS = 10
"""Subsets drawn of one problem's candidates for one size."""
ALONE = frozenset({"likelihood", "likelihood_sum", "examples", "tests", "static"})
"""Scorers that score each candidate by itself, so that what they say of a subset is known."""
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
    levels: tuple[int, ...]
    """One a candidate, in their order: 0 for those that `by` holds best, 1 for the next best, and so on."""
    cost: Cost
    """The runs whose outcomes the scorers read."""
    score_s: float

    @property
    def best(self) -> tuple[int, ...]:
        """Every candidate that is held as good as the first of the ranking."""
        return tuple(index for index, level in zip(sorted(self.ranking), self.levels, strict=True) if level == 0)

    @property
    def decided(self) -> bool:
        """Whether anything was scored, or all that is left is the order of sampling."""
        return any(score is not None for score in self.scores)


async def rank(method: str, gathered: Gathered, kept: Sequence[int] | None = None) -> Ranked:
    """Rank the candidates, or those of the numbers in `kept`, as if no other had been sampled."""
    has = Has(_kinds(gathered), can_run=True, loaded=frozenset(gathered.loaded))
    names = scorers_of(method, has)
    began = time.perf_counter()
    candidates = _kept(gathered.candidates, kept)
    found = {name: await _scores(name, gathered, candidates) for name in names}
    places = order_by(_seen_by(names, candidates), found, names)
    keys = [tuple(found[name][place].value for name in names) for place in range(len(candidates))]
    return Ranked(
        task_id=gathered.posed.row.task_id,
        method=method,
        by=names,
        ranking=tuple(candidates[place].index for place in places),
        scores=tuple(score.value for score in found[names[0]]),
        levels=_levels(keys, places),
        cost=_cost(names, gathered),
        score_s=time.perf_counter() - began,
    )


async def on_subsets(ranked: Ranked, gathered: Gathered, size: int, seed: int) -> float:
    """Chance that the method of `ranked`, which is over all candidates, chooses a right one among `size` of them.

    A mean over subsets and over what is held equally good. The subsets depend on nothing but the seed, the problem and
    the size: they are the same for every method. One candidate, or all of them, is no matter of drawing. Needs labels.
    """
    passes = gathered.passes
    assert passes is not None  # noqa: S101  the caller has labels
    if size == 1:
        return sum(passes) / len(passes)
    if size >= len(passes):
        return share(ranked.best, passes)
    drawn = subsets(len(passes), size, key=f"{seed} {ranked.task_id} {size}")
    if all(name in ALONE for name in ranked.by):
        return sum(share(_best_of(ranked, kept), passes) for kept in drawn) / len(drawn)
    found = [await rank(ranked.method, gathered, kept) for kept in drawn]
    return sum(share(each.best, passes) for each in found) / len(found)


def subsets(number: int, size: int, *, key: str) -> list[list[int]]:
    """`DRAWS` subsets of `size` numbers below `number`, each ascending."""
    drawn = random.Random(key)  # noqa: S311  nobody is to be kept from guessing it
    return [sorted(drawn.sample(range(number), size)) for _ in range(DRAWS)]


def share(best: Sequence[int], passes: Sequence[bool]) -> float:
    """Chance that a random one of what a method holds equally good is right: CodeT's protocol for ties."""
    return sum(passes[index] for index in best) / len(best)


def _best_of(ranked: Ranked, kept: Sequence[int]) -> list[int]:
    """Of a method whose scores do not depend on who else is there: those it holds best of the candidates kept."""
    top = min(ranked.levels[index] for index in kept)
    return [index for index in kept if ranked.levels[index] == top]


def _levels(keys: Sequence[tuple[float | None, ...]], places: Sequence[int]) -> tuple[int, ...]:
    steps = {place: keys[place] != keys[before] for before, place in pairwise(places)}
    level, found = 0, {}
    for place in places:
        level += steps.get(place, False)
        found[place] = level
    return tuple(found[place] for place in range(len(places)))


def _kinds(gathered: Gathered) -> frozenset[str]:
    """The kinds of evidence there are, as `Has` names them."""
    trials = gathered.task.trials
    kinds: set[str] = {gathered.posed.suite_from} if gathered.posed.suite_from else set()
    kinds |= {"inputs"} if trials is not None else set()
    kinds |= {"trials"} if trials is not None and isinstance(trials.suite, CallSuite) else set()
    return frozenset(kinds | ({"logprobs"} if any(each.tokens for each in gathered.candidates) else set()))


def _kept(candidates: Sequence[Candidate], kept: Sequence[int] | None) -> list[Candidate]:
    """The candidates of these numbers; of equal programs among them the first is the original."""
    if kept is None:
        return list(candidates)
    first: dict[int, int] = {}
    found = []
    for candidate in (candidates[number] for number in kept):
        original = first.setdefault(candidate.original, candidate.index)
        found.append(replace(candidate, duplicate_of=None if original == candidate.index else original))
    return found


async def _scores(name: str, gathered: Gathered, candidates: Sequence[Candidate]) -> list[Score]:
    """What a scorer says, shown no more of the evidence than it needs."""
    if name in ("examples", "tests") and name != gathered.posed.suite_from:
        return [Score(None, NO_SUITE)] * len(candidates)
    scorer = gathered.loaded[name] if name in gathered.loaded else create_scorer(name)
    return await scorer.score(gathered.task, _seen_by((name,), candidates))


def _seen_by(names: Sequence[str], candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without the outcomes that none of the scorers needs."""
    needed = needs(names)
    return [
        replace(
            each,
            outcome=each.outcome if "suite" in needed else None,
            trial=each.trial if needed & {"tests", "inputs"} else None,
        )
        for each in candidates
    ]


def _cost(names: Sequence[str], gathered: Gathered) -> Cost:
    needed = needs(names)
    parts = [gathered.suite_cost] if "suite" in needed else []
    parts += [gathered.trials_cost] if needed & {"tests", "inputs"} else []
    return Cost(sum(part.runs for part in parts), sum(part.wall_s for part in parts))
