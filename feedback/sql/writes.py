"""The statements that write. Each runs in the writer's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, insert, select

from feedback.errors import ForeignExchange, UnknownChoice, UnknownExchange
from feedback.sql.rows import candidate_rows, exchange_row, signal_row
from feedback.sql.tables import candidates, exchanges, signals
from feedback.types import Exchange, Receipt, Signal


def insert_exchanges(connection: Connection, records: Sequence[Exchange]) -> None:
    """All of the exchanges, with their candidates."""
    if records:
        connection.execute(insert(exchanges), [exchange_row(record) for record in records])
    if rows := [row for record in records for row in candidate_rows(record)]:
        connection.execute(insert(candidates), rows)


def insert_signals(connection: Connection, records: Sequence[Signal], key_id: str | None) -> tuple[Receipt, ...]:
    """All of the signals, or none: everything that can be refused is found before the first is written."""
    receipts, new = [], []
    first_ids: dict[tuple[str, str], str] = {}
    for signal in records:
        _check_target(connection, signal, key_id)
        first_id = None
        if signal.idempotency_key is not None:
            key = (signal.source, signal.idempotency_key)
            first_id = first_ids.get(key) or _stored_id(connection, *key)
            first_ids[key] = first_id or signal.id
        receipts.append(Receipt(id=first_id or signal.id, duplicate=first_id is not None))
        if first_id is None:
            new.append(signal_row(signal))
    if new:
        connection.execute(insert(signals), new)
    return tuple(receipts)


def _check_target(connection: Connection, signal: Signal, key_id: str | None) -> None:
    shown = and_(candidates.c.exchange_id == exchanges.c.id, candidates.c.choice == signal.choice)
    found = connection.execute(
        select(exchanges.c.key_id, candidates.c.candidate)
        .select_from(exchanges.outerjoin(candidates, shown))
        .where(exchanges.c.id == signal.exchange_id)
    ).first()
    if found is None:
        raise UnknownExchange(signal.exchange_id)
    if key_id is not None and found.key_id != key_id:
        raise ForeignExchange(signal.exchange_id)
    if found.candidate is None:
        raise UnknownChoice(f"{signal.exchange_id} has no choice {signal.choice}")


def _stored_id(connection: Connection, source: str, idempotency_key: str) -> str | None:
    same = and_(signals.c.source == source, signals.c.idempotency_key == idempotency_key)
    return connection.execute(select(signals.c.id).where(same)).scalar_one_or_none()
