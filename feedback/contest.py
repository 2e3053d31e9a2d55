"""When a challenger's contest with the champion ends: a sequential test on the log, looked at as often as one likes.

Each pair of answers gives a difference d in [-1, 1], the challenger's outcome less the champion's (1: the returned
choice passed what it was tested on, or was accepted; 0: neither). Against "the challenger is no better" (mean of d at
most 0, given the past) a gambler bets a fixed share l of his money on every difference: after t pairs he has

    E_t = average over l of product over i <= t of (1 + l d_i)          (a mixture of bets, so no l need be chosen)

which cannot grow on average if that is so. By Ville's inequality (J. Ville, Etude critique de la notion de collectif,
1939) the chance that it ever reaches 1/alpha is at most alpha, whenever and however often it is looked at. The same
with -d tells that the challenger is worse. Betting on bounded means: I. Waudby-Smith and A. Ramdas, Estimating means of
bounded random variables by betting, JRSS B 86(1), 2024, sections 4 and 5. Pure; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

BETS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Shares of the money; below 1, so that no single pair ruins the gambler."""
ALPHA = 0.05
MOST_PAIRS = 2000

Decision = Literal["promote", "refuse", "go on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What became of one logged answer."""

    id: str
    created_at: datetime
    model: str
    shadow_of: str | None
    outcome: float | None
    """0 to 1 for the choice returned first; None where nothing tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the pairs say so far."""

    decision: Decision
    reason: str
    pairs: int
    mean: float | None
    """Mean difference, challenger less champion; None before the first pair."""
    e_better: float
    """Evidence that the challenger is better; `promote` at 1/alpha."""
    e_worse: float
    """Evidence that it is worse; `refuse` at 1/alpha."""


def judge_contest(differences: Iterable[float], *, alpha: float = ALPHA, most: int = MOST_PAIRS) -> Verdict:
    """Follow the differences until something is decided; `most` pairs without a decision refuse as no better.

    Raises `ValueError` for a difference outside [-1, 1].
    """
    better, worse = _Money(), _Money()
    pairs, total = 0, 0.0
    for pairs, difference in enumerate(differences, start=1):
        total += difference
        better.bet(difference)
        worse.bet(-difference)
        if better.amount >= 1 / alpha:
            return _verdict(
                "promote", f"better: e = {better.amount:.3g}, 1/alpha is {1 / alpha:g}", pairs, total, better, worse
            )
        if worse.amount >= 1 / alpha:
            return _verdict(
                "refuse", f"worse: e = {worse.amount:.3g}, 1/alpha is {1 / alpha:g}", pairs, total, better, worse
            )
        if pairs >= most:
            return _verdict("refuse", f"no better in {most} pairs", pairs, total, better, worse)
    return _verdict("go on", f"{pairs} of at most {most} pairs", pairs, total, better, worse)


def shadow_differences(
    observations: Iterable[Observation], *, champion: Collection[str], challenger: Collection[str]
) -> Iterator[float]:
    """A difference for every request that both answered with an outcome, in the order in which pairs became complete.

    `champion` and `challenger` are the names that each has in the log.
    """
    answered: dict[str, float] = {}
    for seen in observations:
        if seen.outcome is None:
            continue
        if seen.shadow_of is None and seen.model in champion:
            answered[seen.id] = seen.outcome
        elif seen.shadow_of in answered and seen.model in challenger:
            yield seen.outcome - answered.pop(seen.shadow_of)


def canary_differences(
    observations: Iterable[Observation], *, champion: Collection[str], challenger: Collection[str]
) -> Iterator[float]:
    """Each of the challenger's outcomes with the champion's nearest before it, else the next after; each used once.

    Pairs are made by time alone, never by what came out, so that where neither is better no pair favours one.
    """
    latest: float | None = None
    waiting: list[float] = []
    for seen in observations:
        if seen.outcome is None or seen.shadow_of is not None:
            continue
        if seen.model in challenger:
            if latest is None:
                waiting.append(seen.outcome)
                continue
            yield seen.outcome - latest
            latest = None
        elif seen.model in champion:
            if waiting:
                yield waiting.pop(0) - seen.outcome
            else:
                latest = seen.outcome


def outcome_of(program_class: str | None, said: Iterable[tuple[str, object]]) -> float | None:
    """1 for a choice that passed what it was run on, 0 for one that did not; if nothing was run, the last word on it.

    `program_class` is the first choice's; `said` are type and value of the signals about it, oldest first.
    """
    if program_class is not None:
        return float(program_class == "pass")
    outcome = None
    for kind, value in said:
        if kind in ("accept", "reject"):
            outcome = float((kind == "accept") == (value is not False))
    return outcome


class _Money:
    """A gambler's money, one purse for each share of it that is bet."""

    def __init__(self) -> None:
        self._purses = [1.0] * len(BETS)
        self.amount = 1.0

    def bet(self, difference: float) -> None:
        if not -1 <= difference <= 1:
            raise ValueError(f"a difference of {difference} is not between -1 and 1")
        if difference:
            self._purses = [held * (1 + share * difference) for held, share in zip(self._purses, BETS, strict=True)]
            self.amount = sum(self._purses) / len(BETS)


def _verdict(decision: Decision, reason: str, pairs: int, total: float, better: _Money, worse: _Money) -> Verdict:
    mean = total / pairs if pairs else None
    return Verdict(
        decision=decision, reason=reason, pairs=pairs, mean=mean, e_better=better.amount, e_worse=worse.amount
    )
