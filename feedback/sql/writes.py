"""The statements that write, a few for a whole batch, however large. They run in the writer's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from sqlalchemy import Connection, and_, insert, select

from feedback.admission import RepeatKey, Target, admit, repeat_key
from feedback.errors import FeedbackError
from feedback.sql.driver import Inserting
from feedback.sql.rows import Row, candidate_rows, exchange_row, signal_row
from feedback.sql.tables import candidates, exchanges, signals
from feedback.types import Exchange, Receipt, Signal

LOOKUP = 500
"""How many values one statement may name; databases limit it."""

Together = tuple[Sequence[Signal], str | None]
"""Signals stored all or none, and the key of whoever sends them."""

T = TypeVar("T")


def insert_exchanges(inserting: Inserting, records: Sequence[Exchange]) -> None:
    """All of the exchanges, with their candidates."""
    inserting.rows(exchanges, [exchange_row(record) for record in records])
    inserting.rows(candidates, [row for record in records for row in candidate_rows(record)])


def insert_signals(connection: Connection, groups: Sequence[Together]) -> list[tuple[Receipt, ...] | FeedbackError]:
    """Each group's signals, all or none, in order; a refusal stands where the group's receipts would."""
    sent = [signal for together, _ in groups for signal in together]
    targets = _targets(connection, {signal.exchange_id for signal in sent})
    known = first_ids(connection, {key for signal in sent if (key := repeat_key(signal))})
    results: list[tuple[Receipt, ...] | FeedbackError] = []
    rows: list[Row] = []
    for together, key_id in groups:
        try:
            receipts, new = admit(together, key_id, targets, known)
        except FeedbackError as refusal:
            results.append(refusal)
            continue
        results.append(receipts)
        rows += map(signal_row, new)
        known |= {key: signal.id for signal in new if (key := repeat_key(signal))}
    if rows:
        connection.execute(insert(signals), rows)
    return results


def _targets(connection: Connection, exchange_ids: set[str]) -> dict[str, Target]:
    shown = and_(candidates.c.exchange_id == exchanges.c.id, candidates.c.choice.is_not(None))
    query = select(exchanges.c.id, exchanges.c.key_id, candidates.c.choice).select_from(
        exchanges.outerjoin(candidates, shown)
    )
    owners: dict[str, str | None] = {}
    choices: dict[str, set[int]] = {}
    for some in chunks(exchange_ids):
        for exchange_id, key_id, choice in connection.execute(query.where(exchanges.c.id.in_(some))):
            owners[exchange_id] = key_id
            choices.setdefault(exchange_id, set()).update(() if choice is None else (choice,))
    return {exchange_id: Target(owners[exchange_id], frozenset(shown)) for exchange_id, shown in choices.items()}


def first_ids(connection: Connection, keys: set[RepeatKey]) -> dict[RepeatKey, str]:
    """The ids of the signals that are stored under these keys."""
    # Source by source: SQLite finds no index for pairs, `(source, key) IN ...` would read every signal there is.
    by_source: dict[str, list[str]] = {}
    for source, key in keys:
        by_source.setdefault(source, []).append(key)
    found: dict[RepeatKey, str] = {}
    for source, theirs in by_source.items():
        for some in chunks(theirs):
            same = and_(signals.c.source == source, signals.c.idempotency_key.in_(some))
            for key, first_id in connection.execute(select(signals.c.idempotency_key, signals.c.id).where(same)):
                found[source, key] = first_id
    return found


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """The values in lists that one statement may name."""
    rest = iter(values)
    while some := list(islice(rest, LOOKUP)):
        yield some
