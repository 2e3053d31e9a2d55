"""Records into a database with the ids they have: what is there already stays as it is, so doing it twice is harmless.

An outbox is drained by this, and exports are imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, insert, select

from feedback.admission import repeat_key
from feedback.sql.driver import Inserting
from feedback.sql.rows import signal_row
from feedback.sql.tables import exchanges, signals
from feedback.sql.writes import chunks, first_ids, insert_exchanges
from feedback.types import Exchange, Logged, Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """How many records were added, and how many were there already."""

    exchanges: int = 0
    signals: int = 0
    known_exchanges: int = 0
    known_signals: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(
            exchanges=self.exchanges + other.exchanges,
            signals=self.signals + other.signals,
            known_exchanges=self.known_exchanges + other.known_exchanges,
            known_signals=self.known_signals + other.known_signals,
        )


def merge(connection: Connection, logged: Sequence[Logged]) -> Merged:
    """Add the exchanges and signals that are not there, in their order.

    A signal is there if its id is, or its source and idempotency key.
    """
    known = _found(connection, exchanges.c.id, {exchange.id for exchange, _ in logged})
    asked: dict[str, Exchange] = {exchange.id: exchange for exchange, _ in logged if exchange.id not in known}
    insert_exchanges(Inserting.of(connection), list(asked.values()))
    said = [signal for _, theirs in logged for signal in theirs]
    seen = _found(connection, signals.c.id, {signal.id for signal in said})
    keys = set(first_ids(connection, {key for signal in said if (key := repeat_key(signal))}))
    new: list[Signal] = []
    for signal in said:
        key = repeat_key(signal)
        if signal.id in seen or key in keys:
            continue
        seen.add(signal.id)
        if key is not None:
            keys.add(key)
        new.append(signal)
    if new:
        connection.execute(insert(signals), list(map(signal_row, new)))
    return Merged(
        exchanges=len(asked),
        signals=len(new),
        known_exchanges=len(logged) - len(asked),
        known_signals=len(said) - len(new),
    )


def known_exchanges(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are exchanges here."""
    return _found(connection, exchanges.c.id, ids)


def _found(connection: Connection, column: Column[Any], values: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for some in chunks(values):
        found.update(connection.execute(select(column).where(column.in_(some))).scalars())
    return found
