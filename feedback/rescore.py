"""Logged candidates ranked anew, by any method, from the evidence that was kept of them. Nothing is run again.

A line an exchange and method, in the format of `touchstone rank`: `{"task_id", "method", "ranking", "scores"}`; the
`task_id` is the exchange's id. An exchange of which no text was kept is left out. A
candidate's outcome is of the request's tests or of the prompt's examples, whichever ran: the other method has none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from feedback.build import candidates_of, task_of
from feedback.errors import InvalidExchange
from feedback.export import replacing
from feedback.lossless import dumps
from feedback.types import Exchange, Logged, Signal
from reranker import LEARNED, METHODS, InvalidRequest, Score, UnknownMethod, create_scorer, order

_SUITES = ("tests", "examples")
_NEEDS = {
    "auto": "decides by what a request has at hand; name the methods to rank by",
    "off": "ranks nothing",
    **dict.fromkeys(LEARNED, "needs a model, which is not at hand here; `touchstone rank --verifier` loads one"),
}


@dataclass(slots=True)
class Tally:
    """What one method made of the log."""

    method: str
    ranked: int = 0
    """Exchanges in which it scored at least one candidate."""
    unscored: int = 0
    """Exchanges with nothing that it could go by."""
    changed: int = 0
    """Of those ranked, how many would have had another first choice (another text)."""
    accepted: int = 0
    """Of those ranked, how many had a choice that somebody accepted."""
    accepted_first: int = 0
    """And how many of these have the accepted text as their first choice now."""


def check_methods(methods: Sequence[str]) -> None:
    """Raise `UnknownMethod` for a name that is no scorer's, `InvalidRequest` for one that cannot score here."""
    for method in methods:
        if method in _NEEDS:
            raise InvalidRequest("method", f"{method!r} {_NEEDS[method]}; known here: {', '.join(METHODS)}")
        if method not in METHODS:
            raise UnknownMethod("method", f"unknown method {method!r}; known: {', '.join(METHODS)}")


async def write_rescored(
    log: AsyncIterator[Logged], methods: Sequence[str], out: Path, on_exchange: Callable[[], None]
) -> list[Tally]:
    """Rank every exchange by every method and write `out`, replacing it; holds one exchange at a time.

    Raises `OSError` where the file cannot be written, `InvalidExchange` for a record that cannot be read.
    """
    tallies = [Tally(method) for method in dict.fromkeys(methods)]
    with replacing(out) as file:
        async for exchange, signals in log:
            for tally in tallies:
                if exchange.candidates and (line := await _rescored(exchange, signals, tally)):
                    file.write(line + "\n")
            on_exchange()
    return tallies


async def _rescored(exchange: Exchange, signals: tuple[Signal, ...], tally: Tally) -> str:
    try:
        task, candidates = task_of(exchange), candidates_of(exchange)
    except InvalidExchange as error:
        if exchange.prompt.get("no_text"):  # its prompt was never kept: that is no fault of the record
            tally.unscored += 1
            return ""
        raise InvalidExchange(f"exchange {exchange.id}: {error}") from error
    if tally.method in _SUITES and tally.method != _suite_of(exchange):
        candidates = tuple(replace(candidate, outcome=None) for candidate in candidates)
    scores = await create_scorer(tally.method).score(task, candidates)
    places = order(candidates, scores)
    if all(score.value is None for score in scores):
        tally.unscored += 1
    else:
        _count(tally, exchange, signals, candidates[places[0]].text)
    return _line(exchange, tally.method, [candidates[place].index for place in places], scores)


def _suite_of(exchange: Exchange) -> str:
    """Which suite ran: the request's `tests` or the prompt's `examples`; empty where the record does not say.

    The method that was asked for or decided says it, but for the learned ones, which are shown either. Examples are
    always calls.
    """
    if exchange.suite is None:
        return ""
    for method in (exchange.options.get("method"), exchange.method):
        if method in _SUITES:
            return method
    return "tests" if exchange.suite["form"] != "calls" or exchange.options.get("examples") == "off" else ""


def _count(tally: Tally, exchange: Exchange, signals: tuple[Signal, ...], first: str) -> None:
    shown = {c.choice: c.text for c in exchange.candidates if c.choice is not None}
    accepted = {shown[s.choice] for s in signals if s.type == "accept" and s.value is not False and s.choice in shown}
    tally.ranked += 1
    tally.changed += first != shown.get(0, first)
    tally.accepted += bool(accepted)
    tally.accepted_first += first in accepted


def _line(exchange: Exchange, method: str, ranking: list[int], scores: Sequence[Score]) -> str:
    values = [score.value for score in scores]
    return dumps({"task_id": exchange.id, "method": method, "ranking": ranking, "scores": values})
