"""Does the log hold what it says? Every hash is derived again, every order and reference checked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

from sqlalchemy import Connection

from feedback.errors import FeedbackError
from feedback.prompts import prompt_hash
from feedback.sql import sqlite
from feedback.sql.store import SqlStore
from feedback.suites import suite_from_data, trials_from_data
from feedback.types import Exchange, Signal
from sandbox import suite_hash


async def problems(store: SqlStore, on_exchange: Callable[[], None] | None = None) -> AsyncIterator[str]:
    """Everything that is wrong, a line each; nothing for a sound log. `on_exchange` is called after each exchange."""
    for line in await store.read(_database_problems):
        yield line
    last = "the beginning"
    try:
        async for exchange, signals in store.exchanges():
            for line in exchange_problems(exchange, signals):
                yield f"exchange {exchange.id}: {line}"
            last = f"exchange {exchange.id}"
            if on_exchange is not None:
                on_exchange()
    except FeedbackError as error:  # what cannot be read cannot be paged past
        yield f"the log cannot be read on after {last}: {error}"


def _database_problems(connection: Connection) -> list[str]:
    """What the database itself says; PostgreSQL keeps its references by itself and has no check to be asked for."""
    return list(sqlite.problems(connection)) if connection.dialect.name == "sqlite" else []


def exchange_problems(exchange: Exchange, signals: tuple[Signal, ...]) -> Iterator[str]:
    """What is wrong with one exchange and its signals."""
    if not exchange.prompt.get("no_text") and prompt_hash(exchange.prompt) != exchange.prompt_hash:
        yield f"prompt hash is {exchange.prompt_hash}, its prompt has {prompt_hash(exchange.prompt)}"
    yield from _suite_problems(exchange)
    ranks = [candidate.rank for candidate in exchange.candidates]
    if sorted(ranks) != list(range(len(ranks))):
        yield f"candidate ranks {ranks} are not a permutation"
    indices = {candidate.index for candidate in exchange.candidates}
    choices = set()
    for candidate in exchange.candidates:
        if candidate.duplicate_of is not None and candidate.duplicate_of not in indices:
            yield f"candidate {candidate.index} duplicates {candidate.duplicate_of}, which is not there"
        if candidate.choice is not None:
            choices.add(candidate.choice)
    if choices != set(range(len(choices))):
        yield f"choices {sorted(choices)} are not numbered from 0"
    for signal in signals:
        if signal.choice not in choices:
            yield f"signal {signal.id} is of choice {signal.choice}, which was not shown"


def _suite_problems(exchange: Exchange) -> Iterator[str]:
    readers = (
        ("suite", exchange.suite, suite_from_data),
        ("trials", exchange.trials, lambda data: trials_from_data(data).suite),
    )
    for name, data, read in readers:
        if data is None or data.get("body") is None:
            continue
        try:
            derived = suite_hash(read(data))
        except FeedbackError as error:
            yield str(error)
            continue
        if derived != data.get("hash"):
            yield f"{name} hash is {data.get('hash')}, the {name} kept has {derived}"
