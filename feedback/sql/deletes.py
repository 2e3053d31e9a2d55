"""The statements that delete: exchanges with their candidates and signals, a bounded number in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, select

from feedback.sql.tables import candidates, exchanges, signals
from feedback.types import LOCAL, Exchange, Signal

MOST = 200
"""Exchanges that one transaction deletes; the writer's records wait for no more than these."""


def delete_some(
    connection: Connection, *, before: datetime | None = None, key_id: str | None = None, exchange_id: str | None = None
) -> int:
    """Delete the oldest exchanges that meet every condition given, `MOST` at once; how many. Needs a condition.

    A shadow of an exchange goes when it meets the conditions itself; by id it goes with the exchange it belongs to.
    """
    all_of: list[ColumnElement[bool]] = []
    if before is not None:
        all_of.append(exchanges.c.created_at < before)
    if key_id is not None:
        all_of.append(exchanges.c.key_id.is_(None) if key_id == LOCAL else exchanges.c.key_id == key_id)
    if exchange_id is not None:
        all_of.append((exchanges.c.id == exchange_id) | (exchanges.c.shadow_of == exchange_id))
    if not all_of:
        raise ValueError("nothing says which exchanges to delete")
    oldest = select(exchanges.c.id).where(*all_of).order_by(exchanges.c.created_at, exchanges.c.id).limit(MOST)
    ids = connection.execute(oldest).scalars().all()
    if ids:
        connection.execute(delete(signals).where(signals.c.exchange_id.in_(ids)))
        connection.execute(delete(candidates).where(candidates.c.exchange_id.in_(ids)))
        connection.execute(delete(exchanges).where(exchanges.c.id.in_(ids)))
    return len(ids)


def delete_copied(connection: Connection, copied: Sequence[tuple[Exchange, tuple[Signal, ...]]]) -> int:
    """Delete what was copied elsewhere; how many exchanges went. One that got another signal meanwhile stays, with it.

    For at most as many as one page of the log holds.
    """
    said = [signal.id for _, theirs in copied for signal in theirs]
    for start in range(0, len(said), MOST):
        connection.execute(delete(signals).where(signals.c.id.in_(said[start : start + MOST])))
    ids = {exchange.id for exchange, _ in copied}
    ids -= set(connection.execute(select(signals.c.exchange_id).where(signals.c.exchange_id.in_(ids))).scalars())
    connection.execute(delete(candidates).where(candidates.c.exchange_id.in_(ids)))
    return connection.execute(delete(exchanges).where(exchanges.c.id.in_(ids))).rowcount
